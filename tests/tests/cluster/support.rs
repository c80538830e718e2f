//! Scoretap in the shared cluster, and the tests' workloads.

use std::sync::OnceLock;
use std::time::Duration;

use scoretap_tests::cluster::Cluster;
use scoretap_tests::wait::wait_until;
use scoretap_tests::workspace;
use serde_json::{Value, json};

/// Longer than any roll-out takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
pub(crate) const INJECTED_NAMESPACE: &[(&str, &str)] = &[("scoretap.dev/injection", "enabled")];

/// The shared cluster with the chart's admission policies. Tests that install or remove the chart use
/// [`Cluster::alone`].
pub(crate) fn with_policies() -> &'static Cluster {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let cluster = Cluster::shared();
    INSTALLED.get_or_init(|| install(cluster, &["--set", "mode=policy"]));
    cluster
}

/// Installs the chart with these arguments and waits until pods get their sidecar.
pub(crate) fn install(cluster: &Cluster, args: &[&str]) {
    let chart = workspace::root().join("k8s/chart");
    let chart = chart.to_str().unwrap();
    let install = ["install", "scoretap", chart, "-n", "scoretap-system", "--create-namespace"];
    cluster.helm(&[&install, args].concat()).unwrap();
    let namespace = cluster.namespace_with("installed", INJECTED_NAMESPACE);
    wait_until("pods get the sidecar", DEADLINE, || injects(cluster, &namespace));
}

/// Whether a pod in this namespace would get the sidecar now.
pub(crate) fn injects(cluster: &Cluster, namespace: &str) -> bool {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "asked-", "annotations": {"scoretap.dev/inject": "true"}},
        "spec": {"containers": [app_container()]},
    });
    let pod = cluster.api().create(&format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"), &pod).unwrap();
    is_injected(&pod)
}

pub(crate) fn is_injected(pod: &Value) -> bool {
    let init = pod["spec"]["initContainers"].as_array().into_iter().flatten();
    init.into_iter().any(|container| container["name"] == "scoretap-envoy")
}

/// The app, with port 8080 named `http`.
pub(crate) fn app_container() -> Value {
    json!({
        "name": "app",
        "image": "app",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
        // The app keeps listening until callers know that the pod terminates.
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    })
}

/// A Deployment of that app, and the Service `app` in front of it.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) deployment: Value,
    pub(crate) service: Value,
}

impl Workload {
    pub(crate) fn new(name: &str, replicas: u32) -> Self {
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"deployment": name}},
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {
                    "metadata": {"labels": {"app": "app", "deployment": name}},
                    "spec": {"containers": [app_container()], "terminationGracePeriodSeconds": 20},
                },
            },
        });
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "app"},
            "spec": {"selector": {"app": "app"}, "ports": [{"port": 80, "targetPort": "http"}]},
        });
        Self { deployment, service }
    }

    /// Sets an annotation of the pods.
    pub(crate) fn annotate(mut self, key: &str, value: &str) -> Self {
        self.deployment["spec"]["template"]["metadata"]["annotations"][key] = json!(value);
        self
    }

    /// Changes the app's container.
    pub(crate) fn app(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.deployment["spec"]["template"]["spec"]["containers"][0]);
        self
    }

    pub(crate) fn target_port(mut self, port: impl Into<Value>) -> Self {
        self.service["spec"]["ports"][0]["targetPort"] = port.into();
        self
    }

    pub(crate) fn name(&self) -> &str {
        self.deployment["metadata"]["name"].as_str().unwrap()
    }

    /// Applies both and returns kubectl's messages and warnings.
    #[track_caller]
    pub(crate) fn apply(&self, cluster: &Cluster, namespace: &str) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [self.deployment, self.service]});
        cluster.kubectl_stdin(&["apply", "-n", namespace, "-f", "-"], &list.to_string()).unwrap();
    }

    /// Applies both and waits until all pods are new and ready.
    #[track_caller]
    pub(crate) fn roll_out(&self, cluster: &Cluster, namespace: &str) {
        self.apply(cluster, namespace);
        rolled_out(cluster, namespace, self.name());
    }
}

#[track_caller]
pub(crate) fn rolled_out(cluster: &Cluster, namespace: &str, deployment: &str) {
    let deployment = format!("deployment/{deployment}");
    cluster.kubectl(&["rollout", "status", &deployment, "--timeout=120s", "-n", namespace]).unwrap();
}

/// The ports of the Service's usable backends, sorted.
pub(crate) fn ports(cluster: &Cluster, namespace: &str) -> Vec<u16> {
    let backends = cluster.backends(namespace, "app");
    let mut ports: Vec<u16> = backends.iter().filter_map(|backend| Some(backend.socket()?.port())).collect();
    ports.sort_unstable();
    ports
}

/// Waits until the Service's usable backends have exactly these ports.
#[track_caller]
pub(crate) fn wait_for_ports(cluster: &Cluster, namespace: &str, expected: &[u16]) {
    let what = format!("the Service leads to {expected:?}");
    wait_until(&what, DEADLINE, || ports(cluster, namespace) == expected);
}

/// The sum of a counter over all injected pods of a namespace, read through the API server's proxy.
pub(crate) fn counted(cluster: &Cluster, namespace: &str) -> f64 {
    let pods = cluster.pods(namespace).into_iter().filter(is_injected);
    pods.map(|pod| {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:15190/proxy/metrics");
        let text = cluster.kubectl(&["get", "--raw", &path]).unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("prediction_requests_total{"));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>()
    })
    .sum()
}
