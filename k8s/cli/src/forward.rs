//! `scoretap port-forward`: makes Grafana, Prometheus, Alertmanager or a pod's metrics reachable from this machine.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::check::object::{name, namespace};
use crate::kubectl::Cluster;
use crate::{Status, console, usage};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// grafana, prometheus, alertmanager, or a pod with the sidecar [default: those of the first three that are there]
    #[arg(value_name = "grafana | prometheus | alertmanager | POD")]
    what: Option<String>,
    /// Namespace of the pod [default: the context's]
    #[arg(short, long)]
    namespace: Option<String>,
}

/// A Service with pages for people.
struct Page {
    name: &'static str,
    /// How to find its Service.
    query: &'static [&'static str],
    /// Port on this machine.
    near: u16,
    /// Port of the Service.
    far: u16,
}

// The operator's Services have the same names in every release.
const PAGES: [Page; 3] = [
    Page { name: "grafana", query: &["-l", "app.kubernetes.io/name=grafana"], near: 3000, far: 80 },
    Page {
        name: "prometheus",
        query: &["--field-selector=metadata.name=prometheus-operated"],
        near: 9090,
        far: 9090,
    },
    Page {
        name: "alertmanager",
        query: &["--field-selector=metadata.name=alertmanager-operated"],
        near: 9093,
        far: 9093,
    },
];

/// The port of a pod's metrics.
const METRICS: u16 = 15_190;

/// A forwarded port.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    title: String,
    namespace: String,
    target: String,
    near: u16,
    far: u16,
}

/// Runs until interrupted.
pub(crate) fn run(cluster: &Cluster, args: &Args) -> Result<Status> {
    let ways = match args.what.as_deref() {
        None => PAGES.iter().filter_map(|page| page.find(cluster).transpose()).collect::<Result<Vec<_>>>()?,
        Some(what) => vec![way(cluster, what, args)?],
    };
    if ways.is_empty() {
        bail!(
            "the cluster has neither Grafana nor a Prometheus or Alertmanager of the prometheus-operator; `scoretap install \
             --with-prometheus-stack` installs them"
        );
    }
    let mut children = Vec::new();
    for way in &ways {
        let mut command = cluster.kubectl();
        command.args(["port-forward", "-n", &way.namespace, "--address", "127.0.0.1", &way.target]);
        command.arg(format!("{}:{}", way.near, way.far)).stdin(Stdio::null()).stdout(Stdio::null());
        children.push(command.spawn().context("cannot run kubectl; is it on PATH?")?);
        console::line(&format!("{}: http://127.0.0.1:{}/", way.title, way.near))?;
    }
    console::line("Ctrl-C ends it")?;
    let mut failed = false;
    for mut child in children {
        failed |= !child.wait().context("cannot wait for kubectl")?.success();
    }
    if failed {
        bail!("kubectl port-forward ended; its own message is above");
    }
    Ok(Status::Well)
}

fn way(cluster: &Cluster, what: &str, args: &Args) -> Result<Way> {
    if let Some(page) = PAGES.iter().find(|page| page.name == what) {
        return page.find(cluster)?.with_context(|| {
            format!("the cluster has no {what} that Scoretap knows; `kubectl get services --all-namespaces` lists all")
        });
    }
    let pod = what.strip_prefix("pod/").unwrap_or(what);
    if pod.is_empty() || pod.contains('/') {
        return Err(usage(format!(
            "\"{what}\" cannot be reached; write grafana, prometheus, alertmanager or the name of a pod"
        )));
    }
    let namespace = args.namespace.clone().unwrap_or_else(|| cluster.namespace());
    cluster.get(&["pod", pod, "-n", &namespace]).map_err(|refused| usage(refused.to_string()))?;
    let target = format!("pod/{pod}");
    Ok(Way { title: format!("metrics of {namespace}/{pod}"), namespace, target, near: METRICS, far: METRICS })
}

impl Page {
    fn find(&self, cluster: &Cluster) -> Result<Option<Way>> {
        let services = cluster.get(&[&["services", "--all-namespaces"], self.query].concat())?;
        Ok(services.first().map(|service| Way {
            title: self.name.to_owned(),
            namespace: namespace(service).to_owned(),
            target: format!("service/{}", name(service)),
            near: self.near,
            far: self.far,
        }))
    }
}
