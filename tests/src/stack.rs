//! The whole system: a model server, Envoy with the module, the exporter. Built up in one expression, torn down when
//! dropped.
//!
//! ```no_run
//! use scoretap_tests::stack::Stack;
//! use scoretap_tests::http::Call;
//!
//! let stack = Stack::builder("my-test").start().unwrap();
//! let answer = stack.call(Call::post("/score", r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#)).unwrap();
//! assert_eq!(answer.status, 200);
//! stack.settle();
//! assert_eq!(stack.metrics().sum("prediction_requests_total", &[("route", "score")]), 1.0);
//! ```

mod builder;
mod clock;
mod folders;
mod parts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::apps::{Logged, Scorer};
use crate::child::Child;
use crate::exposition::Exposition;
use crate::http::{self, Call, CallResult, Endpoint, Load, Protocol};
use crate::wait::{wait_for, wait_until};

pub use builder::{StackBuilder, Upstream, WayIn};
pub use folders::{Folders, set_insight_percent};

use parts::{EnvoySpec, ExporterSpec};

const SETTLE: Duration = Duration::from_secs(20);

/// A running system.
#[derive(Debug)]
pub struct Stack {
    /// Its files.
    pub folders: Folders,
    /// Where callers go: Envoy's listener.
    pub address: SocketAddr,
    /// Envoy's admin interface.
    pub admin: Endpoint,
    /// The exporter.
    pub exporter: Endpoint,
    /// How the module is installed.
    pub way_in: WayIn,
    scorer: Option<Arc<Scorer>>,
    envoy_spec: EnvoySpec,
    exporter_spec: ExporterSpec,
    envoy_process: Option<Child>,
    exporter_process: Option<Child>,
}

impl Stack {
    /// `name` is the name of the test: files are found by it.
    pub fn builder(name: &str) -> StackBuilder {
        StackBuilder::new(name)
    }

    /// One HTTP/1.1 call through Envoy, on a connection of its own.
    pub fn call(&self, call: Call) -> CallResult {
        self.call_over(Protocol::Http1, call)
    }

    /// One call through Envoy, on a connection of its own.
    pub fn call_over(&self, protocol: Protocol, call: Call) -> CallResult {
        http::call(&Endpoint::Tcp(self.address), protocol, call)
    }

    /// Callers who go through Envoy.
    pub fn load(&self, protocol: Protocol, callers: usize) -> Load {
        Load { endpoint: Endpoint::Tcp(self.address), protocol, callers }
    }

    /// The scorer's log of its answers, in no particular order. Empty for other upstreams.
    ///
    /// gunicorn logs a call just after it has answered: wait until the log is as long as it has to be.
    pub fn app_calls(&self) -> Vec<Logged> {
        self.scorer.as_ref().map(|scorer| self.expect(scorer.calls())).unwrap_or_default()
    }

    /// Envoy's statistics in use whose names match the regular expression, as raw lines of `name: value`.
    #[track_caller]
    pub fn envoy_stats(&self, filter: &str) -> String {
        let path = format!("/stats?usedonly&filter={}", http::percent_encode(filter));
        self.expect(http::get(&self.admin, &path))
    }

    /// One counter or gauge of Envoy by its full name; 0 where it was never used.
    #[track_caller]
    pub fn envoy_stat(&self, name: &str) -> u64 {
        let stats = self.envoy_stats(&format!("^{}$", name.replace('.', "\\.")));
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map_or(0, |value| self.expect(value.parse().context("a statistic of Envoy")))
    }

