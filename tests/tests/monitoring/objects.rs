//! Kubernetes objects of the chart: they hold the rules and routes that the other tests judge.

use std::fs;

use scoretap_tests::rendered;
use serde_json::{Value, json};

use crate::rules;

/// Annotations that link to Grafana and to runbooks are left out while their addresses are unknown.
fn without_links(mut groups: Value) -> Value {
    for group in groups.as_array_mut().unwrap() {
        for rule in group["rules"].as_array_mut().unwrap() {
            if let Some(annotations) = rule.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.retain(|name, _| !name.ends_with("_url"));
            }
        }
    }
    groups
}

#[test]
fn prometheus_rules_hold_the_default_files() {
    let objects = rendered::objects("policy").unwrap();
    let installed: Vec<_> = objects.iter().filter(|object| object["kind"] == "PrometheusRule").collect();
    assert_eq!(installed.len(), rules::DEFAULT);
    for file in &rules::FILES[..rules::DEFAULT] {
        let name = file.trim_end_matches(".yaml").replace("scoretap", "self");
        let found = installed.iter().find(|object| object["metadata"]["name"] == format!("scoretap-{name}"));
        let found = found.unwrap_or_else(|| panic!("no PrometheusRule holds {file}"));
        assert_eq!(found["metadata"]["labels"]["release"], "kube-prometheus-stack", "{file}");
        let text = fs::read_to_string(rules::path(file)).unwrap();
        let source: Value = serde_norway::from_str(&text).unwrap();
        assert_eq!(found["spec"]["groups"], without_links(source["groups"].clone()), "{file}");
    }
}

/// The operator adds the namespace to each matcher: the tenant's route is the root.
#[test]
fn alertmanager_config_routes_as_the_plain_configuration() {
    let plain = rendered::file("plain", "scoretap-alertmanager", "alertmanager.yml").unwrap();
    let plain: Value = serde_norway::from_str(&plain).unwrap();
    for (tenant, namespace) in
        [("tenant-a", "tenant-a"), ("tenant-b", "tenant-b"), ("platform", "scoretap-system")]
    {
        let mut objects = rendered::objects("tenants").unwrap();
        objects.retain(|object| {
            object["kind"] == "AlertmanagerConfig" && object["metadata"]["namespace"] == namespace
        });
        let spec = &objects[0]["spec"];
        assert_eq!(objects.len(), 1, "{tenant}");
        for (theirs, ours) in [("groupBy", "group_by"), ("groupWait", "group_wait")] {
            assert_eq!(spec["route"][theirs], plain["route"][ours], "{tenant}");
        }
        assert_eq!(spec["route"]["receiver"], format!("{tenant}-warning"));
        let critical = json!([{"name": "severity", "value": "critical"}]);
        let routes = spec["route"]["routes"].as_array().unwrap();
        let route = routes.iter().find(|route| route["matchers"] == critical).unwrap();
        assert_eq!(route["receiver"], format!("{tenant}-critical"));
        let inhibitions = plain["inhibit_rules"].as_array().unwrap();
        assert_eq!(spec["inhibitRules"].as_array().unwrap().len(), inhibitions.len());
        for receiver in spec["receivers"].as_array().unwrap() {
            let same = |plain: &&Value| plain["name"] == receiver["name"];
            let plain = plain["receivers"].as_array().unwrap().iter().find(same).unwrap();
            let channel = |list: &Value| list[0]["channel"].clone();
            assert_eq!(channel(&receiver["slackConfigs"]), channel(&plain["slack_configs"]), "{receiver}");
        }
    }
}
