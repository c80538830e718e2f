//! `--with-prometheus`: a real Prometheus beside the demo, with the shipped rules at windows of seconds.

use std::net::SocketAddr;

use anyhow::Result;
use scoretap_tests::http::Endpoint;
use scoretap_tests::monitoring::{Prometheus, Target};
use scoretap_tests::ports;
use scoretap_tests::stack::{Folders, Stack};

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

    /// The line that says where to look.
    pub(super) fn introduction(&self) -> String {
        let address = self.prometheus.address;
        format!("alerts; 5 minutes are 8 s   http://{address}/classic/alerts\n")
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
