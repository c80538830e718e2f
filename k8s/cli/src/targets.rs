//! `scoretap targets`: our targets in Prometheus, with their health and last error.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::check::object::text_at;
use crate::kubectl::Cluster;
use crate::prometheus::Server;
use crate::text::{clean, count};
use crate::{Status, console};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only targets in this namespace [default: all]
    #[arg(short, long)]
    namespace: Option<String>,
    #[command(flatten)]
    output: crate::Output,
}

/// The exit status is 1 if a target is down or if there is none.
pub(crate) fn run(cluster: &Cluster, args: &Args) -> Result<Status> {
    cluster.reach()?;
    let Some(server) = Server::find(cluster) else {
        bail!(
            "the cluster has no Prometheus of the prometheus-operator that answers; `scoretap check` says why, `scoretap \
             install --with-prometheus-stack` installs one"
        );
    };
    let data = server.get(cluster, "/api/v1/targets?state=active")?;
    let all = data["activeTargets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_wanted = |target: &&Value| {
        let namespace = args.namespace.as_deref();
        is_ours(target) && namespace.is_none_or(|namespace| text_at(target, "/labels/namespace") == namespace)
    };
    let mut targets: Vec<&Value> = all.iter().filter(is_wanted).collect();
    targets.sort_by_key(|target| (text_at(target, "/health") == "up", title(target)));
    let are_well = !targets.is_empty() && targets.iter().all(|target| text_at(target, "/health") == "up");
    if args.output.is_json() {
        let facts: Vec<_> = targets.iter().map(|target| facts(target)).collect();
        console::json(&json!({"prometheus": server.title, "targets": facts}))?;
    } else if targets.is_empty() {
        console::line(&format!(
            "Prometheus {} scrapes no target of Scoretap's; `scoretap check` says why",
            server.title
        ))?;
    } else {
        let lines: String = targets.iter().map(|target| line(target) + "\n").collect();
        let total = format!("{} of Prometheus {}", count(targets.len(), "target"), clean(&server.title));
        console::line(&format!("{lines}\n{total}"))?;
    }
    Ok(if are_well { Status::Well } else { Status::Findings })
}

/// Whether one of our monitors created the target: `podMonitor/monitoring/scoretap/0`.
fn is_ours(target: &Value) -> bool {
    let mut parts = text_at(target, "/scrapePool").split('/');
    let kind = parts.next().unwrap_or_default();
    ["podMonitor", "serviceMonitor"].contains(&kind)
        && parts.nth(1).is_some_and(|name| name.starts_with("scoretap"))
}

fn title(target: &Value) -> String {
    format!("{}/{}", text_at(target, "/labels/namespace"), text_at(target, "/labels/pod"))
}

fn facts(target: &Value) -> Value {
    json!({
        "health": target["health"],
        "namespace": target["labels"]["namespace"],
        "pod": target["labels"]["pod"],
        "url": target["scrapeUrl"],
        "lastScrape": target["lastScrape"],
        "lastError": target["lastError"],
    })
}

fn line(target: &Value) -> String {
    let health = text_at(target, "/health");
    let error = text_at(target, "/lastError");
    let line = format!("{health:<8}{}  {}", title(target), text_at(target, "/lastScrape"));
    clean(&if error.is_empty() { line } else { format!("{line}  {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_targets_of_our_monitors_are_shown() {
        let check = |pool: &str, expected: bool| {
            assert_eq!(is_ours(&json!({"scrapePool": pool})), expected, "{pool}");
        };
        check("podMonitor/monitoring/scoretap/0", true);
        check("serviceMonitor/monitoring/scoretap-injector/0", true);
        check("podMonitor/scoretap/other/0", false);
        check("serviceMonitor/monitoring/node-exporter/0", false);
        check("scoretap", false);
    }

    #[test]
    fn line_has_health_pod_and_sanitized_error() {
        let target = json!({"health": "down", "labels": {"namespace": "t", "pod": "a"},
            "lastScrape": "2026-11-28T00:00:00Z", "lastError": "refused\u{1b}[2J"});
        assert_eq!(line(&target), "down    t/a  2026-11-28T00:00:00Z  refused [2J");
    }
}
