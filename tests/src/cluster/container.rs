//! One container of a pod: its process, its probes, its restarts.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::api::Api;
use super::images::{Image, Images};
use super::probe::{self, Probe, Target};
use super::process::Launch;
use super::quantity;
use super::sandbox::Sandbox;
use super::status::now;
use crate::child::Child;

/// The kubelet waits 10 s, 20 s and so on, up to 5 minutes.
const BACKOFF: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The role of a container in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// Starts before the next one and keeps running.
    Sidecar,
    /// One of `spec.containers`.
    Main,
}

#[derive(Debug)]
pub(super) enum State {
    Waiting { reason: &'static str, message: String },
    Running(Box<Running>),
    Terminated(Value),
}

#[derive(Debug)]
pub(super) struct Running {
    /// `None` if the image is idle.
    child: Option<Child>,
    target: Option<Target>,
    pub(super) since: String,
    startup: Option<Probe>,
    /// The other probes, which start after the startup probe has passed.
    readiness: Option<Probe>,
    liveness: Option<Probe>,
    pub(super) started: bool,
    /// The reason, if the node kills it.
    killed: Option<&'static str>,
}

/// A container and its history.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) spec: Value,
    pub(super) role: Role,
    pub(super) state: State,
    pub(super) last: Option<Value>,
    pub(super) restarts: u32,
    restart_at: Instant,
    image: Option<Image>,
    launch: Option<Launch>,
}

