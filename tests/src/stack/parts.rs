//! How Envoy and the exporter are started, and started again.

use std::ffi::OsString;
use std::fs;
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
    pub(super) environment: Vec<(&'static str, OsString)>,
    /// Where one Envoy can take over from another.
    pub(super) row: Option<Row>,
}

/// Envoys of which each takes over from the one before. They find each other by a number that the first one picks.
#[derive(Debug, Default)]
pub(super) struct Row {
    epoch: u32,
    number: String,
}

impl Drop for Row {
    fn drop(&mut self) {
        // Envoy itself leaves it behind.
        let _ = fs::remove_file(format!("/dev/shm/envoy_shared_memory_{}0", self.number));
    }
}

impl EnvoySpec {
    /// Starts Envoy and waits until its listener is up.
    pub(super) fn start(&mut self, folders: &Folders, admin: &Endpoint) -> Result<Child> {
        let mut command = self.command()?;
        let number = folders.run.join("base-id");
        match &self.row {
            Some(_) => command.args(["--use-dynamic-base-id", "--base-id-path"]).arg(&number),
            // Several Envoys run on this machine at once: with hot restart they would share memory by number.
            None => command.arg("--disable-hot-restart"),
        };
        let mut child = Child::spawn("Envoy", &command, &folders.logs.join("envoy.log"))?;
        child.wait_ready(STARTUP, || http::get(admin, "/ready").is_ok())?;
        if let Some(row) = &mut self.row {
            *row = Row { epoch: 0, number: fs::read_to_string(number)?.trim().to_owned() };
        }
        Ok(child)
    }

    /// Starts an Envoy that takes over from the running one, and waits until it has.
    pub(super) fn take_over(&mut self, folders: &Folders, admin: &Endpoint) -> Result<Child> {
        let mut command = self.command()?;
        let row = self.row.as_mut().context("only a stack built with hot_restartable() can be taken over")?;
        row.epoch += 1;
        command.args(["--base-id", &row.number, "--restart-epoch", &row.epoch.to_string()]);
        command.args(["--parent-shutdown-time-s", "2"]);
        let mut child = Child::spawn("Envoy", &command, &folders.logs.join("envoy.log"))?;
        let (path, said) = ("/stats?filter=hot_restart_epoch", format!("hot_restart_epoch: {}\n", row.epoch));
        child.wait_ready(STARTUP, || http::get(admin, path).is_ok_and(|stats| stats.contains(&said)))?;
        Ok(child)
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(tools::envoy(self.version)?);
        command.arg("--config-path").arg(&self.bootstrap);
        command.args(["--concurrency", &self.concurrency.to_string()]);
        command.args(["--log-level", "info", "--drain-strategy", "immediate"]);
        // Logs in files are read while Envoy runs. Its default is 10 s.
        command.args(["--file-flush-interval-msec", "100"]);
        command.args(["--drain-time-s", &self.drain_seconds.to_string()]);
        command.envs(self.environment.iter().cloned());
        Ok(command)
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
