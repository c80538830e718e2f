//! A real API server calls the webhook. It emulates a version of Kubernetes without mutating policies.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use scoretap_tests::cluster::{Cluster, Version};
use scoretap_tests::wait::wait_until;
use scoretap_tests::workspace;
use serde_json::{Value, json};

use crate::support::{
    DEADLINE, INJECTED_NAMESPACE, Workload, injects, install, is_injected, rolled_out, wait_for_ports,
};

const SYSTEM: &str = "scoretap-system";
const INJECTOR: &str = "deployment/scoretap-injector";
const TLS: &str = "scoretap-injector-tls";

/// The cluster with the webhook, for one test at a time, because each test breaks the injector and repairs it.
struct Webhook {
    cluster: &'static Cluster,
    _turn: MutexGuard<'static, ()>,
}

impl Webhook {
    fn take() -> Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = CLUSTER.get_or_init(|| {
            let cluster = Cluster::alone("webhook", Version::V1_34);
            install(&cluster, &["--wait", "--timeout=120s"]);
            cluster
        });
        Self { cluster, _turn: turn }
    }

    fn scale(&self, replicas: usize) {
        self.cluster.kubectl(&["scale", INJECTOR, &format!("--replicas={replicas}"), "-n", SYSTEM]).unwrap();
        rolled_out(self.cluster, SYSTEM, "scoretap-injector");
        wait_until("the injector has its replicas", DEADLINE, || self.injectors().len() == replicas);
    }

    fn injectors(&self) -> Vec<String> {
        let name = |pod: Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.cluster.pods(SYSTEM).into_iter().map(name).collect()
    }

    fn namespace(&self) -> String {
        self.cluster.namespace_with("webhook", INJECTED_NAMESPACE)
    }

    fn secret(&self) -> Value {
        self.cluster.api().get(&format!("/api/v1/namespaces/{SYSTEM}/secrets/{TLS}")).unwrap()
    }
}

fn annotated() -> Workload {
    Workload::new("app", 1).annotate("scoretap.dev/inject", "true")
}

#[test]
fn webhook_with_its_own_certificate_injects() {
    let webhook = Webhook::take();
    let namespace = webhook.namespace();
    annotated().roll_out(webhook.cluster, &namespace);
    assert!(webhook.cluster.pods(&namespace).iter().all(is_injected));
    wait_for_ports(webhook.cluster, &namespace, &[15100]);
}

#[test]
fn renewed_certificate_injects_without_a_restart() {
    let webhook = Webhook::take();
    let before = webhook.secret();
    let injectors = webhook.injectors();
    let chart = workspace::root().join("k8s/chart");
    // The certificate has one year left, which is in the last third of ten years.
    let longer = ["--set", "injector.tls.days=3650"];
    let upgrade = ["upgrade", "scoretap", chart.to_str().unwrap(), "-n", SYSTEM];
    webhook.cluster.helm(&[&upgrade[..], &longer].concat()).unwrap();
    let after = webhook.secret();
    assert_ne!(before["data"]["tls.crt"], after["data"]["tls.crt"]);
    let served = || {
        let pod = webhook.injectors()[0].clone();
        webhook.cluster.served_certificate(SYSTEM, &pod, 8443)
    };
    wait_until("the new certificate is served", DEADLINE, || {
        served().is_ok_and(|served| Some(served.as_str()) == after["data"]["tls.crt"].as_str())
    });
    assert_eq!(webhook.injectors(), injectors);
    assert!(injects(webhook.cluster, &webhook.namespace()));
}

/// Creates a pod that asks for the sidecar. Returns the API server's response time and whether the pod has one.
fn create(webhook: &Webhook, namespace: &str) -> (Duration, bool) {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "annotations": {"scoretap.dev/inject": "true"}},
        "spec": {"containers": [crate::support::app_container()]},
    });
    let start = Instant::now();
    let pod = webhook.cluster.api().create(&format!("/api/v1/namespaces/{namespace}/pods"), &pod).unwrap();
    (start.elapsed(), is_injected(&pod))
}

#[test]
fn dead_webhook_admits_pods_uninjected() {
    let webhook = Webhook::take();
    let namespace = webhook.namespace();
    let plain = Workload::new("app", 2);
    plain.roll_out(webhook.cluster, &namespace);
    wait_for_ports(webhook.cluster, &namespace, &[8080; 2]);
    webhook.scale(0);
    let callers = webhook.cluster.callers(&namespace, "app", scoretap_tests::http::Call::get("/"));
    plain.annotate("scoretap.dev/inject", "true").roll_out(webhook.cluster, &namespace);
    wait_for_ports(webhook.cluster, &namespace, &[8080; 2]);
    let seen = callers.stop();
    let (took, injected) = create(&webhook, &webhook.namespace());
    webhook.scale(2);
    assert!(!injected);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(seen.failed.is_empty() && seen.fewest_backends >= Some(2), "{seen:?}");
    wait_until("pods get the sidecar again", DEADLINE, || injects(webhook.cluster, &namespace));
}

#[test]
fn black_holed_webhook_delays_a_pod_two_seconds() {
    let webhook = Webhook::take();
    let namespace = webhook.namespace();
    for pod in webhook.injectors() {
        webhook.cluster.pause(SYSTEM, &pod, "injector");
    }
    let (took, injected) = create(&webhook, &namespace);
    for pod in webhook.injectors() {
        webhook.cluster.go_on(SYSTEM, &pod, "injector");
    }
    assert!(!injected);
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&took), "{took:?}");
    wait_until("pods get the sidecar again", DEADLINE, || injects(webhook.cluster, &namespace));
}
