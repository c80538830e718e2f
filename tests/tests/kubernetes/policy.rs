//! The policies give the same pods and say the same as the webhook, by another way.

use std::fs;
use std::process::Command;

use scoretap_tests::workspace;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cel;
use crate::corpus::{Expected, pods};
use crate::schema;
use crate::webhook::{WEBHOOK, applied};

const FILE: &str = "k8s/policy/policy.yaml";

fn policies() -> Vec<Value> {
    let text = fs::read_to_string(workspace::root().join(FILE)).unwrap();
    serde_norway::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

#[track_caller]
pub(crate) fn policy(kind: &str, name: &str) -> Value {
    let found = |policy: &Value| policy["kind"] == kind && policy["metadata"]["name"] == name;
    policies().into_iter().find(found).unwrap()
}

#[test]
fn the_shipped_policies_are_what_the_injector_writes() {
    let output = Command::new(workspace::injector()).arg("policy").output().unwrap();
    assert!(output.status.success());
    let written = String::from_utf8(output.stdout).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(workspace::root().join(FILE), written).unwrap();
    }
    let shipped = fs::read_to_string(workspace::root().join(FILE)).unwrap();
    assert_eq!(shipped, written, "{FILE}: UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn policy_and_webhook_make_the_same_pod() {
    let policy = policy("MutatingAdmissionPolicy", "scoretap-pods");
    let mut injected = 0;
    for case in pods().iter().filter(|case| case.in_cel) {
        let mut object = case.pod.clone();
        if cel::matches(&policy, &object) {
            object = applied(&object, Some(&cel::patch(&policy, &object)));
        }
        assert_eq!(object, WEBHOOK.review(&case.pod).patched, "{}", case.name);
        injected += usize::from(object != case.pod);
    }
    assert!(injected > 15, "only {injected} pods were changed at all");
}

#[test]
fn policy_and_webhook_say_the_same_of_a_fault() {
    let policy = policy("ValidatingAdmissionPolicy", "scoretap-pods-advice");
    let mut said = 0;
    for case in pods().iter().filter(|case| case.in_cel) {
        let warnings =
            if cel::matches(&policy, &case.pod) { cel::warnings(&policy, &case.pod) } else { vec![] };
        assert_eq!(warnings, WEBHOOK.review(&case.pod).warnings, "{}", case.name);
        said += warnings.len();
        // Validation comes after mutation: it must find nothing wrong with what was injected.
        if matches!(case.expected, Expected::Injected { .. }) {
            assert!(!cel::matches(&policy, &WEBHOOK.review(&case.pod).patched), "{}", case.name);
        }
    }
    assert!(said > 10, "only {said} warnings");
}

/// The warnings of pods that a workload makes go to a controller.
#[test]
fn whoever_applies_a_workload_hears_what_is_wrong_with_its_pods() {
    let wrapped = |kind: &str, pod: &Value| {
        let template = json!({"template": pod});
        let spec = if kind == "CronJob" { json!({"jobTemplate": {"spec": template}}) } else { template };
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "w", "namespace": "tenant-a"}, "spec": spec})
    };
    for (kind, name, resources) in [
        ("Deployment", "scoretap-workloads-advice", &["deployments", "statefulsets", "daemonsets"][..]),
        ("Job", "scoretap-workloads-advice", &["jobs"]),
        ("CronJob", "scoretap-cronjobs-advice", &["cronjobs"]),
    ] {
        let policy = policy("ValidatingAdmissionPolicy", name);
        let rules = policy["spec"]["matchConstraints"]["resourceRules"].to_string();
        assert!(resources.iter().all(|resource| rules.contains(resource)), "{kind}: {rules}");
        let mut said = 0;
        for case in pods().iter().filter(|case| case.in_cel) {
            let object = wrapped(kind, &json!({"metadata": case.pod["metadata"], "spec": case.pod["spec"]}));
            let warnings =
                if cel::matches(&policy, &object) { cel::warnings(&policy, &object) } else { vec![] };
            let review = WEBHOOK.review(&object);
            assert_eq!((review.patch, review.warnings), (None, warnings.clone()), "{kind}: {}", case.name);
            said += warnings.len();
            // What a pipeline injected was right when it was.
            let injected = wrapped(kind, &WEBHOOK.review(&case.pod).patched);
            assert!(
                !matches!(case.expected, Expected::Injected { .. }) || !cel::matches(&policy, &injected),
                "{kind}: {}",
                case.name
            );
        }
        assert!(said > 10, "{kind}: only {said} warnings");
        assert!(
            !cel::matches(&policy, &wrapped(kind, &json!({"spec": {}}))),
            "{kind}: a template without metadata"
        );
    }
}

#[test]
fn a_second_evaluation_changes_nothing() {
    let policy = policy("MutatingAdmissionPolicy", "scoretap-pods");
    for case in pods().iter().filter(|case| case.in_cel) {
        let patched = WEBHOOK.review(&case.pod).patched;
        assert!(
            !cel::matches(&policy, &patched) || cel::patch(&policy, &patched) == json!([]),
            "{}",
            case.name
        );
    }
}

#[test]
fn the_policies_are_valid_where_they_are_stable() {
    let objects: Vec<_> = policies().into_iter().map(|policy| (policy["kind"].to_string(), policy)).collect();
    assert_eq!(objects.len(), 12);
    schema::check(&objects, &["1.36", "1.37"]);
}
