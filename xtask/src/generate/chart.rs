//! Files from the Helm chart: rendered manifests, the thresholds as a rule file, and the table of its values.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use scoretap_tests::tools;
use serde_norway::Value;

use super::{Generated, read, rules};
use crate::run::output;

const CHART: &str = "k8s/chart";

/// A common case, committed as `k8s/rendered/NAME.yaml`.
struct Case {
    name: &'static str,
    says: &'static str,
    /// The version of Kubernetes.
    version: &'static str,
    /// Custom kinds that the cluster knows.
    apis: &'static [&'static str],
    values: &'static [&'static str],
    /// The templates to render; empty means all.
    only: &'static [&'static str],
}

/// The admission policies, from the injector's definition of the sidecar.
pub(super) fn policy(_: &Path) -> Result<Vec<Generated>> {
    Ok(vec![(format!("{CHART}/templates/policy.yaml"), scoretap_injector::policy::template())])
}

const OPERATOR: [&str; 4] = [
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/ServiceMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1alpha1/AlertmanagerConfig",
];
const TENANTS: &str = r##"tenants=[
    {"name": "tenant-a", "networkPolicy": "open", "receiver": {"channel": "#tenant-a-models", "pager": true},
     "quota": {"pods": 100, "requests.cpu": 20, "requests.memory": "64Gi", "limits.cpu": 250, "limits.memory": "128Gi"}},
    {"name": "tenant-b", "networkPolicy": "metrics", "podCalls": 32,
     "receiver": {"channel": "#tenant-b-models", "pager": true}}]"##;

const CASES: [Case; 9] = [
    Case {
        name: "policy",
        says: "The default on Kubernetes 1.36 and later, with the prometheus-operator.",
        version: "1.37.0",
        apis: &OPERATOR,
        values: &["mode=policy"],
        only: &[],
    },
    Case {
        name: "webhook",
        says: "Kubernetes 1.30 to 1.35: the webhook, with cert-manager and the prometheus-operator.",
        version: "1.34.0",
        apis: &OPERATOR,
        values: &["mode=webhook", "injector.tls.mode=cert-manager"],
        only: &[],
    },
    Case {
        name: "services",
        says: "Monitors through Services instead of pods, with native histograms. Apply policy.yaml or webhook.yaml \
               without their PodMonitor.",
        version: "1.37.0",
        apis: &OPERATOR,
        values: &["mode=policy", "monitoring.monitors=service", "monitoring.nativeHistograms=true"],
        only: &["monitors"],
    },
    Case {
        name: "tenants",
        says: "Two tenants' quota, monitors, network policies and routes of alerts, and the platform's route. Apply it \
               after policy.yaml or webhook.yaml, whose PodMonitor it replaces. Their namespaces exist.",
        version: "1.37.0",
        apis: &OPERATOR,
        values: &[
            "mode=policy",
            "monitoring.restrictReaders=true",
            "monitoring.receiver.channel=#ml-platform",
            "monitoring.receiver.pager=true",
            TENANTS,
        ],
        only: &["tenants", "receiver", "monitors", "plain"],
    },
    Case {
        name: "plain",
        says: "Configuration of a Prometheus and an Alertmanager without the operator, for two tenants.",
        version: "1.37.0",
        apis: &[],
        values: &[
            "mode=policy",
            "monitoring.plainConfig=true",
            "monitoring.grafanaUrl=https://grafana.example.com",
            "monitoring.runbookUrl=https://runbooks.example.com/scoretap/runbooks.md",
            TENANTS,
        ],
        only: &["plain"],
    },
    Case {
        name: "istio",
        says: "Pods with Istio's sidecar in the mesh, and the waypoint of tenant-a. Istio 1.30 and later.",
        version: "1.37.0",
        apis: &["extensions.istio.io/v1alpha1/TrafficExtension"],
        values: &[
            "mode=none",
            "registry=registry.example",
            "istio.enabled=true",
            "istio.waypoint.enabled=true",
            "istio.waypoint.namespace=tenant-a",
        ],
        only: &["istio"],
    },
    Case {
        name: "istio-wasm-plugin",
        says: "Pods with Istio's sidecar in the mesh. Istio up to 1.29.",
        version: "1.37.0",
        apis: &["extensions.istio.io/v1alpha1/WasmPlugin"],
        values: &["mode=none", "registry=registry.example", "istio.enabled=true", "istio.kind=wasmPlugin"],
        only: &["istio"],
    },
    Case {
        name: "istio-envoy-filter",
        says: "Pods with Istio's sidecar in the mesh, measured by an access logger.",
        version: "1.37.0",
        apis: &["networking.istio.io/v1alpha3/EnvoyFilter"],
        values: &["mode=none", "registry=registry.example", "istio.enabled=true", "istio.kind=envoyFilter"],
        only: &["istio"],
    },
    Case {
        name: "azure",
        says: "Monitors for Azure managed Prometheus. Its rules are k8s/azure/rule-groups.json.",
        version: "1.34.0",
        apis: &["azmonitoring.coreos.com/v1/PodMonitor", "azmonitoring.coreos.com/v1/ServiceMonitor"],
        values: &["mode=webhook", "injector.tls.mode=cert-manager", "azure.monitors=true"],
        only: &["monitors"],
    },
];

