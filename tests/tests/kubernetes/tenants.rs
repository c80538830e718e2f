//! A tenant whose pod lies about whose it is, before a real Prometheus that scrapes it as the shipped monitor says.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use scoretap_tests::apps::local;
use scoretap_tests::child::Child;
use scoretap_tests::http::{self, Endpoint};
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{ports, tools, workspace};
use serde_json::{Value, json};

/// What tenant-a's pod says: that it is tenant-b's.
const LIE: &str = "# TYPE prediction_requests_total counter\n\
    prediction_requests_total{namespace=\"tenant-b\",tenant=\"tenant-b\",pod=\"b-1\",job=\"b\",model_name=\"b\"} 1000\n";

/// Serves one text to whoever asks.
fn serve(text: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{text}", text.len());
        }
    });
    address
}

/// The monitor as the operator would write it into Prometheus' configuration, with a pod of tenant-a in place of discovery.
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

fn prometheus(folders: &Folders, target: SocketAddr) -> (Child, Endpoint) {
    let config = folders.run.join("prometheus.json");
    fs::write(&config, json!({"scrape_configs": [scrape_config(target)]}).to_string()).unwrap();
    let address = local(ports::free());
    let root = tools::tools_dir().join("debian-prometheus/root");
    let mut command = Command::new(tools::prometheus().unwrap());
    command.arg(format!("--config.file={}", config.display())).arg(format!("--web.listen-address={address}"));
    command.arg(format!("--storage.tsdb.path={}", folders.run.join("tsdb").display()));
    command.arg(format!("--web.console.templates={}", root.join("etc/prometheus/consoles").display()));
    command.current_dir(root);
    let mut child = Child::spawn("Prometheus", &command, &folders.logs.join("prometheus.log")).unwrap();
    let endpoint = Endpoint::Tcp(address);
    child.wait_ready(STARTUP, || http::get(&endpoint, "/-/ready").is_ok()).unwrap();
    (child, endpoint)
}

fn query(prometheus: &Endpoint, name: &str) -> Vec<Value> {
    let answer: Value =
        serde_json::from_str(&http::get(prometheus, &format!("/api/v1/query?query={name}")).unwrap())
            .unwrap();
    answer["data"]["result"].as_array().unwrap().clone()
}

#[test]
fn a_pod_that_calls_itself_another_tenants_is_stored_as_its_own() {
    let folders = Folders::create("tenants-spoof").unwrap();
    let (_child, prometheus) = prometheus(&folders, serve(LIE.to_owned()));
    wait_until("it is scraped", STARTUP, || !query(&prometheus, "prediction_requests_total").is_empty());
    let series = query(&prometheus, "prediction_requests_total");
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
    let (_child, prometheus) = prometheus(&folders, serve(flood(50_001)));
    wait_until("it is scraped", STARTUP, || {
        query(&prometheus, "up").iter().any(|series| series["value"][1] == "0")
    });
    assert_eq!(query(&prometheus, "count(flood)"), [] as [Value; 0]);
    // One less is stored: it was the limit.
    let folders = Folders::create("tenants-no-flood").unwrap();
    let (_child, prometheus) = self::prometheus(&folders, serve(flood(50_000)));
    wait_until("all of it is stored", STARTUP, || {
        query(&prometheus, "count(flood)").iter().any(|series| series["value"][1] == "50000")
    });
}
