//! Injected pods under Pod Security `restricted`, ResourceQuotas and LimitRanges.

use scoretap_tests::wait::wait_until;
use serde_json::{Value, json};

use crate::cases::pods;
use crate::pods::Way;
use crate::support::{DEADLINE, is_injected};

/// A LimitRange for containers, or a ResourceQuota.
enum Policy {
    Range(Value),
    Quota(Value),
}

use Policy::{Quota, Range};

/// A pod whose app fits every policy of the table.
fn pod(annotations: &[(&str, &str)]) -> Value {
    let mut pod = pods().remove(0).pod;
    let quantity = json!({"cpu": "500m", "memory": "512Mi"});
    pod["spec"]["containers"][0]["resources"] = json!({"requests": quantity, "limits": quantity});
    for (name, value) in annotations {
        pod["metadata"]["annotations"][format!("scoretap.dev/{name}")] = (*value).into();
    }
    pod
}

/// A namespace under this policy.
fn namespace(policy: &Policy) -> String {
    let namespace = Way::Policy.namespace("restricted");
    let api = Way::Policy.cluster().api();
    let (resource, kind, spec) = match policy {
        Range(limits) => {
            let mut limits = limits.clone();
            limits["type"] = "Container".into();
            ("limitranges", "LimitRange", json!({"limits": [limits]}))
        }
        Quota(hard) => ("resourcequotas", "ResourceQuota", json!({"hard": hard})),
    };
    let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "limits"}, "spec": spec});
    let path = format!("/api/v1/namespaces/{namespace}/{resource}");
    api.create(&path, &object).unwrap();
    if let Quota(hard) = policy {
        wait_until("the quota is known", DEADLINE, || {
            api.get(&format!("{path}/limits")).is_ok_and(|quota| quota["status"]["hard"] == *hard)
        });
    }
    namespace
}

/// Creates an injected pod with the defaults, which must fail with `refusal` if given. Then creates one with
/// annotations that resolve the conflict.
#[track_caller]
fn check(policy: &Policy, refusal: Option<&str>, annotations: &[(&str, &str)]) {
    let namespace = namespace(policy);
    let create = |annotations: &[(&str, &str)]| {
        let created = Way::Policy.create(&namespace, &pod(annotations));
        created.inspect(|(stored, warnings)| assert!(is_injected(stored), "{warnings:?}"))
    };
    match (create(&[]), refusal) {
        (Ok(_), None) => {}
        (Err(error), Some(refusal)) if error.contains(refusal) => {}
        (Err(error), _) => panic!("{error}"),
        (Ok(_), Some(refusal)) => panic!("expected: {refusal}"),
    }
    if !annotations.is_empty() {
        create(annotations).unwrap();
    }
}

#[test]
fn limit_range_max_of_one_core_passes() {
    check(&Range(json!({"max": {"cpu": "1", "memory": "1Gi"}})), None, &[]);
}

#[test]
fn limit_range_cpu_ratio_of_ten_passes() {
    check(&Range(json!({"maxLimitRequestRatio": {"cpu": "10"}})), None, &[]);
}

#[test]
fn limit_range_memory_ratio_of_three_passes() {
    check(&Range(json!({"maxLimitRequestRatio": {"memory": "3"}})), None, &[]);
}

#[test]
fn limit_range_with_defaults_passes() {
    let defaults = json!({"default": {"cpu": "1", "memory": "512Mi"}, "defaultRequest": {"cpu": "100m", "memory": "128Mi"}});
    check(&Range(defaults), None, &[]);
}

#[test]
fn limit_range_with_a_small_minimum_passes() {
    check(&Range(json!({"min": {"cpu": "10m", "memory": "32Mi"}})), None, &[]);
}

#[test]
fn minimum_of_100m_is_met_by_an_annotation() {
    let policy = Range(json!({"min": {"cpu": "100m"}}));
    check(&policy, Some("minimum cpu usage per Container is 100m"), &[("cpu-request", "100m")]);
}

#[test]
fn minimum_of_memory_is_met_by_annotations() {
    let policy = Range(json!({"min": {"memory": "128Mi"}}));
    let annotations = [("memory-request", "128Mi"), ("memory-limit", "256Mi")];
    check(&policy, Some("minimum memory usage per Container is 128Mi"), &annotations);
}

#[test]
fn limit_range_max_of_half_a_core_passes() {
    let policy = Range(json!({"max": {"cpu": "500m"}}));
    check(&policy, None, &[]);
    let policy = Range(json!({"max": {"memory": "512Mi"}}));
    check(&policy, None, &[]);
}

#[test]
fn equal_requests_and_limits_are_met_by_annotations() {
    let policy = Range(json!({"maxLimitRequestRatio": {"cpu": "1", "memory": "1"}}));
    let annotations = [
        ("cpu-request", "200m"),
        ("cpu-limit", "200m"),
        ("memory-request", "256Mi"),
        ("memory-limit", "256Mi"),
    ];
    check(&policy, Some("max limit to request ratio per Container is 1"), &annotations);
}

/// Such a quota rejects a pod if one of its containers has no limit.
#[test]
fn quota_that_counts_limits_passes() {
    let hard =
        json!({"limits.cpu": "4", "limits.memory": "4Gi", "requests.cpu": "2", "requests.memory": "2Gi"});
    let policy = Quota(hard);
    check(&policy, None, &[]);
    let without = Way::Policy.create(&namespace(&policy), &pod(&[("cpu-limit", "none")])).unwrap_err();
    assert!(without.contains("must specify limits.cpu"), "{without}");
}

/// The app requests 500m and 512Mi. The sidecar adds exactly what the docs promise.
#[test]
fn sidecar_reserves_50m_and_128mi() {
    let exact = json!({"requests.cpu": "550m", "requests.memory": "640Mi"});
    check(&Quota(exact), None, &[]);
    check(&Quota(json!({"requests.cpu": "549m"})), Some("exceeded quota"), &[]);
    check(&Quota(json!({"requests.memory": "639Mi"})), Some("exceeded quota"), &[]);
}
