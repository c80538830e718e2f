//! A real API server accepts every object of the chart and drops no field.

use std::fs;

use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{rendered, workspace};
use serde_json::{Value, json};

use crate::chart::{CLUSTER, turn};

/// The API server's response to these objects. It does not store them.
fn dry_run(objects: &[Value]) -> Result<String, String> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let args = ["create", "--dry-run=server", "--validate=strict", "-f", "-", "-o", "name"];
    CLUSTER.kubectl_stdin(&args, &list.to_string()).map_err(|error| format!("{error:#}"))
}

#[test]
fn every_rendered_case_is_accepted() {
    let _turn = turn();
    for case in rendered::CASES {
        let objects = rendered::objects(case).unwrap();
        let accepted = dry_run(&objects).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(accepted.lines().count(), objects.len(), "{case}: {accepted}");
    }
}

const STEERING: [&str; 4] = ["keda.yaml", "hpa.yaml", "argo-rollouts.yaml", "flagger.yaml"];

fn steering() -> Vec<Value> {
    let folder = workspace::root().join("examples/steering");
    let read = |file| rendered::documents(&fs::read_to_string(folder.join(file)).unwrap()).unwrap();
    STEERING.into_iter().flat_map(read).collect()
}

#[test]
fn objects_that_steer_are_accepted() {
    let _turn = turn();
    let objects = steering();
    let accepted = dry_run(&objects).unwrap();
    assert_eq!(accepted.lines().count(), objects.len(), "{accepted}");
}

/// Strict validation reaches each of our kinds, so the tests above would notice a misspelled field.
#[test]
fn misspelled_field_is_rejected_in_every_kind() {
    let _turn = turn();
    let mut kinds = Vec::new();
    let rendered = rendered::CASES.iter().flat_map(|case| rendered::objects(case).unwrap());
    for mut object in rendered.chain(steering()) {
        let kind = (object["apiVersion"].clone(), object["kind"].clone());
        if kinds.contains(&kind) {
            continue;
        }
        let holder = if object["spec"].is_object() { &mut object["spec"] } else { &mut object };
        holder["scoretapMisspelled"] = true.into();
        let error = dry_run(&[object]).expect_err(&format!("{kind:?}: the field was dropped"));
        assert!(error.contains("scoretapMisspelled"), "{kind:?}: {error}");
        kinds.push(kind);
    }
    assert!(kinds.len() > 15, "{kinds:?}");
}

/// A port name of 16 characters once broke every injected pod, and schemas do not contain the limit.
#[test]
fn port_name_of_16_characters_is_rejected() {
    let _turn = turn();
    let mut service = rendered::object("webhook", "Service", "scoretap-injector").unwrap();
    assert!(dry_run(std::slice::from_ref(&service)).is_ok());
    service["spec"]["ports"][0]["targetPort"] = "scoretap-metrics".into();
    assert!(dry_run(&[service]).unwrap_err().contains("no more than 15"));
}

/// The API server type-checks validating policies after it has stored them. Tests that create pods cover mutating ones.
#[test]
fn validating_policies_pass_the_type_check() {
    let _turn = turn();
    let mut objects = rendered::objects("policy").unwrap();
    objects.retain(|object| object["kind"] == "ValidatingAdmissionPolicy");
    assert!(objects.len() >= 3, "{}", objects.len());
    let mut wrong = objects[0].clone();
    wrong["spec"]["variables"] = json!([]);
    wrong["spec"]["matchConditions"] = json!([]);
    wrong["spec"]["validations"] = json!([{"expression": "object.spec.misspelled == 1"}]);
    objects.push(wrong);
    let last = objects.len() - 1;
    for (number, object) in objects.iter_mut().enumerate() {
        // A policy without a binding has no effect.
        object["metadata"]["name"] = format!("type-check-{number}.example.com").into();
        CLUSTER.kubectl_stdin(&["create", "-f", "-"], &object.to_string()).unwrap();
    }
    for number in 0..=last {
        let path = format!(
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/type-check-{number}.example.com"
        );
        let status = || CLUSTER.api().get(&path).unwrap()["status"].take();
        wait_until("the policy is checked", 4 * STARTUP, || status()["observedGeneration"] == 1);
        let warnings = status()["typeChecking"]["expressionWarnings"].take();
        assert_eq!(warnings.is_null(), number != last, "{path}: {warnings}");
        CLUSTER.api().delete(&path, &json!({})).unwrap();
    }
}