pub(super) fn rendered(root: &Path) -> Result<Vec<Generated>> {
    let one = |case: &Case| {
        let text = format!(
            "# {}\n# Generated from k8s/chart: cargo xtask generate\n{}",
            case.says,
            render(root, case)?
        );
        Ok((format!("k8s/rendered/{}.yaml", case.name), text))
    };
    CASES.iter().map(one).collect()
}

/// Removes trailing spaces, which templates leave in empty lines.
fn render(root: &Path, case: &Case) -> Result<String> {
    let mut command = Command::new(tools::helm()?);
    command.args(["template", "scoretap", CHART, "--namespace", "scoretap-system"]).current_dir(root);
    command.args(["--kube-version", case.version]);
    command.args(case.apis.iter().flat_map(|api| ["--api-versions", api]));
    for value in case.values {
        let flag = if value.starts_with("tenants=") { "--set-json" } else { "--set" };
        command.args([flag, value]);
    }
    let only = case.only.iter().map(|name| format!("templates/{name}.yaml"));
    command.args(only.flat_map(|name| ["--show-only".to_owned(), name]));
    Ok(output(&mut command)?.lines().map(|line| format!("{}\n", line.trim_end())).collect())
}

/// The thresholds as a rule file, for a Prometheus that mounts the rules and for Azure.
pub(super) fn thresholds(root: &Path) -> Result<Vec<Generated>> {
    let case = Case {
        name: "thresholds",
        says: "",
        version: "1.37.0",
        apis: &OPERATOR,
        values: &["mode=policy"],
        only: &["rules"],
    };
    let all = render(root, &case)?;
    let rule = all.split("\n---").find(|object| object.contains("name: scoretap-thresholds\n"));
    let (_, groups) =
        rule.and_then(|rule| rule.split_once("spec:\n")).context("no rule scoretap-thresholds")?;
    let lines = groups.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
    let text: String = lines.filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    let head = "# Generated from k8s/chart: cargo xtask generate\n";
    Ok(vec![(format!("{}/thresholds.yaml", rules::RULES), head.to_owned() + &text)])
}

/// The chart's README: a table of the values with their comments (`# -- …`).
pub(super) fn values_table(root: &Path) -> Result<Vec<Generated>> {
    let text = read(root, &format!("{CHART}/values.yaml"))?;
    let values: Value = serde_norway::from_str(&text)?;
    let mut rows = String::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut says = String::new();
    for line in text.lines() {
        let inner = line.trim_start();
        let depth = line.len() - inner.len();
        if let Some(comment) = inner.strip_prefix("# ") {
            match comment.strip_prefix("-- ") {
                Some(first) => says = first.to_owned(),
                None if !says.is_empty() => says = format!("{says} {comment}"),
                None => {}
            }
        } else if let Some((key, _)) = inner.split_once(':') {
            path.retain(|(outer, _)| *outer < depth);
            path.push((depth, key));
            if !says.is_empty() {
                let keys: Vec<_> = path.iter().map(|(_, key)| *key).collect();
                let value = keys.iter().fold(&values, |value, key| &value[*key]);
                let value = serde_json::to_string(value)?;
                rows += &format!("| `{}` | `{value}` | {} |\n", keys.join("."), says.replace('|', "\\|"));
                says.clear();
            }
        }
    }
    let text = format!(
        "# Values of the chart\n\nGenerated from `values.yaml`: `cargo xtask generate`. The schema rejects any other \
         key.\n\n| value | default | meaning |\n|---|---|---|\n{rows}"
    );
    Ok(vec![(format!("{CHART}/README.md"), text)])
}
