//! An Alertmanager with a configuration of the test's.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::relocated::relocated;
use crate::apps::local;
use crate::child::Child;
use crate::http::{self, Call, Endpoint, Protocol};
use crate::stack::Folders;
use crate::wait::STARTUP;
use crate::{ports, tools};

/// A running Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    /// Where it listens.
    pub address: SocketAddr,
    _child: Child,
}

impl Alertmanager {
    /// Starts it with this configuration and waits until it is ready.
    pub fn start(folders: &Folders, config: &str) -> Result<Self> {
        let path = folders.run.join("alertmanager.yml");
        fs::write(&path, config)?;
        let address = local(ports::free());
        let binary = relocated(&tools::alertmanager()?, "/usr/share/prometheus/alertmanager")?;
        let mut command = Command::new(&binary);
        command.current_dir(binary.ancestors().nth(3).context("where it was unpacked")?);
        command.arg(format!("--config.file={}", path.display()));
        command.arg(format!("--storage.path={}", folders.run.join("alertmanager").display()));
        command.arg(format!("--web.listen-address={address}"));
        // It is alone; Alertmanagers that found each other would share silences.
        command.arg("--cluster.listen-address=");
        let mut child = Child::spawn("Alertmanager", &command, &folders.logs.join("alertmanager.log"))?;
        child.wait_ready(STARTUP, || http::get(&Endpoint::Tcp(address), "/-/ready").is_ok())?;
        Ok(Self { address, _child: child })
    }

    /// Raises alerts as Prometheus would.
    pub fn send(&self, alerts: &Value) -> Result<()> {
        let call = Call::post("/api/v2/alerts", alerts.to_string());
        let answer =
            http::call(&Endpoint::Tcp(self.address), Protocol::Http1, call).context("Alertmanager")?;
        ensure!(answer.status == 200, "Alertmanager refused alerts: {}", answer.text());
        Ok(())
    }

    /// The alerts that it has, with what it does about each.
    pub fn alerts(&self) -> Result<Vec<Value>> {
        let text = http::get(&Endpoint::Tcp(self.address), "/api/v2/alerts")?;
        Ok(serde_json::from_str(&text)?)
    }
}
