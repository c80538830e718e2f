//! Kubernetes objects made of the plain files: PrometheusRule, AlertmanagerConfig, ConfigMaps of dashboards. They are
//! in the repository so that `kubectl apply` needs no tool of ours, and are written here alone:
//! `UPDATE_K8S=1 cargo test -p scoretap-tests --test monitoring`.

use std::fs;

use serde_norway::{Mapping, Value};

use crate::{k8s, rules};

const HEAD: &str = "# Made of SOURCE by UPDATE_K8S=1 cargo test -p scoretap-tests --test monitoring\n";

/// The file is what its source makes, or is written anew.
#[track_caller]
pub(crate) fn check(path: &str, source: &str, body: &str) {
    check_whole(path, source, &format!("{}{body}", HEAD.replace("SOURCE", source)));
}

/// The same of a file that says by itself what it was made of.
#[track_caller]
pub(crate) fn check_whole(path: &str, source: &str, expected: &str) {
    if std::env::var_os("UPDATE_K8S").is_some() {
        fs::create_dir_all(k8s(path).parent().unwrap()).unwrap();
        return fs::write(k8s(path), expected).unwrap();
    }
    let found = fs::read_to_string(k8s(path)).unwrap_or_default();
    assert!(found == expected, "k8s/{path} is not what {source} makes: UPDATE_K8S=1 writes it anew");
}

/// The text, comments included, deeper by `by` spaces.
pub(crate) fn indented(text: &str, by: usize) -> String {
    let deeper = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{:by$}{line}\n", "") };
    text.lines().map(deeper).collect()
}

#[test]
fn prometheus_rules_are_the_rule_files() {
    for file in rules::FILES {
        let name = file.trim_end_matches(".yaml");
        let body = format!(
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: scoretap-{name}\n  \
             labels:\n    app.kubernetes.io/part-of: scoretap\n    # kube-prometheus-stack selects by this: its release.\n    \
             release: kube-prometheus-stack\nspec:\n{}",
            indented(&fs::read_to_string(rules::path(file)).unwrap(), 2)
        );
        serde_norway::from_str::<Value>(&body).unwrap();
        check(&format!("rules/operator/{file}"), &format!("k8s/rules/{file}"), &body);
    }
}

#[test]
fn alertmanager_configs_are_the_tenants_routes() {
    let text = fs::read_to_string(k8s("alertmanager/alertmanager.yml")).unwrap();
    let config: Value = serde_norway::from_str(&text).unwrap();
    let routes = config["route"]["routes"].as_sequence().unwrap();
    let tenants = routes.iter().filter_map(|route| Some((tenant_of(route)?, route)));
    let mut count = 0;
    for (tenant, route) in tenants {
        let object = alertmanager_config(&config, tenant, route);
        let path = format!("alertmanager/operator/{tenant}.yaml");
        check(&path, "k8s/alertmanager/alertmanager.yml", &serde_norway::to_string(&object).unwrap());
        count += 1;
    }
    assert_eq!(count, 2);
}

fn tenant_of(route: &Value) -> Option<&str> {
    route["matchers"][0].as_str()?.strip_prefix("tenant=\"")?.strip_suffix('"')
}

