//! prometheus-operator writes a configuration from the chart's objects, and a real Prometheus runs it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::{fs, iter};

use scoretap_tests::child::Child;
use scoretap_tests::cluster::{ADMIN_TOKEN, Cluster, Version};
use scoretap_tests::http::{self, Call, Endpoint};
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{ports, tools};
use serde_json::{Value, json};

use crate::support::{DEADLINE, INJECTED_NAMESPACE, Workload, install};

/// A Prometheus with kube-prometheus-stack's selectors, and its access to the API server.
fn prometheus_object(cluster: &Cluster) -> Value {
    let selected = json!({"matchLabels": {"release": "kube-prometheus-stack"}});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": ADMIN_TOKEN}},
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "Prometheus",
            "metadata": {"name": "tests"},
            "spec": {
                "podMonitorSelector": selected, "podMonitorNamespaceSelector": {},
                "serviceMonitorSelector": selected, "serviceMonitorNamespaceSelector": {},
                "ruleSelector": selected, "ruleNamespaceSelector": {},
                "apiserverConfig": {
                    "host": cluster.server(),
                    "authorization": {"credentials": {"name": "token", "key": "token"}},
                    "tlsConfig": {"insecureSkipVerify": true},
                },
            },
        },
    ]})
}

struct Monitoring {
    cluster: Cluster,
    address: SocketAddr,
    _processes: Vec<Child>,
}

/// Started once, because the operator has to see all objects before Prometheus starts.
static MONITORING: LazyLock<Monitoring> = LazyLock::new(|| {
    let cluster = Cluster::alone("operator", Version::V1_37);
    let definitions =
        tools::cluster_sources("prometheus-operator").unwrap().join("example/prometheus-operator-crd");
    cluster.kubectl(&["create", "-f", definitions.to_str().unwrap()]).unwrap();
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
    cluster.kubectl(&["create", "namespace", "monitoring"]).unwrap();
    let operator = start_operator(&cluster);
    install(&cluster, &["--set", "mode=policy"]);
    let object = prometheus_object(&cluster).to_string();
    cluster.kubectl_stdin(&["apply", "-n", "monitoring", "-f", "-"], &object).unwrap();
    let config = configuration(&cluster);
    let (address, prometheus) = start_prometheus(&cluster, &config);
    Monitoring { cluster, address, _processes: vec![prometheus, operator] }
});

fn start_operator(cluster: &Cluster) -> Child {
    let mut command = Command::new(tools::cluster_program("prometheus-operator").unwrap());
    command.args(["--web.listen-address", &format!("127.0.0.1:{}", ports::free())]);
    // The operator only writes this image name, because the test runs Prometheus as a process.
    command.args(["--prometheus-config-reloader", "example.com/reloader:1"]);
    cluster.spawn("prometheus-operator", command).unwrap()
}

/// The operator's configuration for the Prometheus, with all rules, as files for a process. Only times are shorter.
fn configuration(cluster: &Cluster) -> PathBuf {
    let folder = cluster.folder("prometheus").unwrap();
    let wanted = |text: &str| text.contains("podMonitor/monitoring/scoretap/0");
    let mut text = String::new();
    wait_until("the operator has written the configuration", DEADLINE, || {
        text = unpacked(cluster, &folder);
        wanted(&text)
    });
    let rules = rules(cluster, &folder);
    let text =
        text.replace("$(SHARD)", "0").replace("/etc/prometheus/rules/prometheus-tests-rulefiles-0", &rules);
    fs::write(folder.join("prometheus.yaml"), shorter(&text)).unwrap();
    folder.join("prometheus.yaml")
}

