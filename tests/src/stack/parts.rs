//! How Envoy and the exporter are started, and started again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::folders::Folders;
use crate::bootstrap::Bootstrap;
use crate::child::Child;
use crate::http::{self, Endpoint};
use crate::tools::{self, EnvoyVersion};
use crate::wait::STARTUP;
use crate::workspace;

/// All that Envoy is started with.
#[derive(Debug)]
pub(super) struct EnvoySpec {
    pub(super) version: EnvoyVersion,
    pub(super) concurrency: u32,
    pub(super) drain_seconds: u32,
    pub(super) bootstrap: PathBuf,
    /// The listener's file and its content, where it is delivered by LDS.
    pub(super) listener: Option<(PathBuf, Bootstrap)>,
}

impl EnvoySpec {
    /// Starts Envoy and waits until its listener is up.
    pub(super) fn start(&self, folders: &Folders, admin: &Endpoint) -> Result<Child> {
        let mut command = Command::new(tools::envoy(self.version)?);
        command.arg("--config-path").arg(&self.bootstrap);
        // Several Envoys run on this machine at once: hot restart would have them share memory by number.
        command.args(["--disable-hot-restart", "--concurrency", &self.concurrency.to_string()]);
        command.args(["--log-level", "info", "--drain-strategy", "immediate"]);
        command.args(["--drain-time-s", &self.drain_seconds.to_string()]);
        let mut child = Child::spawn("Envoy", &command, &folders.logs.join("envoy.log"))?;
        child.wait_ready(STARTUP, || http::get(admin, "/ready").is_ok())?;
        Ok(child)
    }

    /// Writes the listener's file with this configuration of the filter.
    pub(super) fn write_listener(&mut self, filter_config: &str) -> Result<()> {
        let (path, listener) =
            self.listener.as_mut().context("only a stack built with dynamic() can be reconfigured")?;
        listener.set_filter_config(filter_config);
        listener.write(path)
    }
}

/// All that the exporter is started with.
#[derive(Debug)]
pub(super) struct ExporterSpec {
    pub(super) address: SocketAddr,
    pub(super) admin: String,
    pub(super) args: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
}

impl ExporterSpec {
    /// Starts the exporter and waits until it says that it is healthy.
    pub(super) fn start(&self, folders: &Folders, endpoint: &Endpoint) -> Result<Child> {
        let binary = workspace::exporter();
        ensure!(binary.is_file(), "{} is not there: run `cargo xtask package` first", binary.display());
        let mut command = Command::new(binary);
        command.args(["--web.listen-address", &self.address.to_string(), "--envoy.admin", &self.admin]);
        command.args(&self.args).envs(self.environment.iter().cloned());
        let mut child = Child::spawn("the exporter", &command, &folders.logs.join("exporter.log"))?;
        child.wait_ready(STARTUP, || http::get(endpoint, "/-/healthy").is_ok())?;
        Ok(child)
    }
}
