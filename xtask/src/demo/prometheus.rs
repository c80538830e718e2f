//! `--with-prometheus`: a real Prometheus beside the demo, with the shipped rules at windows of seconds.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::Result;
use scoretap_tests::http::Endpoint;
use scoretap_tests::monitoring::{Prometheus, Target};
use scoretap_tests::ports;
use scoretap_tests::stack::{Folders, Stack};
use serde_json::Value;

const PORT: u16 = 9_090;

/// Runs until it is dropped.
pub(super) struct Watcher {
    prometheus: Prometheus,
    _folders: Folders,
}

impl Watcher {
    /// Has Prometheus scrape the demo's exporter as an operator's monitor would.
    pub(super) fn start(stack: &Stack) -> Result<Self> {
        eprintln!("starting Prometheus …");
        let folders = Folders::create("demo-prometheus")?;
        let targets: Vec<Target> = exporter(stack).into_iter().map(target).collect();
        let prometheus = Prometheus::start(&folders, ports::preferred(PORT), &targets, None)?;
        Ok(Self { prometheus, _folders: folders })
    }

    /// A line with the firing alerts and their models.
    pub(super) fn alerts(&self) -> String {
        let firing = self.prometheus.query(r#"ALERTS{alertstate="firing"}"#).unwrap_or_default();
        let alert = |series: &Value| {
            let label = |name: &str| series["metric"][name].as_str().map(str::to_owned);
            let name = label("alertname")?;
            Some(label("model_name").map_or_else(|| name.clone(), |model| format!("{name} ({model})")))
        };
        let alerts: BTreeSet<String> = firing.iter().filter_map(alert).collect();
        let alerts: Vec<String> = alerts.into_iter().collect();
        format!("\nfiring: {}\n", if alerts.is_empty() { "no alert".to_owned() } else { alerts.join(", ") })
    }

    /// The lines that say where to look, and what to expect.
    pub(super) fn introduction(&self) -> String {
        let address = self.prometheus.address;
        format!(
            "alerts                      http://{address}/classic/alerts\n\
             For this Prometheus, 5 minutes are 8 s and a week is 30 s. An alert about a change since last week therefore \
             ends soon after it fires.\n"
        )
    }
}

fn exporter(stack: &Stack) -> Option<SocketAddr> {
    match &stack.exporter {
        Endpoint::Tcp(address) => Some(*address),
        Endpoint::Unix(_) => None,
    }
}

fn target(address: SocketAddr) -> Target {
    Target { address, job: "monitoring/scoretap", pod: Some(("demo", "tutorial-1")) }
}
