//! What a real Prometheus answers that has the shipped rules and scrapes the pod of `answers/pod.json`: what the
//! exporter says before the first call, and what Kubernetes' own exporters would.

use std::fs;
use std::net::SocketAddr;
use std::sync::LazyLock;

use scoretap_tests::http::{self, Endpoint};
use scoretap_tests::monitoring::{Prometheus, serve};
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{ports, workspace};
use serde_json::{Value, json};

pub(crate) const TARGETS: &str = "/api/v1/targets?state=active";
pub(crate) const RULES: &str = "/api/v1/rules";
pub(crate) const UP: &str = "/api/v1/query?query=%7B__name__%3D~%22scoretap_up%7Cscoretap_config_valid%22%7D";
/// What the doctor asks about what the alerts rest on goes on with all their names.
pub(crate) const METRICS: &str = "/api/v1/query?query=count";
const EVERY_METRIC: &str = "/api/v1/query?query=count%20by%20(__name__)%20(%7B__name__%3D~%22.%2B%22%7D)";

/// A series of each of Kubernetes' metrics that the alerts rest on and that every cluster has.
const KUBERNETES: &str = r#"kube_pod_status_phase{namespace="tenant-a",pod="p",phase="Running"} 1
kube_pod_status_ready{namespace="tenant-a",pod="p",condition="true"} 1
kube_pod_container_status_restarts_total{namespace="tenant-a",pod="p",container="c"} 0
kube_deployment_status_replicas_available{namespace="tenant-a",deployment="d"} 1
kube_deployment_spec_replicas{namespace="tenant-a",deployment="d"} 1
container_cpu_usage_seconds_total{namespace="tenant-a",pod="p",container="c"} 1
container_memory_working_set_bytes{namespace="tenant-a",pod="p",container="c"} 1
"#;

/// By path, what is answered.
pub(crate) static ANSWERS: LazyLock<[(&'static str, Value); 4]> = LazyLock::new(|| {
    let folders = Folders::create("operate-prometheus").unwrap();
    let exposition = workspace::root().join("exporter/tests/golden/no_calls.txt");
    let scoretap = serve(move || fs::read_to_string(&exposition).unwrap()).unwrap();
    let kubernetes = serve(|| KUBERNETES.to_owned()).unwrap();
    let pod =
        json!({"namespace": "tenant-a", "pod": "scorer-6c9f7d5b84-x2lqp", "endpoint": "scoretap-stats"});
    let job = |name: &str, address: SocketAddr, labels: Value| {
        json!({"job_name": name, "honor_labels": labels.is_null(),
            "static_configs": [{"targets": [address.to_string()], "labels": labels}]})
    };
    let rules = ["recording", "slo", "calls", "kubernetes", "scoretap"];
    let rules = rules.map(|name| workspace::root().join(format!("k8s/rules/{name}.yaml")));
    let config = json!({
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "rule_files": rules,
        "scrape_configs": [
            job("podMonitor/monitoring/scoretap/0", scoretap, pod),
            job("serviceMonitor/monitoring/kube-state-metrics/0", kubernetes, Value::Null),
        ],
    });
    let prometheus = Prometheus::with(&folders, ports::free(), &config, &[]).unwrap();
    wait_until("both are scraped", STARTUP, || {
        ["scoretap_up", "kube_pod_status_phase"]
            .iter()
            .all(|name| !prometheus.query(name).unwrap().is_empty())
    });
    let endpoint = Endpoint::Tcp(prometheus.address);
    let ask = |path| serde_json::from_str(&http::get(&endpoint, path).unwrap()).unwrap();
    [(TARGETS, ask(TARGETS)), (RULES, ask(RULES)), (UP, ask(UP)), (METRICS, ask(EVERY_METRIC))]
});