fn unpacked(cluster: &Cluster, folder: &Path) -> String {
    let path = "jsonpath={.data.prometheus\\.yaml\\.gz}";
    let secret = cluster.kubectl(&["get", "secret", "prometheus-tests", "-n", "monitoring", "-o", path]);
    let packed = folder.join("packed");
    fs::write(&packed, secret.unwrap_or_default()).unwrap();
    let unpack = format!("base64 --decode {} | gzip --decompress", packed.display());
    let output = Command::new("sh").args(["-c", &unpack]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Writes the rules that the operator collected and returns the folder.
fn rules(cluster: &Cluster, folder: &Path) -> String {
    let folder = folder.join("rules");
    fs::create_dir_all(&folder).unwrap();
    let mut map = Value::Null;
    wait_until("the operator has collected the rules", DEADLINE, || {
        let path = "/api/v1/namespaces/monitoring/configmaps/prometheus-tests-rulefiles-0";
        map = cluster.api().get(path).unwrap_or_default();
        map["data"].as_object().is_some_and(|files| !files.is_empty())
    });
    for (file, text) in map["data"].as_object().unwrap() {
        fs::write(folder.join(file), shorter(text.as_str().unwrap())).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

/// Shortens intervals and timeouts, so that the test takes seconds.
fn shorter(text: &str) -> String {
    let times = [
        ("interval: 30s", "interval: 1s"),
        ("interval: 1m", "interval: 1s"),
        ("interval: 5m", "interval: 1s"),
        ("timeout: 10s", "timeout: 1s"),
    ];
    times.iter().fold(text.to_owned(), |text, (long, short)| text.replace(long, short))
}

fn start_prometheus(cluster: &Cluster, config: &Path) -> (SocketAddr, Child) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
    let mut command = Command::new(tools::cluster_program("prometheus").unwrap());
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", config.with_file_name("data").display()));
    command.arg(format!("--web.listen-address={address}"));
    let mut child = cluster.spawn("prometheus", command).unwrap();
    child.wait_ready(STARTUP, || http::get(&Endpoint::Tcp(address), "/-/ready").is_ok()).unwrap();
    (address, child)
}

impl Monitoring {
    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&http::get(&Endpoint::Tcp(self.address), path).unwrap()).unwrap()
    }

    /// The labels of the series that an expression returns.
    fn query(&self, expr: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/query?query={}", http::percent_encode(expr)));
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        series.into_iter().map(|mut one| one["metric"].take()).collect()
    }
}

#[test]
fn prometheus_scrapes_injected_pods_of_every_namespace() {
    let monitoring = &*MONITORING;
    let namespaces =
        ["tenant-a", "tenant-b"].map(|name| monitoring.cluster.namespace_with(name, INJECTED_NAMESPACE));
    for namespace in &namespaces {
        let workload = Workload::new("app", 2).annotate("scoretap.dev/inject", "true");
        workload.roll_out(&monitoring.cluster, namespace);
        let call = || monitoring.cluster.call(namespace, "app", Call::post("/score", "{}"));
        wait_until("calls are answered", DEADLINE, || call().is_ok_and(|answer| answer.status == 200));
        let counted = format!(
            "sum by (tenant, namespace) (prediction_requests_total{{namespace=\"{namespace}\"}}) > 0"
        );
        wait_until("Prometheus has the calls", DEADLINE, || {
            monitoring.query(&counted) == [json!({"tenant": namespace, "namespace": namespace})]
        });
        let up = format!("up{{job=\"monitoring/scoretap\", namespace=\"{namespace}\"}} == 1");
        wait_until("both pods are scraped", DEADLINE, || monitoring.query(&up).len() == 2);
    }
}

#[test]
fn tenant_label_is_the_namespace_whatever_pods_export() {
    let monitoring = &*MONITORING;
    let namespace = monitoring.cluster.namespace("impostor");
    let labels = "tenant=\"tenant-a\",namespace=\"tenant-a\",pod=\"other\",route=\"score\"";
    let lines = [
        format!("prediction_requests_total{{{labels}}} 7"),
        format!("ALERTS{{alertname=\"Fake\",{labels}}} 1"),
        "scoretap_error_ratio_limit 1\n".to_owned(),
    ];
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "impostor", "labels": {"scoretap.dev/injected": "true"}},
        "spec": {"containers": [{
            "name": "app",
            "image": "app",
            "env": [{"name": "METRICS", "value": lines.join("\n")}],
            "ports": [{"name": "scoretap-stats", "containerPort": 8080}],
        }]},
    });
    monitoring.cluster.kubectl_stdin(&["apply", "-n", &namespace, "-f", "-"], &pod.to_string()).unwrap();
    let mut series = Vec::new();
    wait_until("Prometheus has the impostor's series", DEADLINE, || {
        series = monitoring.query("prediction_requests_total{pod=\"impostor\"}");
        !series.is_empty()
    });
    for label in ["tenant", "namespace"] {
        assert_eq!(series[0][label], namespace, "{series:?}");
    }
    assert!(series[0].as_object().unwrap().keys().all(|label| !label.starts_with("exported_")), "{series:?}");
    assert!(monitoring.query("{pod=\"impostor\", __name__=~\"ALERTS|scoretap_.*\"}").is_empty());
    assert!(monitoring.query("prediction_requests_total{pod=\"other\"}").is_empty());
}

#[test]
fn prometheus_evaluates_every_shipped_rule() {
    let monitoring = &*MONITORING;
    let rules = || {
        let groups =
            monitoring.get("/api/v1/rules")["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    wait_until("every rule was evaluated", DEADLINE, || {
        let rules = rules();
        !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown")
    });
    let rules = rules();
    let unhealthy: Vec<&Value> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
    assert!(unhealthy.is_empty(), "{unhealthy:#?}");
    assert!(rules.len() >= shipped(&monitoring.cluster), "{}", rules.len());
}

/// The number of rules that the chart installed.
fn shipped(cluster: &Cluster) -> usize {
    let objects = cluster.api().list("/apis/monitoring.coreos.com/v1/prometheusrules").unwrap();
    let groups = objects.iter().flat_map(|object| object["spec"]["groups"].as_array().into_iter().flatten());
    let count = groups.flat_map(|group| iter::once(group["rules"].as_array().map_or(0, Vec::len))).sum();
    assert!(count > 20, "{count}");
    count
}
