//! Services lead to the sidecar by a named port, and back.

use serde_json::{Value, json};

use crate::cel;
use crate::policy::policy;
use crate::schema;
use crate::webhook::{WEBHOOK, applied};

fn service(annotations: &Value, spec: &Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "scorer", "annotations": annotations},
        "spec": {"selector": {"app": "scorer"}},
    });
    service["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    service
}

fn asking(spec: &Value) -> Value {
    service(&json!({"scoretap.dev/inject": "true"}), spec)
}

/// What webhook and policy make of a Service, which has to be the same.
#[track_caller]
fn changed(service: &Value) -> (Value, Vec<String>) {
    let answer = WEBHOOK.review(service);
    let mutating = policy("MutatingAdmissionPolicy", "scoretap-services");
    let by_policy = match cel::matches(&mutating, service) {
        true => applied(service, Some(&cel::patch(&mutating, service))),
        false => service.clone(),
    };
    assert_eq!(by_policy, answer.patched);
    let advising = policy("ValidatingAdmissionPolicy", "scoretap-services-advice");
    let said = if cel::matches(&advising, service) { cel::warnings(&advising, service) } else { vec![] };
    assert_eq!(said, answer.warnings);
    schema::check(&[("service".into(), answer.patched.clone())], &schema::VERSIONS);
    (answer.patched, answer.warnings)
}

#[track_caller]
fn check(service: &Value, port: usize, before: &str) {
    let (led, warnings) = changed(service);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(led["spec"]["ports"][port]["targetPort"], "scoretap-http");
    assert_eq!(led["metadata"]["annotations"]["scoretap.dev/target-port"], before);
    assert_eq!(changed(&led).0, led, "a second time changes nothing");
    let mut without = led.clone();
    without["metadata"]["annotations"].as_object_mut().unwrap().remove("scoretap.dev/inject");
    let restored = changed(&without).0;
    let mut expected = service.clone();
    expected["metadata"]["annotations"].as_object_mut().unwrap().remove("scoretap.dev/inject");
    // What the API server would have filled in.
    let ports = expected["spec"]["ports"].as_array_mut().unwrap();
    let default = ports[port]["port"].clone();
    ports[port].as_object_mut().unwrap().entry("targetPort").or_insert(default);
    assert_eq!(restored, expected, "removing the annotation removes all of it");
}

#[test]
fn a_numbered_target_port_leads_to_the_sidecar_and_back() {
    check(&asking(&json!({"ports": [{"port": 80, "targetPort": 8080}]})), 0, "8080");
}

#[test]
fn a_named_target_port_leads_to_the_sidecar_and_back() {
    check(&asking(&json!({"ports": [{"port": 80, "targetPort": "http"}]})), 0, "http");
}

#[test]
fn a_port_without_a_target_leads_to_the_sidecar_and_back() {
    check(&asking(&json!({"ports": [{"port": 8080, "protocol": "TCP"}]})), 0, "8080");
}

#[test]
fn of_several_ports_the_annotated_one_leads_to_the_sidecar() {
    let ports = json!({"ports": [
        {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
        {"name": "admin", "port": 8081, "targetPort": 8081, "protocol": "TCP"},
        {"name": "score", "port": 80, "targetPort": 8080, "protocol": "TCP"},
    ]});
    for port in ["score", "80"] {
        check(
            &service(&json!({"scoretap.dev/inject": "true", "scoretap.dev/app-port": port}), &ports),
            2,
            "8080",
        );
    }
}

#[track_caller]
fn check_refused(service: &Value, words: &str) {
    let (after, warnings) = changed(service);
    assert_eq!(&after, service);
    assert!(warnings.iter().any(|warning| warning.contains(words)), "{warnings:?}");
}

#[test]
fn a_service_whose_port_is_not_clear_stays_as_it_is_with_a_warning() {
    let two = json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]});
    check_refused(&asking(&two), "is not clear; write its name or number as scoretap.dev/app-port");
    for wrong in ["c", "99", ""] {
        let annotations = json!({"scoretap.dev/inject": "true", "scoretap.dev/app-port": wrong});
        let words = format!("scoretap.dev/app-port is \"{wrong}\"; write the name or the number of one");
        check_refused(&service(&annotations, &two), &words);
    }
}

#[test]
fn a_service_that_means_another_port_than_the_one_that_is_led_stays_as_it_is_with_a_warning() {
    let ports = json!({"ports": [
        {"name": "a", "port": 80, "targetPort": "scoretap-http"},
        {"name": "b", "port": 81, "targetPort": 8081},
    ]});
    let meaning = |port: &str| {
        let mut service =
            service(&json!({"scoretap.dev/inject": "true", "scoretap.dev/target-port": "8080"}), &ports);
        service["metadata"]["annotations"]["scoretap.dev/app-port"] = port.into();
        service
    };
    check_refused(&meaning("b"), "another of the Service's ports");
    assert_eq!(changed(&meaning("a")), (meaning("a"), vec![]));
}

#[test]
fn a_service_that_chooses_no_port_stays_as_it_is_with_a_warning() {
    check_refused(&asking(&json!({"clusterIP": "None", "ports": [{"port": 80}]})), "headless");
    check_refused(&asking(&json!({"selector": {}, "ports": [{"port": 80}]})), "selector");
    let external = json!({"type": "ExternalName", "externalName": "a.example", "ports": [{"port": 80}]});
    check_refused(&asking(&external), "external");
}

#[test]
fn a_service_that_does_not_ask_is_left_alone() {
    let spec = json!({"ports": [{"port": 80, "targetPort": "scoretap-http"}]});
    for annotations in [json!({}), json!({"scoretap.dev/inject": "false"})] {
        let by_hand = service(&annotations, &spec);
        assert_eq!(changed(&by_hand), (by_hand, vec![]));
    }
}
