//! Prometheus without the operator.
//!
//! Debian's build lacks Kubernetes' discovery. The test lists targets with the labels that discovery would give them;
//! everything else is the shipped file.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use scoretap_tests::{rendered, tools, workspace};
use serde_json::{Value, json};

use crate::rules::{self, FILES};
use crate::succeed;

fn config() -> Value {
    let text = rendered::file("plain", "scoretap-prometheus", "prometheus.yml").unwrap();
    serde_norway::from_str(&text).unwrap()
}

/// The shipped file with these targets in place of what each job discovers.
fn with_targets(name: &str, targets: &[Value]) -> PathBuf {
    let mut config = config();
    for job in config["scrape_configs"].as_array_mut().unwrap() {
        if let Some(discovery) = job.as_object_mut().unwrap().remove("kubernetes_sd_configs") {
            assert!(["pod", "node"].map(|role| json!([{"role": role}])).contains(&discovery), "{discovery}");
            let listed =
                targets.iter().map(|labels| json!({"targets": ["10.0.0.1:15190"], "labels": labels}));
            job["static_configs"] = listed.collect::<Vec<_>>().into();
        }
    }
    let folder = workspace::target().join("tmp/promtool");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("prometheus-{name}.json"));
    fs::write(&path, config.to_string()).unwrap();
    path
}

fn promtool(args: &[&str]) -> String {
    succeed(Command::new(tools::promtool().unwrap()).args(args))
}

/// Syntax only: the service account's files and the mounted rules exist in a cluster alone.
#[test]
fn promtool_accepts_the_configuration() {
    let path = with_targets("all", &[]);
    let said = promtool(&["check", "config", "--syntax-only", path.to_str().unwrap()]);
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn loads_the_default_rule_files() {
    let config = config();
    let loaded = config["rule_files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap());
    let loaded: Vec<_> = loaded.map(|file| file.rsplit('/').next().unwrap()).collect();
    let mut expected = FILES[..rules::DEFAULT].to_vec();
    expected.sort_unstable();
    assert_eq!(sorted(loaded.clone()), expected);
    for file in loaded {
        let installed = rendered::file("plain", "scoretap-prometheus", file).unwrap();
        let installed: Value = serde_norway::from_str(&installed).unwrap();
        let source: Value = serde_norway::from_str(&fs::read_to_string(rules::path(file)).unwrap()).unwrap();
        // One tenant has a capacity of its own.
        if file != "thresholds.yaml" {
            assert_eq!(installed, source, "{file}");
        }
    }
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names
}

/// The labels that a job gives to one pod; empty if it does not scrape the pod.
fn target(job: &str, name: &str, pod: Value) -> Value {
    let mut pod = pod;
    for (label, value) in [
        ("__meta_kubernetes_namespace", "tenant-a"),
        ("__meta_kubernetes_pod_name", "churn-1"),
        ("__meta_kubernetes_pod_node_name", "node-3"),
        ("__meta_kubernetes_pod_phase", "Running"),
        ("__meta_kubernetes_pod_ip", "10.0.0.1"),
    ] {
        let fields = pod.as_object_mut().unwrap();
        fields.entry(label).or_insert_with(|| value.into());
    }
    let path = with_targets(name, &[pod]);
    let said = promtool(&["check", "service-discovery", "--timeout=1s", path.to_str().unwrap(), job]);
    let found: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    found[0]["labels"].clone()
}

#[test]
fn annotated_pod_is_scraped_with_kubernetes_identity() {
    // All that pods measured through Istio have: the annotation is of those into which the sidecar is injected.
    let pod = json!({
        "__meta_kubernetes_pod_label_scoretap_dev_injected": "true",
        "__meta_kubernetes_pod_container_port_name": "scoretap-stats",
    });
    let labels = target("scoretap", "pod", pod.clone());
    let expected = [
        ("job", "scoretap"),
        ("namespace", "tenant-a"),
        ("tenant", "tenant-a"),
        ("pod", "churn-1"),
        ("node", "node-3"),
        ("__scrape_interval__", "15s"),
    ];
    for (label, value) in expected {
        assert_eq!(labels[label], value, "{labels}");
    }
    for (name, label, value) in [
        ("other-port", "__meta_kubernetes_pod_container_port_name", "http"),
        ("no-exporter", "__meta_kubernetes_pod_label_scoretap_dev_injected", "false"),
        ("finished", "__meta_kubernetes_pod_phase", "Succeeded"),
    ] {
        let mut pod = pod.clone();
        pod[label] = value.into();
        let labels = target("scoretap", name, pod);
        assert!(labels.get("job").is_none(), "{name} is scraped: {labels}");
    }
}

#[test]
fn annotated_mlflow_server_has_its_alerts_job() {
    let labels = target(
        "annotated",
        "mlflow",
        json!({
            "__meta_kubernetes_pod_annotation_prometheus_io_scrape": "true",
            "__meta_kubernetes_pod_annotation_prometheus_io_port": "5000",
            "__meta_kubernetes_pod_annotation_prometheus_io_path": "/stats",
            "__meta_kubernetes_pod_label_app_kubernetes_io_name": "mlflow",
        }),
    );
    let expected = [
        ("job", "mlflow"),
        ("namespace", "tenant-a"),
        ("pod", "churn-1"),
        ("__address__", "10.0.0.1:5000"),
        ("__metrics_path__", "/stats"),
        ("__scrape_interval__", "30s"),
    ];
    for (label, value) in expected {
        assert_eq!(labels[label], value, "{labels}");
    }
}

#[test]
fn no_annotated_pod_is_taken_for_an_exporter() {
    for name in ["scoretap", "scoretap-x"] {
        let pod = json!({
            "__meta_kubernetes_pod_annotation_prometheus_io_scrape": "true",
            "__meta_kubernetes_pod_label_app_kubernetes_io_name": name,
        });
        assert_eq!(target("annotated", name, pod)["job"], "annotated", "{name}");
    }
}

#[test]
fn no_pod_can_say_endlessly_much() {
    let config = config();
    let jobs = config["scrape_configs"].as_array().unwrap();
    let of_pods: Vec<_> =
        jobs.iter().filter(|job| job["kubernetes_sd_configs"] == json!([{"role": "pod"}])).collect();
    assert_eq!(of_pods.len(), 2);
    for job in of_pods {
        for limit in ["sample_limit", "label_limit"] {
            assert!(job[limit].as_u64().is_some_and(|limit| limit > 0), "{limit}: {job}");
        }
    }
}

#[test]
fn no_pod_can_pose_as_another() {
    let config = config();
    for job in config["scrape_configs"].as_array().unwrap() {
        // kube-state-metrics alone speaks of others.
        assert_eq!(job["honor_labels"] == true, job["job_name"] == "kube-state-metrics", "{job}");
    }
}
