//! Every alert reaches somebody: the routes of the plain configuration and of the operator's objects, judged by amtool
//! and by a real Alertmanager.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use scoretap_tests::monitoring::{self, Alertmanager, Receiver};
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::wait_until;
use scoretap_tests::{rendered, tools, workspace};
use serde_json::{Map, Value, json};

use crate::rules::{self, FILES};
use crate::succeed;

/// The receiver of alerts that no route of the operator's matches, as kube-prometheus-stack installs it.
const DEFAULT: &str = "default";
/// The namespace of the installation in the rendered files.
const PLATFORM: &str = "scoretap-system";
const TENANTS: [&str; 2] = ["tenant-a", "tenant-b"];

/// An alert as Prometheus raises it, and the team that has to receive it.
struct Raised {
    labels: Map<String, Value>,
    team: &'static str,
}

impl Raised {
    /// `None` for alerts that dashboards alone show.
    fn severity(&self) -> Option<&str> {
        self.labels["severity"].as_str().filter(|severity| *severity != "info")
    }
}

/// Every alert, for each tenant. Each has a model of its own, so that none inhibits another.
fn all() -> Vec<Raised> {
    let mut all = Vec::new();
    for tenant in TENANTS {
        for (name, rule) in rules::alerts(&FILES) {
            let mut labels = Map::from_iter([
                ("alertname".to_owned(), json!(name)),
                ("model_name".to_owned(), json!(name)),
                ("namespace".to_owned(), json!(tenant)),
            ]);
            let own = |(key, text): (&String, &String)| {
                (key.clone(), json!(text.replace("{{ $labels.namespace }}", tenant)))
            };
            labels.extend(rule.labels.iter().map(own));
            let is_ours = rule.labels["component"] == "scoretap";
            all.push(Raised { labels, team: if is_ours { "platform" } else { tenant } });
        }
    }
    all
}

fn plain(webhook: SocketAddr) -> String {
    let text = rendered::file("plain", "scoretap-alertmanager", "alertmanager.yml").unwrap();
    monitoring::alertmanager_config(&text, webhook).unwrap()
}

/// The configuration that the prometheus-operator makes of the chart's objects: each object's route gets a matcher for
/// the object's namespace, and each receiver the object's name as a prefix.
fn of_operator(webhook: SocketAddr) -> String {
    let objects = rendered::objects("tenants").unwrap();
    let configs = objects.iter().filter(|object| object["kind"] == "AlertmanagerConfig");
    let (mut routes, mut receivers) = (Vec::new(), vec![json!({"name": DEFAULT})]);
    for config in configs {
        let (namespace, spec) = (config["metadata"]["namespace"].as_str().unwrap(), &config["spec"]);
        let name = |receiver: &Value| format!("{namespace}/scoretap/{}", receiver.as_str().unwrap());
        let matchers = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.map(|matcher| format!("{}={}", matcher["name"].as_str().unwrap(), matcher["value"]))
                .collect()
        };
        let below = spec["route"]["routes"].as_array().into_iter().flatten().map(
            |route| json!({"matchers": matchers(&route["matchers"]), "receiver": name(&route["receiver"])}),
        );
        routes.push(json!({
            "matchers": [format!("namespace={namespace:?}")],
            "receiver": name(&spec["route"]["receiver"]),
            "continue": true,
            "routes": below.collect::<Vec<_>>(),
        }));
        for receiver in spec["receivers"].as_array().unwrap() {
            let mut made = json!({"name": name(&receiver["name"])});
            if receiver.get("slackConfigs").is_some() {
                made["slack_configs"] = json!([]);
            }
            receivers.push(made);
        }
    }
    let route = json!({"receiver": DEFAULT, "group_by": ["alertname", "namespace"], "group_wait": "30s",
        "group_interval": "5m", "repeat_interval": "4h", "routes": routes});
    let text = json!({"route": route, "receivers": receivers}).to_string();
    monitoring::alertmanager_config(&text, webhook).unwrap()
}

/// The names of teams' receivers, with and without the operator.
fn receiver_of(raised: &Raised, by_operator: bool) -> String {
    let namespace = if raised.team == "platform" { PLATFORM } else { raised.team };
    let name =
        raised.severity().map_or("nowhere".to_owned(), |severity| format!("{}-{severity}", raised.team));
    if by_operator { format!("{namespace}/scoretap/{name}") } else { name }
}

#[track_caller]
fn check_routes(name: &str, config: &str, by_operator: bool) {
    let path = workspace::target().join(format!("tmp/routes-{name}.yml"));
    fs::write(&path, config).unwrap();
    let file = format!("--config.file={}", path.display());
    for raised in all() {
        let label = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap());
        let labels: Vec<_> = raised.labels.iter().map(label).collect();
        let mut command = Command::new(tools::amtool().unwrap());
        let said = succeed(command.args(["config", "routes", "test", &file]).args(&labels));
        // amtool may warn about the file behind it.
        assert_eq!(said.lines().next(), Some(receiver_of(&raised, by_operator).as_str()), "{labels:?}");
    }
}

/// Raises every alert and waits for exactly the expected messages.
#[track_caller]
fn check_messages(name: &str, config: fn(SocketAddr) -> String, by_operator: bool) {
    let folders = Folders::create(name).unwrap();
    let receiver = Receiver::start().unwrap();
    let alertmanager = Alertmanager::start(&folders, &config(receiver.address)).unwrap();
    let sent: Vec<_> = all().iter().map(|raised| json!({"labels": raised.labels})).collect();
    alertmanager.send(&json!(sent)).unwrap();
    let wanted = all().into_iter().filter(|raised| raised.severity().is_some());
    let mut wanted: Vec<_> =
        wanted.map(|raised| (receiver_of(&raised, by_operator), json!(raised.labels).to_string())).collect();
    wanted.sort();
    wanted.dedup();
    let told = || {
        let received = receiver.received();
        let told = received.iter().map(|sent| (sent.receiver.clone(), sent.alert["labels"].to_string()));
        let mut told: Vec<_> = told.collect();
        told.sort();
        told.dedup();
        told
    };
    wait_until("every alert is received", Duration::from_secs(20), || told().len() >= wanted.len());
    assert_eq!(told(), wanted);
}

fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

#[test]
fn plain_routes_send_every_alert_to_its_team() {
    check_routes("plain", &plain(nobody()), false);
}

#[test]
fn operator_routes_send_every_alert_to_its_team() {
    check_routes("operator", &of_operator(nobody()), true);
}

#[test]
fn alertmanager_sends_every_alert_to_its_team() {
    check_messages("routes-plain", plain, false);
}

#[test]
fn alertmanager_with_operator_routes_sends_every_alert() {
    check_messages("routes-operator", of_operator, true);
}