/// The operator adds the namespace to each matcher by itself: the tenant's route becomes the root.
fn alertmanager_config(config: &Value, tenant: &str, route: &Value) -> Value {
    let root = &config["route"];
    let critical = &route["routes"][0];
    let names = [&route["receiver"], &critical["receiver"], &Value::from("nowhere")];
    let all = config["receivers"].as_sequence().unwrap();
    let receivers = all.iter().filter(|receiver| names.contains(&&receiver["name"])).map(receiver);
    let routes = root["routes"].as_sequence().unwrap();
    let nowhere = |route: &Value| (route["matchers"].clone(), "nowhere".into());
    // What is not for tenants at all: info, and Scoretap's own faults, which the platform's team hears of.
    let silent = routes.iter().take_while(|route| tenant_of(route).is_none()).map(nowhere);
    let own = silent.chain([(critical["matchers"].clone(), critical["receiver"].clone())]);
    let own = own.map(|(list, receiver)| mapping([("matchers", matchers(&list)), ("receiver", receiver)]));
    let inhibit = config["inhibit_rules"].as_sequence().unwrap().iter().map(|rule| {
        mapping([
            ("sourceMatch", matchers(&rule["source_matchers"])),
            ("targetMatch", matchers(&rule["target_matchers"])),
            ("equal", rule["equal"].clone()),
        ])
    });
    let spec = mapping([
        (
            "route",
            mapping([
                ("receiver", route["receiver"].clone()),
                ("groupBy", root["group_by"].clone()),
                ("groupWait", root["group_wait"].clone()),
                ("groupInterval", root["group_interval"].clone()),
                ("repeatInterval", root["repeat_interval"].clone()),
                ("routes", own.collect::<Vec<_>>().into()),
            ]),
        ),
        ("inhibitRules", inhibit.collect::<Vec<_>>().into()),
        ("receivers", receivers.collect::<Vec<_>>().into()),
    ]);
    mapping([
        ("apiVersion", "monitoring.coreos.com/v1alpha1".into()),
        ("kind", "AlertmanagerConfig".into()),
        ("metadata", mapping([("name", "scoretap".into()), ("namespace", tenant.into())])),
        ("spec", spec),
    ])
}

/// `name="value"` and `name=~"value"` as the object spells them.
fn matchers(list: &Value) -> Value {
    let matcher = |text: &Value| {
        let (name, value) = text.as_str().unwrap().split_once('=').unwrap();
        // Equality is the default; a bare = in YAML is not a string to everybody.
        let (kind, value) = value.strip_prefix('~').map_or((None, value), |value| (Some("=~"), value));
        let kind = kind.map(|kind| ("matchType", kind.into()));
        let value = ("value", value.trim_matches('"').into());
        mapping([("name", name.into())].into_iter().chain(kind).chain([value]))
    };
    list.as_sequence().unwrap().iter().map(matcher).collect::<Vec<_>>().into()
}

fn receiver(receiver: &Value) -> Value {
    let mut object = mapping([("name", receiver["name"].clone())]);
    for (plain, key) in [("pagerduty_configs", "pagerdutyConfigs"), ("slack_configs", "slackConfigs")] {
        if let Some(configs) = receiver[plain].as_sequence() {
            object[key] = configs.iter().map(channel).collect::<Vec<_>>().into();
        }
    }
    object
}

/// A file of a secret becomes the key of the Secret `scoretap-alerts` in the tenant's namespace.
fn channel(config: &Value) -> Value {
    let fields = config.as_mapping().unwrap().iter().map(|(name, value)| {
        let secret = |file: &Value| {
            let (_, key) = file.as_str().unwrap().rsplit_once('/').unwrap();
            mapping([("name", "scoretap-alerts".into()), ("key", key.into())])
        };
        match name.as_str().unwrap() {
            "routing_key_file" => ("routingKey", secret(value)),
            "api_url_file" => ("apiURL", secret(value)),
            "send_resolved" => ("sendResolved", value.clone()),
            same @ ("channel" | "title" | "text") => (same, value.clone()),
            other => panic!("{other}: say how AlertmanagerConfig spells it"),
        }
    });
    mapping(fields.collect::<Vec<_>>())
}

pub(crate) fn mapping<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Mapping(fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Mapping>())
}

#[test]
fn what_is_applied_by_default_is_there_and_leaves_out_what_is_off() {
    let resources = |folder: &str| {
        let text = fs::read_to_string(k8s(folder).join("kustomization.yaml")).unwrap();
        let kustomization: Value = serde_norway::from_str(&text).unwrap();
        let names = kustomization["resources"].as_sequence().unwrap().clone();
        let names: Vec<String> = names.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        assert!(names.iter().all(|name| k8s(folder).join(name).is_file()), "{folder}: {names:?}");
        names
    };
    assert_eq!(resources("rules/operator"), rules::FILES[..5]);
    assert_eq!(resources("dashboards/configmaps").len(), 2);
    assert_eq!(resources("alertmanager/operator").len(), 2);
}
