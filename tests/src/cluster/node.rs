//! The node: a scheduler for one node, and a kubelet with a thread for each pod.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::api::Api;
use super::images::Images;
use super::network::NODE;
use super::pod::{Order, Pod};
use super::status::now;

/// The name of the node.
pub(super) const NAME: &str = "node-1";

/// The state that the threads of all pods share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) api: Api,
    pub(super) images: Arc<Images>,
    pub(super) processes: Arc<Processes>,
    pub(super) run: PathBuf,
    pub(super) logs: PathBuf,
    /// Set when the cluster ends.
    pub(super) stop: Arc<AtomicBool>,
}

/// The running processes, by `NAMESPACE/POD` and container.
#[derive(Debug, Default)]
pub(super) struct Processes(Mutex<HashMap<String, HashMap<String, u32>>>);

impl Processes {
    pub(super) fn set(&self, pod: &str, pids: HashMap<String, u32>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pod.to_owned(), pids);
    }

    pub(super) fn forget(&self, pod: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(pod);
    }

    pub(super) fn pid(&self, pod: &str, container: &str) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(pod)?.get(container).copied()
    }
}

/// Creates the Node and runs its pods until the process ends.
pub(super) fn start(shared: Shared) -> Result<()> {
    create(shared.api).context("cannot create the Node")?;
    std::thread::spawn(move || {
        let mut node = Node { shared: shared.clone(), pods: HashMap::new() };
        while !shared.stop.load(Ordering::Relaxed) {
            // The API server ends watches now and then.
            let _ = shared.api.watch("/api/v1/pods", |kind, pod| node.changed(kind, pod));
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    Ok(())
}

fn create(api: Api) -> Result<()> {
    let node = json!({
        "metadata": {"name": NAME, "labels": {
            "kubernetes.io/hostname": NAME, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        }},
        "spec": {"podCIDR": "10.244.0.0/16"},
    });
    api.create("/api/v1/nodes", &node)?;
    let capacity = json!({"cpu": "64", "memory": "256Gi", "pods": "500"});
    let status = json!({"status": {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [{"type": "InternalIP", "address": NODE.to_string()}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
            "lastHeartbeatTime": now(), "lastTransitionTime": now()}],
        "nodeInfo": {"kubeletVersion": "v1.37.2", "operatingSystem": "linux", "architecture": "amd64",
            "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
            "machineID": "", "osImage": "", "systemUUID": ""},
    }});
    api.patch(&format!("/api/v1/nodes/{NAME}/status"), &status)?;
    Ok(())
}

struct Node {
    shared: Shared,
    /// The pods by UID.
    pods: HashMap<String, Sender<Order>>,
}

impl Node {
    fn changed(&mut self, kind: &str, pod: Value) {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if kind == "DELETED" {
            if let Some(orders) = self.pods.remove(&uid) {
                let _ = orders.send(Order::Gone);
            }
            return;
        }
        let is_ending = pod["metadata"]["deletionTimestamp"].is_string();
        match (self.pods.get(&uid), pod["spec"]["nodeName"].as_str()) {
            (Some(orders), _) if is_ending => {
                let seconds = pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(30);
                let _ = orders.send(Order::End(Duration::from_secs(seconds)));
            }
            (None, Some(NAME)) => self.run(uid, pod, is_ending),
            (None, None) if !is_ending && pod["spec"]["schedulingGates"].is_null() => self.bind(&pod),
            _ => {}
        }
    }

    fn bind(&self, pod: &Value) {
        let (namespace, name) = (&pod["metadata"]["namespace"], &pod["metadata"]["name"]);
        // Without the name in the body, controllers report "skipping Pod, Node Not Found".
        let binding =
            json!({"metadata": {"name": name}, "target": {"apiVersion": "v1", "kind": "Node", "name": NAME}});
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/binding",
            namespace.as_str().unwrap_or_default(),
            name.as_str().unwrap_or_default()
        );
        // Fails if the pod is already gone.
        let _ = self.shared.api.create(&path, &binding);
    }

    fn run(&mut self, uid: String, pod: Value, is_ending: bool) {
        let (sender, orders) = channel();
        if is_ending {
            let _ = sender.send(Order::End(Duration::ZERO));
        }
        self.pods.insert(uid, sender);
        let pod = Pod::new(self.shared.clone(), pod);
        std::thread::spawn(move || pod.run(&orders));
    }
}
