//! Findings about LimitRanges and quotas, before injection and after the API server rejected a pod.

use scoretap_tests::cluster::Cluster;
use serde_json::{Value, json};

use super::{apply, asking, installed, rolled_out, tenant, workload};
use crate::scoretap::{finds, is_gone, mends, shell};

fn limited(cluster: &Cluster, namespace: &str, limit: &Value) {
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"}, "spec": {"limits": [limit]}});
    apply(cluster, namespace, &range);
}

/// The check reports the conflict before injection. With the proposed annotation, the pods are created.
#[track_caller]
fn check(name: &str, limit: &Value) {
    let cluster = installed();
    let namespace = tenant(cluster, name);
    limited(cluster, &namespace, limit);
    apply(cluster, &namespace, &workload(&json!({"team": "a"})));
    rolled_out(cluster, &namespace);
    let target = ["deployment/scorer", "-n", &namespace];
    mends(cluster, &target, "limit-range", "limitrange/limits");
    let ask = r#"{"spec":{"template":{"metadata":{"annotations":{"scoretap.dev/inject":"true"}}}}}"#;
    shell(cluster, &format!("kubectl patch deployment scorer -n {namespace} -p '{ask}'"));
    rolled_out(cluster, &namespace);
    let pods = cluster.pods(&namespace);
    assert!(pods.iter().any(|pod| pod["metadata"]["labels"]["scoretap.dev/injected"] == "true"), "{pods:#?}");
}

#[test]
fn limit_range_max_is_met_by_annotation() {
    check("max", &json!({"type": "Container", "max": {"memory": "200Mi"}, "default": {"memory": "100Mi"}}));
}

#[test]
fn limit_range_min_is_met_by_annotation() {
    let defaults = json!({"cpu": "100m"});
    check(
        "min",
        &json!({"type": "Container", "min": {"cpu": "100m"}, "defaultRequest": defaults, "default": defaults}),
    );
}

#[test]
fn limit_range_ratio_is_met_by_annotation() {
    let defaults = json!({"cpu": "100m"});
    check(
        "ratio",
        &json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}, "defaultRequest": defaults, "default": defaults}),
    );
}

#[test]
fn refused_pods_are_found_by_their_event() {
    let cluster = installed();
    let namespace = tenant(cluster, "failed-create");
    limited(
        cluster,
        &namespace,
        &json!({"type": "Container", "max": {"memory": "200Mi"}, "default": {"memory": "100Mi"}}),
    );
    apply(cluster, &namespace, &asking());
    let finding = finds(cluster, &[&namespace], "failed-create", "");
    assert!(
        finding["why"].as_str().unwrap().contains("maximum memory usage per Container is 200Mi"),
        "{finding:#}"
    );
    mends(cluster, &[&namespace], "failed-create", "");
    rolled_out(cluster, &namespace);
}

fn quota(cluster: &Cluster, namespace: &str, hard: &Value) {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "compute"}, "spec": {"hard": hard}});
    apply(cluster, namespace, &quota);
}

#[test]
fn quota_that_is_too_small_is_found_before() {
    let cluster = installed();
    let namespace = tenant(cluster, "quota");
    quota(cluster, &namespace, &json!({"requests.memory": "50Mi"}));
    let mut list = workload(&json!({"team": "a"}));
    super::container(&mut list)["resources"] =
        json!({"requests": {"memory": "10Mi"}, "limits": {"memory": "20Mi"}});
    apply(cluster, &namespace, &list);
    rolled_out(cluster, &namespace);
    let target = ["deployment/scorer", "-n", &namespace];
    let finding = finds(cluster, &target, "quota", "resourcequota/compute");
    assert!(
        finding["why"].as_str().unwrap().contains("10Mi of 50Mi requests.memory are used"),
        "{finding:#}"
    );
    quota(cluster, &namespace, &json!({"requests.memory": "1Gi"}));
    is_gone(cluster, &target, "quota");
}
