//! A tenant's pod that exports false labels and reserved names, scraped by a real Prometheus as the shipped monitor
//! says.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use scoretap_tests::http::{self, Endpoint};
use scoretap_tests::monitoring::{self, Prometheus, serve};
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{ports, rendered, workspace};
use serde_json::{Value, json};

use crate::metrics::{OF_OTHERS, all, exported};

/// The page of tenant-a's pod, which claims to be tenant-b's.
const LIE: &str = "# TYPE prediction_requests_total counter\n\
    prediction_requests_total{namespace=\"tenant-b\",tenant=\"tenant-b\",pod=\"b-1\",job=\"b\",model_name=\"b\"} 1000\n";

fn yaml(file: &str) -> Value {
    serde_norway::from_str(&fs::read_to_string(workspace::root().join(file)).unwrap()).unwrap()
}

/// The monitor as the operator would write it into Prometheus' configuration, with a pod of tenant-a in place of
/// discovery.
fn scrape_config(target: SocketAddr) -> Value {
    let monitor = rendered::object("policy", "PodMonitor", "scoretap").unwrap();
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
fn spoofed_tenant_labels_are_overwritten() {
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

/// The rules that are on by default, at shortened windows, and every name that they record.
fn rules(folders: &Folders) -> (Vec<String>, Vec<String>) {
    let (mut files, mut recorded) = (Vec::new(), Vec::new());
    for name in ["thresholds", "recording", "slo", "calls", "kubernetes", "scoretap"] {
        let shipped = format!("k8s/chart/files/rules/{name}.yaml");
        all(&yaml(&shipped), "record", &mut recorded);
        let short = folders.run.join(format!("{name}.yaml"));
        let text = fs::read_to_string(workspace::root().join(shipped)).unwrap();
        fs::write(&short, monitoring::rules(&text).unwrap()).unwrap();
        files.push(short.display().to_string());
    }
    (files, recorded)
}

/// All shipped jobs that scrape pods: the monitor's, and those of a Prometheus without the operator.
fn every_job(target: SocketAddr) -> Vec<Value> {
    let mut jobs = vec![scrape_config(target)];
    let plain = rendered::file("plain", "scoretap-prometheus", "prometheus.yml").unwrap();
    let configs = [
        ("plain", serde_norway::from_str(&plain).unwrap()),
        ("compose", yaml("examples/compose/prometheus.yml")),
    ];
    for (file, config) in configs {
        for job in config["scrape_configs"].as_array().unwrap() {
            if ["scoretap", "annotated"].iter().any(|of_pods| job["job_name"] == *of_pods) {
                let mut config = scrape_config(target);
                config["job_name"] = format!("{} of {file}", job["job_name"].as_str().unwrap()).into();
                config["metric_relabel_configs"] = job["metric_relabel_configs"].clone();
                jobs.push(config);
            }
        }
    }
    assert_eq!(jobs.len(), 4);
    jobs
}

/// A duplicate series would make a rule fail for all tenants.
#[test]
fn reserved_series_from_a_pod_are_dropped() {
    let folders = Folders::create("tenants-poses").unwrap();
    let (files, recorded) = rules(&folders);
    let own = exported();
    let lies = recorded.iter().map(String::as_str).chain(OF_OTHERS).chain(["ALERTS_FOR_STATE"]);
    let names: Vec<String> = lies.map(str::to_owned).chain(own.clone()).collect();
    let labels = r#"namespace="tenant-b",model_name="m",route="score",status="success",error_type="timeout",le="1.0",
        slo="availability",deployment="d",condition="true",container="c""#;
    let labels = labels.replace("\n        ", "");
    let mut scrapes = 0;
    let liar = serve(move || {
        scrapes += 1;
        names.iter().map(|name| format!("{name}{{{labels}}} {scrapes}\n")).collect()
    });
    let jobs = every_job(liar.unwrap());
    let config = json!({
        "global": {"evaluation_interval": "500ms"},
        "rule_files": files,
        "scrape_configs": jobs,
    });
    let prometheus = Prometheus::with(&folders, ports::free(), &config, &[]).unwrap();
    wait_until("budgets are looked at", STARTUP, || {
        !prometheus.query("namespace_model:slo_burn_rate:5m{slo=\"availability\"}").unwrap().is_empty()
    });
    for job in &jobs {
        let job = job["job_name"].as_str().unwrap();
        let stored = prometheus.query(&format!("count by (__name__) ({{job=\"{job}\"}})")).unwrap();
        let stored = stored.iter().map(|series| series["metric"]["__name__"].as_str().unwrap().to_owned());
        // Prometheus adds its own series about each scrape.
        let own_words = |name: &str| name == "up" || name.starts_with("scrape_");
        let stored: BTreeSet<_> = stored.filter(|name| !own_words(name)).collect();
        assert_eq!(stored, own, "{job}");
    }
    assert_eq!(prometheus.query("{__name__=~\"up|scrape_.+\",deployment!=\"\"}").unwrap(), [] as [Value; 0]);
    let answer = http::get(&Endpoint::Tcp(prometheus.address), "/api/v1/rules").unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let groups = answer["data"]["groups"].as_array().unwrap().iter();
    for rule in groups.flat_map(|group| group["rules"].as_array().unwrap()) {
        assert_eq!(rule["health"], "ok", "{}: {}", rule["name"], rule["lastError"]);
    }
}

#[test]
fn scrape_above_the_sample_limit_is_rejected() {
    let folders = Folders::create("tenants-flood").unwrap();
    let flood =
        |lines: u32| (0..lines).map(|number| format!("flood{{n=\"{number}\"}} 1\n")).collect::<String>();
    let prometheus = prometheus(&folders, serve(move || flood(125_001)).unwrap());
    wait_until("it is scraped", STARTUP, || {
        prometheus.query("up").unwrap().iter().any(|series| series["value"][1] == "0")
    });
    assert_eq!(prometheus.query("count(flood)").unwrap(), [] as [Value; 0]);
    // A page with one sample less is stored, so the limit was the cause.
    let folders = Folders::create("tenants-no-flood").unwrap();
    let prometheus = self::prometheus(&folders, serve(move || flood(125_000)).unwrap());
    wait_until("all of it is stored", STARTUP, || {
        prometheus.query("count(flood)").unwrap().iter().any(|series| series["value"][1] == "125000")
    });
}

/// The labels are those of a pod that the operator made.
#[test]
fn prometheus_can_be_kept_from_tenants() {
    let spec = rendered::object("tenants", "NetworkPolicy", "scoretap-readers").unwrap()["spec"].take();
    let pod = json!({"app.kubernetes.io/managed-by": "prometheus-operator", "app.kubernetes.io/name": "prometheus"});
    let selector = &spec["podSelector"]["matchExpressions"][0];
    let label = &pod[selector["key"].as_str().unwrap()];
    assert!(selector["operator"] == "In" && selector["values"].as_array().unwrap().contains(label), "{pod}");
    let own = json!({"podSelector": {}});
    let system =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}});
    assert_eq!(spec["policyTypes"], json!(["Ingress"]));
    assert_eq!(spec["ingress"], json!([{"from": [own, system]}]));
}
