//! Findings about monitoring, from Prometheus' objects to receivers of alerts. These tests have their own cluster, with
//! a real Prometheus in place of the operator's. The operator's kinds exist without their schemas.

use scoretap_tests::cluster::{Cluster, Image, Version};
use scoretap_tests::monitoring::relocated;
use scoretap_tests::stack::Folders;
use scoretap_tests::tools;
use serde_json::{Value, json};

use super::{apply, asking, define, kubectl, rolled_out, tenant};
use crate::scoretap::{finds, is_gone, mends, prints, run};

const GROUP: &str = "monitoring.coreos.com";

#[test]
fn monitoring_faults_are_found_and_mended() {
    let cluster = &Cluster::alone("check-monitoring", Version::V1_37);
    prints(cluster, &["install"], 0);
    let namespace = tenant(cluster, "measured");
    apply(cluster, &namespace, &asking());
    rolled_out(cluster, &namespace);
    operator(cluster);
    objects(cluster);
    values(cluster);
    selectors(cluster, &namespace);
    receivers(cluster, &namespace);
    answers(cluster, &namespace);
    removal(cluster, &namespace);
}

/// Adds the operator's kinds and a Prometheus object. Scoretap was installed without them.
fn operator(cluster: &Cluster) {
    finds(cluster, &[], "no-prometheus", "monitoring");
    cluster.kubectl(&["create", "namespace", "monitoring"]).unwrap();
    for kind in ["Prometheus", "PodMonitor", "ServiceMonitor", "PrometheusRule"] {
        define(cluster, GROUP, "v1", kind);
    }
    define(cluster, GROUP, "v1alpha1", "AlertmanagerConfig");
    let selector = json!({"matchLabels": {"release": "stack"}});
    let spec = json!({
        "podMonitorSelector": selector, "podMonitorNamespaceSelector": {},
        "serviceMonitorSelector": selector, "serviceMonitorNamespaceSelector": {},
        "ruleSelector": selector, "ruleNamespaceSelector": {},
    });
    let prometheus = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus",
        "metadata": {"name": "stack", "labels": {"release": "stack"}}, "spec": spec});
    apply(cluster, "monitoring", &prometheus);
    is_gone(cluster, &[], "no-prometheus");
}

/// `install` uses the existing Prometheus and the label that it selects by.
fn objects(cluster: &Cluster) {
    finds(cluster, &[], "no-rules", "prometheus/stack");
    mends(cluster, &[], "no-monitor", "prometheus/stack");
    is_gone(cluster, &[], "no-rules");
    is_gone(cluster, &[], "monitor-not-selected");
    let output = run(cluster, &["install", "--with-prometheus-stack"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("it is used and not changed"), "{said}");
    let releases = cluster.helm(&["list", "--all-namespaces", "--short"]).unwrap();
    assert_eq!(releases.trim(), "scoretap", "no second Prometheus is installed");
}

/// A file's values win over detected ones, and the next `install` keeps them.
fn values(cluster: &Cluster) {
    let folders = Folders::create("install-values").unwrap();
    let file = folders.run.join("values.yaml");
    std::fs::write(&file, "monitoring: {prometheusRelease: mine}").unwrap();
    let release = || {
        let path = "jsonpath={.metadata.labels.release}";
        cluster.kubectl(&["get", "podmonitor", "scoretap", "-n", "monitoring", "-o", path]).unwrap()
    };
    assert_eq!(release(), "stack");
    prints(cluster, &["install", "--values", file.to_str().unwrap()], 0);
    assert_eq!(release(), "mine");
    prints(cluster, &["install"], 0);
    assert_eq!(release(), "mine");
    mends(cluster, &[], "monitor-not-selected", "podmonitor/scoretap");
    prints(cluster, &["install", "--set", "monitoring.prometheusRelease=stack"], 0);
    assert_eq!(release(), "stack");
}

fn selectors(cluster: &Cluster, namespace: &str) {
    kubectl(cluster, "label podmonitors --all -n monitoring release=other --overwrite");
    mends(cluster, &[], "monitor-not-selected", "podmonitor/scoretap");
    kubectl(cluster, "label prometheusrules --all -n monitoring release=other --overwrite");
    mends(cluster, &[], "rules-not-selected", "");
    let wrong = r#"[{"op":"replace","path":"/spec/podMetricsEndpoints/0/port","value":"metrics"}]"#;
    kubectl(cluster, &format!("patch podmonitor scoretap -n monitoring --type=json -p {wrong}"));
    mends(cluster, &[namespace], "monitor-port", "podmonitor/scoretap");
    kubectl(cluster, &format!("label pods --all -n {namespace} scoretap.dev/injected-"));
    mends(cluster, &[namespace], "pod-not-selected", "");
}

fn receivers(cluster: &Cluster, namespace: &str) {
    let config = json!({"apiVersion": "monitoring.coreos.com/v1alpha1", "kind": "AlertmanagerConfig",
        "metadata": {"name": "scoretap", "labels": {"app.kubernetes.io/part-of": "scoretap"}},
        "spec": {"receivers": [{"name": "chat", "slackConfigs": [{"apiURL": {"name": "scoretap-alerts", "key": "chat-url"}}]}]}});
    apply(cluster, namespace, &config);
    mends(cluster, &[namespace], "alert-receiver", "secret/scoretap-alerts");
}

/// The configuration of a Prometheus that scrapes nothing, the pod, or another target instead.
fn config(targets: &[(&str, &str)], pod: &str, namespace: &str, rules: &str) -> Value {
    let labels = json!({"namespace": namespace, "pod": pod});
    let jobs: Vec<_> = targets
        .iter()
        .map(|(job, address)| json!({"job_name": job, "static_configs": [{"targets": [address], "labels": labels}]}))
        .collect();
    json!({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "rule_files": [rules], "scrape_configs": jobs})
}

/// A Prometheus in a pod, behind a Service with the operator's name. Each configuration needs a new pod.
fn prometheus(cluster: &Cluster, config: &Value, rules: &Value) {
    let files = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prometheus"},
        "data": {"prometheus.yml": config.to_string(), "rules.yml": rules.to_string()}});
    let labels = json!({"app": "prometheus"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "prometheus", "labels": labels},
        "spec": {"containers": [{"name": "prometheus", "image": "prometheus", "workingDir": "/image/root",
            "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data/tsdb",
                "--web.listen-address=:9090"],
            "ports": [{"name": "web", "containerPort": 9090}],
            "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/prometheus"}, {"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "config", "configMap": {"name": "prometheus"}}, {"name": "data", "emptyDir": {}}]}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "prometheus-operated"},
        "spec": {"selector": labels, "ports": [{"name": "web", "port": 9090, "targetPort": 9090}]}});
    kubectl(cluster, "delete pod prometheus -n monitoring --ignore-not-found");
    [files, pod, service].iter().for_each(|object| apply(cluster, "monitoring", object));
    kubectl(cluster, "wait pod/prometheus --for=condition=Ready --timeout=180s -n monitoring");
}