    /// The exporter's answer to a scraper with this `accept` header: content type and body.
    #[track_caller]
    pub fn scrape(&self, accept: &str) -> (String, String) {
        let call = Call::get("/metrics").header("accept", accept);
        let answer = self.expect(http::call(&self.exporter, Protocol::Http1, call).context("the exporter"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.header("content-type").to_owned(), answer.text())
    }

    /// The current exposition.
    #[track_caller]
    pub fn metrics(&self) -> Exposition {
        self.expect(Exposition::parse(&self.scrape("text/plain; version=0.0.4").1))
    }

    /// Waits until Envoy has finished every call that it began: a caller has its answer a moment earlier.
    #[track_caller]
    pub fn settle(&self) {
        wait_until("Envoy has no call in flight", SETTLE, || self.in_flight() == 0);
    }

    /// Calls that Envoy has begun and not finished.
    #[track_caller]
    pub fn in_flight(&self) -> u64 {
        self.envoy_stat("http.inbound_scoretap.downstream_rq_active")
    }

    /// Gives the filter a new configuration by LDS and waits until the old one is gone. Needs
    /// [`StackBuilder::dynamic`].
    pub fn reconfigure(&mut self, filter_config: &str) -> Result<()> {
        self.push(filter_config)?;
        // Where only the filter chain has changed, Envoy replaces that alone.
        let draining =
            ["listener_manager.total_listeners_draining", "listener_manager.total_filter_chains_draining"];
        wait_for("the old listener is gone", SETTLE, || {
            draining.iter().all(|name| self.envoy_stat(name) == 0)
        })
    }

    /// As [`Stack::reconfigure`], but the old listener may still be draining.
    pub fn push(&mut self, filter_config: &str) -> Result<()> {
        let done = "listener_manager.lds.update_success";
        let before = self.envoy_stat(done);
        self.envoy_spec.write_listener(filter_config)?;
        wait_for("Envoy has taken the new listener", SETTLE, || self.envoy_stat(done) > before)
    }

    /// Ends Envoy as a crash would. Calls are refused until [`Stack::start_envoy`].
    pub fn stop_envoy(&mut self) {
        self.envoy_process.take().map(Child::kill).unwrap_or_default();
    }

    /// Starts Envoy again, in place of a running one, at the same address.
    pub fn start_envoy(&mut self) -> Result<()> {
        self.envoy_process = None;
        self.envoy_process = Some(self.envoy_spec.start(&self.folders, &self.admin)?);
        Ok(())
    }

    /// Starts an Envoy that takes over from the running one, and waits until that one has ended. Needs
    /// [`StackBuilder::hot_restartable`].
    pub fn hot_restart(&mut self) -> Result<()> {
        let mut parent = self.envoy_process.take().context("there is no Envoy to take over from")?;
        self.envoy_process = Some(self.envoy_spec.take_over(&self.folders, &self.admin)?);
        wait_for("the old Envoy has ended", SETTLE, || !parent.is_running())
    }

    /// Sets Envoy's wall clock so many hours off, and waits until it shows. Needs [`StackBuilder::own_clock`].
    pub fn set_clock(&self, hours: i64) -> Result<()> {
        clock::set(&self.folders, hours)?;
        wait_for("Envoy has the new time", SETTLE, || {
            let answer = http::call(&self.admin, Protocol::Http1, Call::get("/ready"));
            answer.is_ok_and(|answer| clock::is_off_by(hours, answer.header("date")))
        })
    }

    /// The scorer, where it is this stack's alone.
    pub fn app(&mut self) -> Result<&mut Scorer> {
        self.scorer.as_mut().and_then(Arc::get_mut).context("the stack has no scorer of its own")
    }

    /// Ends the exporter as a crash would.
    pub fn stop_exporter(&mut self) {
        self.exporter_process.take().map(Child::kill).unwrap_or_default();
    }

    /// Starts the exporter again, in place of a running one, at the same address.
    pub fn start_exporter(&mut self) -> Result<()> {
        self.exporter_process = None;
        self.exporter_process = Some(self.exporter_spec.start(&self.folders, &self.exporter)?);
        Ok(())
    }

    /// Envoy's output so far.
    pub fn envoy_output(&self) -> String {
        self.envoy_process.as_ref().map(Child::output).unwrap_or_default()
    }

    /// Envoy's process id, for what the kernel knows about it (`/proc/PID/status`).
    pub fn envoy_pid(&self) -> Option<u32> {
        self.envoy_process.as_ref().map(Child::pid)
    }

    /// The exporter's process id.
    pub fn exporter_pid(&self) -> Option<u32> {
        self.exporter_process.as_ref().map(Child::pid)
    }

    /// The last lines of what everybody printed, for a test's message.
    pub fn diagnosis(&self) -> String {
        [&self.envoy_process, &self.exporter_process].into_iter().flatten().map(Child::diagnosis).collect()
    }

    #[track_caller]
    fn expect<T>(&self, result: Result<T>) -> T {
        result.unwrap_or_else(|error| panic!("{error:#}\n{}", self.diagnosis()))
    }
}
