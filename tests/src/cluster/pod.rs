//! The life of one pod on the node: start in order, supervise, report, end.

use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::container::{Container, Role, State};
use super::node::Shared;
use super::sandbox::Sandbox;
use super::{status, volumes};

const TICK: Duration = Duration::from_millis(50);
/// The interval between checks of the mounted ConfigMaps and Secrets.
const REFRESH: Duration = Duration::from_secs(1);

/// An event of the API server for a running pod.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// The pod ends within this time.
    End(Duration),
    /// The pod no longer exists.
    Gone,
}

/// Runs one pod in a thread of its own.
pub(super) struct Pod {
    shared: Shared,
    pod: Value,
    sandbox: Option<Sandbox>,
    containers: Vec<Container>,
}

impl Pod {
    pub(super) fn new(shared: Shared, pod: Value) -> Self {
        let init = pod["spec"]["initContainers"].as_array().into_iter().flatten().map(|spec| {
            let role = if spec["restartPolicy"] == "Always" { Role::Sidecar } else { Role::Init };
            (spec, role)
        });
        let main = pod["spec"]["containers"].as_array().into_iter().flatten().map(|spec| (spec, Role::Main));
        let containers =
            init.chain(main).map(|(spec, role)| Container::new(spec, role, &shared.images)).collect();
        Self { shared, pod, sandbox: None, containers }
    }

