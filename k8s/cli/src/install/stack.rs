//! Prometheus, Alertmanager and Grafana, for clusters without a Prometheus.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::check::object::{name, namespace, text_at};
use crate::console;
use crate::kubectl::Cluster;

const RELEASE: &str = "kube-prometheus-stack";
const NAMESPACE: &str = "monitoring";
const REPOSITORY: &str = "https://prometheus-community.github.io/helm-charts";
const VERSION: &str = "92.1.0";
/// Our changes to the chart's defaults.
const VALUES: &str = include_str!("prometheus-stack.yaml");

/// The existing monitoring: an operator's Prometheus, or a release of the chart in any namespace.
pub(super) fn existing(cluster: &Cluster, prometheus: Option<&Value>) -> Result<Option<String>> {
    if let Some(prometheus) = prometheus {
        return Ok(Some(format!("Prometheus {}/{}", namespace(prometheus), name(prometheus))));
    }
    let releases = super::releases(cluster, &["--all-namespaces"])?;
    let is_stack = |release: &&Value| text_at(release, "/chart").starts_with("kube-prometheus-stack-");
    Ok(releases.iter().find(is_stack).map(|release| {
        format!("the release {}/{}", text_at(release, "/namespace"), text_at(release, "/name"))
    }))
}

/// The chart's Prometheus with our values: enough to choose the label of our monitors.
pub(super) fn prometheus() -> Value {
    json!({
        "metadata": {"name": RELEASE, "namespace": NAMESPACE},
        "spec": {"podMonitorSelector": {"matchLabels": {"release": RELEASE}}},
    })
}

/// Installs the chart. Called only if the cluster has no Prometheus.
pub(super) fn install(cluster: &Cluster, dry_run: bool) -> Result<()> {
    console::note(&format!("installing {RELEASE} {VERSION} into the namespace {NAMESPACE}"));
    let mut command = cluster.helm();
    command.args(["install", RELEASE, RELEASE, "--repo", REPOSITORY, "--version", VERSION]);
    command.args([
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--values",
        "-",
        "--wait",
        "--timeout",
        "10m",
    ]);
    command.args(dry_run.then_some("--dry-run=server")).stdin(Stdio::piped());
    let mut child = command.spawn().context("cannot run helm")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(VALUES.as_bytes())?;
    }
    if !child.wait()?.success() {
        bail!("helm could not install {RELEASE}; its own message is above");
    }
    Ok(())
}
