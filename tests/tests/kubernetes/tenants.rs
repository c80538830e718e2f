//! Tenants: one whose pod lies about whose it is, before a real Prometheus that scrapes it as the shipped monitor says;
//! and how the next one is made.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use scoretap_tests::monitoring::{Prometheus, serve};
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{ports, workspace};
use serde_json::{Value, json};

/// What tenant-a's pod says: that it is tenant-b's.
const LIE: &str = "# TYPE prediction_requests_total counter\n\
    prediction_requests_total{namespace=\"tenant-b\",tenant=\"tenant-b\",pod=\"b-1\",job=\"b\",model_name=\"b\"} 1000\n";

/// The monitor as the operator would write it into Prometheus' configuration, with a pod of tenant-a in place of
/// discovery.
fn scrape_config(target: SocketAddr) -> Value {
    let file = workspace::root().join("k8s/monitors/operator/pod-monitor.yaml");
    let monitor: Value = serde_norway::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let (spec, endpoint) = (&monitor["spec"], &monitor["spec"]["podMetricsEndpoints"][0]);

    let mut relabelings =
        vec![json!({"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"})];
    relabelings.push(json!({"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"}));
    relabelings.extend(list(&endpoint["relabelings"]));
    json!({
        "job_name": "scoretap",
        "scrape_interval": "2s",
        "scrape_timeout": "2s",
        "honor_labels": endpoint["honorLabels"],
        "honor_timestamps": endpoint["honorTimestamps"],
        "sample_limit": spec["sampleLimit"],
        "label_limit": spec["labelLimit"],
        "label_value_length_limit": spec["labelValueLengthLimit"],
        "relabel_configs": relabelings,
        "metric_relabel_configs": list(&endpoint["metricRelabelings"]),
        "static_configs": [{"targets": [target.to_string()], "labels": {
            "__meta_kubernetes_namespace": "tenant-a",
            "__meta_kubernetes_pod_name": "a-1",
            "__meta_kubernetes_pod_node_name": "node-1",
        }}],
    })
}

/// Relabelings in Prometheus' own spelling.
fn list(relabelings: &Value) -> Vec<Value> {
    let text = relabelings
        .to_string()
        .replace("sourceLabels", "source_labels")
        .replace("targetLabel", "target_label");
    serde_json::from_str(&text).unwrap()
}

fn prometheus(folders: &Folders, target: SocketAddr) -> Prometheus {
    let config = json!({"scrape_configs": [scrape_config(target)]});
    Prometheus::with(folders, ports::free(), &config, &[]).unwrap()
}

#[test]
fn a_pod_that_calls_itself_another_tenants_is_stored_as_its_own() {
    let folders = Folders::create("tenants-spoof").unwrap();
    let prometheus = prometheus(&folders, serve(|| LIE.to_owned()).unwrap());
    wait_until("it is scraped", STARTUP, || {
        !prometheus.query("prediction_requests_total").unwrap().is_empty()
    });
    let series = prometheus.query("prediction_requests_total").unwrap();
    assert_eq!(series.len(), 1);
    let labels = &series[0]["metric"];
    for (label, value) in
        [("namespace", "tenant-a"), ("tenant", "tenant-a"), ("pod", "a-1"), ("job", "scoretap")]
    {
        assert_eq!(labels[label], value, "{labels}");
    }
    assert!(
        !labels.to_string().contains("exported_") && !labels.to_string().contains("tenant-b"),
        "{labels}"
    );
}

#[test]
fn a_pod_that_says_endlessly_much_is_not_stored_at_all() {
    let folders = Folders::create("tenants-flood").unwrap();
    let flood =
        |lines: u32| (0..lines).map(|number| format!("flood{{n=\"{number}\"}} 1\n")).collect::<String>();
    let prometheus = prometheus(&folders, serve(move || flood(100_001)).unwrap());
    wait_until("it is scraped", STARTUP, || {
        prometheus.query("up").unwrap().iter().any(|series| series["value"][1] == "0")
    });
    assert_eq!(prometheus.query("count(flood)").unwrap(), [] as [Value; 0]);
    // One less is stored: it was the limit.
    let folders = Folders::create("tenants-no-flood").unwrap();
    let prometheus = self::prometheus(&folders, serve(move || flood(100_000)).unwrap());
    wait_until("all of it is stored", STARTUP, || {
        prometheus.query("count(flood)").unwrap().iter().any(|series| series["value"][1] == "100000")
    });
}

#[test]
fn one_line_makes_the_next_tenant() {
    let folders = Folders::create("new-tenant").unwrap();
    let script = workspace::root().join("k8s/tenants/new.sh");
    let new = |name: &str| Command::new(&script).arg(name).arg(&folders.run).output().unwrap();
    assert!(new("tenant-c").status.success());
    let text = fs::read_to_string(folders.run.join("tenant-c/kustomization.yaml")).unwrap();
    let shipped =
        fs::read_to_string(workspace::root().join("k8s/tenants/tenant-a/kustomization.yaml")).unwrap();
    assert_eq!(text, shipped.replace("tenant-a", "tenant-c"));
    for refused in
        ["tenant-c", "base", "", "Tenant", "a/b", "x\ny", "-a", "a-", "a.b", "a_b", &"a".repeat(64)]
    {
        let output = new(refused);
        assert!(!output.status.success(), "{refused}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("new.sh: "), "{refused}");
    }
    for (arguments, code) in [(&[][..], 2), (&["a", "b", "c"], 2), (&["--help"], 0)] {
        let output = Command::new(&script).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("Usage: k8s/tenants/new.sh NAME [FOLDER]"), "{said}");
    }
}
