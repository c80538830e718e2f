//! Routes of alerts, judged by amtool and by a real Alertmanager.

use std::process::Command;
use std::time::Duration;

use scoretap_tests::monitoring::Alertmanager;
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::wait_until;
use scoretap_tests::{rendered, tools, workspace};
use serde_json::{Value, json};

use crate::succeed;

fn amtool(args: &[&str]) -> String {
    succeed(Command::new(tools::amtool().unwrap()).args(args))
}

fn config() -> String {
    rendered::file("plain", "scoretap-alertmanager", "alertmanager.yml").unwrap()
}

/// The configuration as a file, for amtool.
fn config_file(test: &str) -> String {
    let path = workspace::target().join(format!("tmp/alertmanager-{test}.yml"));
    std::fs::write(&path, config()).unwrap();
    path.display().to_string()
}

#[test]
fn amtool_accepts_the_configuration() {
    amtool(&["check-config", &config_file("check")]);
}

#[track_caller]
fn check(labels: &[&str], receiver: &str) {
    let file = format!("--config.file={}", config_file(&labels.join("-").replace(['=', ' '], "-")));
    let found = amtool(&[&["config", "routes", "test", &file], labels].concat());
    // Behind it may stand a warning that the file was used.
    assert_eq!(found.lines().next(), Some(receiver), "{labels:?}");
}

/// `routes.rs` checks the alerts of tenants.
#[test]
fn platform_receives_alerts_of_other_namespaces() {
    for component in ["component=inference", "component=kubernetes", "component=scoretap"] {
        check(&[component, "tenant=other", "severity=critical"], "platform-critical");
        check(&[component, "tenant=other", "severity=warning"], "platform-warning");
        check(&[component, "tenant=other", "severity=info"], "nowhere");
    }
}

fn alert(name: &str, model: &str) -> Value {
    json!({"labels": {"alertname": name, "namespace": "tenant-a", "model_name": model, "tenant": "tenant-a"}})
}

/// The alerts that wait for another to end, by name and model.
fn inhibited(alertmanager: &Alertmanager) -> Vec<(String, String)> {
    let alerts = alertmanager.alerts().unwrap();
    let silent = alerts.iter().filter(|alert| alert["status"]["inhibitedBy"] != json!([]));
    let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap().to_owned();
    let mut names: Vec<_> =
        silent.map(|alert| (label(alert, "alertname"), label(alert, "model_name"))).collect();
    names.sort();
    names
}

#[test]
fn down_pod_inhibits_only_its_models_latency() {
    let folders = Folders::create("inhibition").unwrap();
    let text = config();
    let alertmanager = Alertmanager::start(&folders, &text).unwrap();
    let sent = [
        alert("ScoretapPodNotReady", "churn"),
        alert("ScoretapHighLatency", "churn"),
        alert("ScoretapHighErrorRatio", "churn"),
        alert("ScoretapHighLatency", "fraud"),
    ];
    alertmanager.send(&json!(sent)).unwrap();
    let expected = [("ScoretapHighLatency".to_owned(), "churn".to_owned())];
    let silenced = || inhibited(&alertmanager) == expected;
    wait_until("it is inhibited, and no other", Duration::from_secs(10), silenced);
}