impl Container {
    pub(super) fn new(spec: &Value, role: Role, images: &Images) -> Self {
        Self {
            role,
            state: State::Waiting { reason: "PodInitializing", message: String::new() },
            last: None,
            restarts: 0,
            restart_at: Instant::now(),
            image: images.find(spec["image"].as_str().unwrap_or_default()),
            launch: None,
            spec: spec.clone(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.image.as_ref().is_none_or(|image| image.idle)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Whether the next containers may start.
    pub(super) fn lets_next_start(&self) -> bool {
        match (&self.state, self.role) {
            (State::Running(running), Role::Sidecar) => running.started,
            (State::Terminated(end), Role::Init) => end["exitCode"] == 0,
            (_, Role::Sidecar | Role::Init) => false,
            (_, Role::Main) => true,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        match &self.state {
            State::Running(running) => {
                let declared = self.spec["readinessProbe"].is_object() && !self.is_idle();
                let passed = running.readiness.as_ref().and_then(Probe::passed).unwrap_or(!declared);
                running.started && passed
            }
            State::Terminated(end) => self.role == Role::Init && end["exitCode"] == 0,
            State::Waiting { .. } => false,
        }
    }

    /// Starts it if it waits and its backoff is over.
    pub(super) fn start(&mut self, api: Api, pod: &Value, sandbox: &Sandbox) {
        if !matches!(self.state, State::Waiting { .. }) || Instant::now() < self.restart_at {
            return;
        }
        let Some(image) = self.image.clone() else {
            let message = format!("the tests have no image {}", self.spec["image"]);
            self.state = State::Waiting { reason: "ImagePullBackOff", message };
            return;
        };
        match self.run(api, pod, sandbox, &image) {
            Ok(running) => self.state = State::Running(Box::new(running)),
            Err(error) => {
                let message = format!("{error:#}");
                self.state = State::Waiting { reason: "CreateContainerConfigError", message };
                self.restart_at = Instant::now() + Duration::from_millis(500);
            }
        }
    }

    fn run(&mut self, api: Api, pod: &Value, sandbox: &Sandbox, image: &Image) -> Result<Running> {
        let mut running = Running {
            child: None,
            target: None,
            since: now(),
            startup: None,
            readiness: None,
            liveness: None,
            started: false,
            killed: None,
        };
        if !image.idle {
            let launch = Launch::of(api, pod, &self.spec, image)?;
            let child = launch.start(sandbox, &self.spec, image)?;
            let target = Target {
                address: sandbox.address,
                pid: child.pid(),
                launch: launch.clone(),
                ports: self.spec["ports"].clone(),
            };
            running.startup = self.probe("startupProbe", &target);
            running.child = Some(child);
            running.target = Some(target);
            self.launch = Some(launch);
        }
        Ok(running)
    }

    fn probe(&self, field: &str, target: &Target) -> Option<Probe> {
        self.spec[field].is_object().then(|| Probe::start(&self.spec[field], target.clone()))
    }

    /// Checks the process and its probes. `restarts_after` decides whether it restarts.
    pub(super) fn look(&mut self, restarts_after: impl Fn(i64) -> bool) {
        self.begin_probes();
        let State::Running(running) = &mut self.state else { return };
        if running.killed.is_none() {
            let failed =
                |probe: &Option<Probe>| probe.as_ref().is_some_and(|probe| probe.passed() == Some(false));
            let over_limit = running.child.as_ref().is_some_and(|child| over_limit(&self.spec, child.pid()));
            if over_limit {
                running.killed = Some("OOMKilled");
                running.signal_kill();
            } else if failed(&running.startup) && !running.started || failed(&running.liveness) {
                running.killed = Some("Error");
                running.signal_kill();
            }
        }
        let Some(exit) = running.child.as_mut().and_then(Child::exit_status) else { return };
        let code = exit.code().map_or_else(|| 128 + i64::from(exit.signal().unwrap_or(0)), i64::from);
        let reason = running.killed.unwrap_or(if code == 0 { "Completed" } else { "Error" });
        let end =
            json!({"exitCode": code, "reason": reason, "startedAt": running.since, "finishedAt": now()});
        self.end(end, restarts_after(code));
    }

    fn end(&mut self, end: Value, restarts: bool) {
        if !restarts {
            self.state = State::Terminated(end);
            return;
        }
        let step = usize::try_from(self.restarts).unwrap_or(usize::MAX).min(BACKOFF.len() - 1);
        let wait = BACKOFF[step];
        self.restarts += 1;
        self.restart_at = Instant::now() + wait;
        let name = self.spec["name"].as_str().unwrap_or_default();
        let message = format!("back-off {wait:?} restarting failed container={name}");
        self.state = State::Waiting { reason: "CrashLoopBackOff", message };
        self.last = Some(end);
    }

    fn begin_probes(&mut self) {
        let (readiness, liveness) = match &self.state {
            State::Running(running) if !running.started => {
                let passed = running.startup.as_ref().is_none_or(|probe| probe.passed() == Some(true));
                if !passed {
                    return;
                }
                let probe = |field| running.target.as_ref().and_then(|target| self.probe(field, target));
                (probe("readinessProbe"), probe("livenessProbe"))
            }
            _ => return,
        };
        if let State::Running(running) = &mut self.state {
            (running.readiness, running.liveness, running.started) = (readiness, liveness, true);
        }
    }

    /// The last failure of a probe, as text.
    pub(super) fn trouble(&self) -> String {
        let State::Running(running) = &self.state else { return String::new() };
        let probes = [&running.startup, &running.readiness, &running.liveness];
        let failed = probes.into_iter().flatten().find(|probe| probe.passed() != Some(true));
        failed.map(Probe::why).unwrap_or_default()
    }

    /// Runs the hook of a container that should end. Blocks until the hook ends or until `deadline`.
    pub(super) fn pre_stop(&self) -> Option<impl FnOnce(Instant) + Send + use<>> {
        let hook = self.spec["lifecycle"]["preStop"].clone();
        let State::Running(running) = &self.state else { return None };
        let target = running.target.clone().filter(|_| hook.is_object())?;
        Some(move |deadline: Instant| {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(seconds) = hook["sleep"]["seconds"].as_u64() {
                std::thread::sleep(Duration::from_secs(seconds).min(left));
            } else {
                // In the kubelet, a hook that fails only leaves an event.
                let _ = probe::attempt(&hook, &target, left);
            }
        })
    }

    pub(super) fn terminate(&mut self) {
        match &mut self.state {
            State::Running(running) => match &running.child {
                Some(child) => child.terminate(),
                None => {
                    let since = &running.since;
                    let end = json!({"exitCode": 0, "reason": "Completed", "startedAt": since, "finishedAt": now()});
                    self.state = State::Terminated(end);
                }
            },
            State::Waiting { .. } => self.restart_at = Instant::now() + Duration::from_secs(3600),
            State::Terminated(_) => {}
        }
    }

    pub(super) fn kill(&mut self) {
        if let State::Running(running) = &mut self.state {
            running.signal_kill();
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        let State::Running(running) = &self.state else { return None };
        running.child.as_ref().map(Child::pid)
    }
}

impl Running {
    fn signal_kill(&self) {
        self.child.iter().for_each(Child::signal_kill);
    }
}

/// Compares the process' own memory with the limit. This replaces a control group, which only root could create.
fn over_limit(container: &Value, pid: u32) -> bool {
    let limit =
        container["resources"]["limits"]["memory"].as_str().and_then(|limit| quantity::parse(limit).ok());
    let Some(limit) = limit else { return false };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let held: Option<f64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    held.is_some_and(|kilobytes| kilobytes * 1024.0 > limit)
}