/// Debian's program, with the files that it expects below its working directory.
fn image() -> Image {
    let pages = "/usr/share/prometheus/web";
    let program = relocated(&tools::prometheus().unwrap(), pages).unwrap();
    let root = tools::tools_dir().join("debian-prometheus/root");
    Image::of(&program).file(&root.join(&pages[1..]), &format!("/image/root{pages}"))
}

fn answers(cluster: &Cluster, namespace: &str) {
    cluster.image("prometheus", image());
    let pods = cluster.pods(namespace);
    let pod = pods.iter().find(|pod| pod["status"]["phase"] == "Running").unwrap();
    let (name, ip) = (pod["metadata"]["name"].as_str().unwrap(), pod["status"]["podIP"].as_str().unwrap());
    let job = "podMonitor/monitoring/scoretap/0";
    let rules = || {
        let objects = cluster.kubectl(&["get", "prometheusrules", "-n", "monitoring", "-o", "json"]).unwrap();
        let objects: Value = serde_json::from_str(&objects).unwrap();
        let groups = objects["items"].as_array().unwrap().iter();
        json!({"groups": groups.flat_map(|rule| rule["spec"]["groups"].as_array().unwrap()).collect::<Vec<_>>()})
    };
    let none = json!({"groups": []});
    let file = "/etc/prometheus/rules.yml";

    prometheus(cluster, &config(&[], name, namespace, file), &none);
    finds(cluster, &[], "rules-not-loaded", "");
    finds(cluster, &[namespace], "no-target", name);
    assert_eq!(run(cluster, &["targets"]).status.code(), Some(1), "there is none");

    prometheus(cluster, &config(&[(job, &format!("{ip}:1"))], name, namespace, file), &rules());
    is_gone(cluster, &[], "rules-not-loaded");
    let finding = finds(cluster, &[namespace], "not-scraped", name);
    assert!(finding["why"].as_str().unwrap().contains("refused"), "{finding:#}");
    assert!(prints(cluster, &["targets"], 1).starts_with("down"));

    // Prometheus' own endpoint answers, but without Scoretap's series.
    prometheus(cluster, &config(&[(job, "127.0.0.1:9090")], name, namespace, file), &rules());
    finds(cluster, &[namespace], "reads-nothing", name);

    prometheus(cluster, &config(&[(job, &format!("{ip}:15190"))], name, namespace, file), &rules());
    is_gone(cluster, &[namespace], "reads-nothing");
    finds(cluster, &[], "alert-without-data", "");
    assert!(prints(cluster, &["targets"], 0).starts_with("up"));
    let shown = prints(cluster, &["top", "-n", namespace, "--once", "--from", "prometheus"], 0);
    assert!(shown.contains("from Prometheus monitoring/stack"), "{shown}");
}

/// `uninstall` removes the release's monitors and rules, but no other objects, even with the same labels.
fn removal(cluster: &Cluster, namespace: &str) {
    prints(cluster, &["uninstall", "--yes"], 0);
    for kind in ["podmonitors", "prometheusrules", "mutatingadmissionpolicies"] {
        let left =
            cluster.kubectl(&["get", kind, "-A", "-l", "app.kubernetes.io/part-of=scoretap", "-o", "name"]);
        assert_eq!(left.unwrap(), "", "{kind}");
    }
    kubectl(cluster, "get prometheus stack -n monitoring");
    kubectl(cluster, &format!("get alertmanagerconfig scoretap -n {namespace}"));
    kubectl(cluster, &format!("get secret scoretap-alerts -n {namespace}"));
}