    /// Runs until the pod is gone.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        while self.sandbox.is_none() {
            match self.create_sandbox() {
                Ok(sandbox) => {
                    self.sandbox = Some(sandbox);
                    // Variables of containers may use the address.
                    self.report("Pending");
                }
                // Its ConfigMap may be created later.
                Err(error) => {
                    eprintln!("pod {}: {error:#}", self.name());
                    std::thread::sleep(Duration::from_millis(500));
                }
            }
            match orders.try_recv() {
                Ok(Order::End(_)) => return self.remove(),
                Ok(Order::Gone) | Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
        }
        let mut refreshed = Instant::now();
        loop {
            if refreshed.elapsed() > REFRESH {
                refreshed = Instant::now();
                self.refresh_volumes();
            }
            match orders.recv_timeout(TICK) {
                Ok(Order::End(grace)) => {
                    self.end(grace);
                    return self.remove();
                }
                Ok(Order::Gone) | Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            }
            if self.phase() == "Running" || self.phase() == "Pending" {
                self.step();
                if self.mains_have_ended() {
                    self.end(self.grace());
                    self.report(self.final_phase());
                }
            }
        }
    }

    fn refresh_volumes(&self) {
        let volumes = self.sandbox.as_ref().map(|sandbox| &sandbox.volumes);
        if let Some(volumes) = volumes.filter(|_| volumes::follow_objects(&self.pod)) {
            // If a Secret is gone, the files stay.
            let _ = volumes::refresh(self.shared.api, &self.pod, volumes);
        }
    }

    fn step(&mut self) {
        self.start_next();
        let policy = self.pod["spec"]["restartPolicy"].as_str().unwrap_or("Always").to_owned();
        for container in &mut self.containers {
            let role = container.role;
            container.look(|code| match role {
                Role::Sidecar => true,
                Role::Init => code != 0 && policy != "Never",
                Role::Main => policy == "Always" || policy == "OnFailure" && code != 0,
            });
        }
        let failed_to_start = self.containers.iter().any(|one| {
            one.role == Role::Init && matches!(&one.state, State::Terminated(end) if end["exitCode"] != 0)
        });
        if failed_to_start {
            self.end(self.grace());
            return self.report("Failed");
        }
        let has_begun =
            self.containers.iter().any(|one| one.role == Role::Main && one.is_running() || one.restarts > 0);
        let phase = if has_begun || self.phase() == "Running" { "Running" } else { "Pending" };
        self.report(phase);
    }

    /// Starts containers in order. A container waits for those before it.
    fn start_next(&mut self) {
        let Some(sandbox) = &self.sandbox else { return };
        for container in &mut self.containers {
            container.start(self.shared.api, &self.pod, sandbox);
            if !container.lets_next_start() {
                break;
            }
        }
    }

    fn mains_have_ended(&self) -> bool {
        let mut mains = self.containers.iter().filter(|one| one.role == Role::Main);
        mains.all(|one| matches!(one.state, State::Terminated(_)))
    }

    fn final_phase(&self) -> &'static str {
        let mut mains = self.containers.iter().filter(|one| one.role == Role::Main);
        let well = mains.all(|one| matches!(&one.state, State::Terminated(end) if end["exitCode"] == 0));
        if well { "Succeeded" } else { "Failed" }
    }

    /// Runs all hooks at once. A main container gets SIGTERM after its hook, a sidecar also after all later containers
    /// have ended.
    fn end(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let hooks: Vec<Option<JoinHandle<()>>> = self
            .containers
            .iter()
            .map(|one| one.pre_stop().map(|hook| std::thread::spawn(move || hook(deadline))))
            .collect();
        let mut told = vec![false; self.containers.len()];
        while self.containers.iter().any(Container::is_running) {
            for index in (0..self.containers.len()).rev() {
                let hook_is_over = hooks[index].as_ref().is_none_or(JoinHandle::is_finished);
                let behind = self.containers[index + 1..].iter().any(Container::is_running);
                let waits = self.containers[index].role == Role::Sidecar && behind;
                if hook_is_over && !waits && !told[index] {
                    told[index] = true;
                    self.containers[index].terminate();
                }
            }
            if Instant::now() > deadline {
                self.containers.iter_mut().for_each(Container::kill);
            }
            self.containers.iter_mut().for_each(|container| container.look(|_| false));
            self.report("Running");
            std::thread::sleep(TICK);
        }
    }

    fn remove(&mut self) {
        if !self.containers.iter().all(|one| matches!(one.state, State::Waiting { .. })) {
            self.report(self.final_phase());
        }
        let uid = &self.pod["metadata"]["uid"];
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
        let _ = self.shared.api.delete(&self.path(), &options);
    }

    /// Writes the status if it has changed.
    fn report(&mut self, phase: &str) {
        let pids = self
            .containers
            .iter()
            .filter_map(|one| Some((one.spec["name"].as_str()?.to_owned(), one.pid()?)));
        self.shared.processes.set(&self.name(), pids.collect());
        let mut status = status::of(&self.pod, self.sandbox.as_ref(), &self.containers, phase);
        status["startTime"] = match &self.pod["status"]["startTime"] {
            Value::Null => json!(status::now()),
            since => since.clone(),
        };
        if status == self.pod["status"] {
            return;
        }
        match self.shared.api.patch(&format!("{}/status", self.path()), &json!({"status": status})) {
            Ok(_) => self.pod["status"] = status,
            // The watch soon reports a deleted pod. Otherwise the next tick tries again.
            Err(_) => std::thread::sleep(TICK),
        }
    }

    fn create_sandbox(&self) -> Result<Sandbox> {
        let idle = self.containers.iter().all(Container::is_idle);
        // A later pod can have the same name, so the temporary folder has the UID.
        let folder =
            self.shared.run.join("pods").join(self.pod["metadata"]["uid"].as_str().unwrap_or_default());
        let logs = self.shared.logs.join(Path::new(&self.name()));
        Sandbox::create(self.shared.api, &self.pod, &folder, &logs, idle)
    }

    fn phase(&self) -> &str {
        self.pod["status"]["phase"].as_str().unwrap_or_default()
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30))
    }

    /// `NAMESPACE/NAME`.
    fn name(&self) -> String {
        let metadata = &self.pod["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("namespace"), text("name"))
    }

    fn path(&self) -> String {
        let name = self.name();
        let (namespace, name) = name.split_once('/').unwrap_or_default();
        format!("/api/v1/namespaces/{namespace}/pods/{name}")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.shared.processes.forget(&self.name());
    }
}
