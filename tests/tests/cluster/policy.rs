//! The chart's policies equal those of the injector's library.

use std::path::Path;

use scoretap_injector::policy;
use scoretap_injector::settings::Settings;
use scoretap_tests::cluster::{Cluster, Version};
use scoretap_tests::workspace;
use serde::Deserialize;
use serde_json::Value;

use crate::cases::{Expected, pods};
use crate::support::{INJECTED_NAMESPACE, install, is_injected, with_policies};

fn documents(text: &str) -> Vec<Value> {
    let documents =
        serde_norway::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    let mut documents: Vec<_> = documents.filter(|document| !document.is_null()).collect();
    documents
        .sort_by_key(|document| [document["kind"].to_string(), document["metadata"]["name"].to_string()]);
    documents
}

/// The chart's template, rendered by Helm with these values.
fn rendered(values: &[&str]) -> Vec<Value> {
    let chart = workspace::root().join("k8s/chart");
    let mut args = vec!["template", "scoretap", chart.to_str().unwrap(), "-n", "scoretap-system"];
    args.extend(["--set", "mode=policy", "--show-only", "templates/policy.yaml"]);
    args.extend(values.iter().flat_map(|value| ["--set", *value]));
    documents(&with_policies().helm(&args).unwrap())
}

#[track_caller]
fn check(values: &[&str], settings: &str) {
    let settings = Settings::parse(settings).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(rendered(values), documents(&policy::manifests(&settings)), "{values:?}");
}

#[test]
fn helm_renders_what_the_library_renders() {
    check(&[], "");
    check(&["sidecar.runAsUser=null"], "runAsUser: null");
    check(&["sidecar.runAsUser=1000660000"], "runAsUser: 1000660000");
    check(&["imagePullPolicy=Always"], "imagePullPolicy: Always");
    check(
        &["images.envoy=registry.example/envoy:1", "registry=registry.example/x"],
        "{envoyImage: 'registry.example/envoy:1', exporterImage: 'registry.example/x/scoretap-exporter:0.1.0'}",
    );
    check(
        &["sidecar.resources.envoy.limits.cpu=null", "sidecar.resources.setup.requests.memory=48Mi"],
        "resources: {envoy: {limits: {cpu: null}}, setup: {requests: {memory: 48Mi}}}",
    );
}

#[test]
fn chart_holds_the_generated_template() {
    let file = workspace::root().join("k8s/chart/templates/policy.yaml");
    let shipped = std::fs::read_to_string::<&Path>(&file).unwrap();
    assert!(shipped == policy::template(), "{} is stale; run `cargo xtask generate`", file.display());
}

/// The first version with mutating policies has fewer CEL functions.
#[test]
fn kubernetes_1_36_injects_the_whole_table() {
    let cluster = Cluster::alone("policies", Version::V1_36);
    install(&cluster, &["--set", "mode=policy"]);
    let namespace = cluster.namespace_with("table", INJECTED_NAMESPACE);
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    for case in pods().iter().filter(|case| matches!(case.expected, Expected::Injected { .. })) {
        let pod = cluster.api().create(&path, &case.pod).unwrap();
        assert!(is_injected(&pod), "{}", case.name);
        for (pointer, value) in &case.fields {
            assert_eq!(pod.pointer(pointer).unwrap_or(&Value::Null), value, "{}: {pointer}", case.name);
        }
    }
}
