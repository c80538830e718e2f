//! Each object before the checker that knows its kind, strictly: a field that is not known is a fault, and so is a
//! kind.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use scoretap_tests::{tools, workspace};
use serde_json::{Value, json};

/// The oldest and the newest that are supported, and some between.
pub(crate) const VERSIONS: [&str; 4] = ["1.29", "1.31", "1.34", "1.37"];

/// Kubernetes' kinds that came after the oldest version, and the first one that serves them as they are shipped.
const CAME_LATER: [(&str, u32); 4] = [
    ("MutatingAdmissionPolicy", 36),
    ("MutatingAdmissionPolicyBinding", 36),
    ("ValidatingAdmissionPolicy", 30),
    ("ValidatingAdmissionPolicyBinding", 30),
];

/// Groups whose kinds have published validators, which `tests/node/validate.mjs` asks.
const WITH_MODELS: [&str; 6] = [
    "monitoring.coreos.com",
    "extensions.istio.io",
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
    "cert-manager.io",
];

/// What is titled, for messages.
pub(crate) type Titled = (String, Value);

/// Panics where one of these objects is not what these versions of Kubernetes know.
#[track_caller]
pub(crate) fn check(objects: &[Titled], versions: &[&str]) {
    assert!(!objects.is_empty(), "nothing to check");
    let faults = faults(objects, versions);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Panics where one of these objects is not what whoever knows its kind says.
#[track_caller]
pub(crate) fn check_each(objects: &[Titled]) {
    assert!(!objects.is_empty(), "nothing to check");
    let faults = faults_of_each(objects);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What Kubernetes of these versions has against these objects.
pub(crate) fn faults(objects: &[Titled], versions: &[&str]) -> Vec<String> {
    said_by_python(objects.iter().flat_map(|object| on(object, versions)).collect())
}

/// What is wrong with these objects of any kinds, on the oldest version, the newest, and one between.
pub(crate) fn faults_of_each(objects: &[Titled]) -> Vec<String> {
    let (mut for_python, mut for_node) = (Vec::new(), Vec::new());
    for (title, object) in objects {
        let group = object["apiVersion"].as_str().unwrap().rsplit_once('/').map_or("", |(group, _)| group);
        if object["kind"] == "TrafficExtension" {
            for_python.push(json!({"title": title, "object": object, "schema": traffic_extension()}));
        } else if group == "azmonitoring.coreos.com" {
            for_node.push(json!({"title": title, "object": with_the_operators_group(object)}));
        } else if WITH_MODELS.contains(&group) {
            for_node.push(json!({"title": title, "object": object}));
        } else {
            let since =
                CAME_LATER.iter().find(|(kind, _)| object["kind"] == *kind).map_or(29, |(_, since)| *since);
            let versions = [29, 33, 36, 37].into_iter().filter(|minor| *minor >= since);
            let versions: Vec<_> = versions.map(|minor| format!("1.{minor}")).collect();
            let versions: Vec<_> = versions.iter().map(String::as_str).collect();
            for_python.extend(on(&(title.clone(), object.clone()), &versions));
        }
    }
    [said_by_python(for_python), said_by_node(for_node)].concat()
}

fn on(object: &Titled, versions: &[&str]) -> Vec<Value> {
    let (title, object) = object;
    let case = |version| json!({"title": title, "version": version, "object": object});
    versions.iter().map(case).collect()
}

/// `@kubernetes-models/istio` is of 1.29 and does not have it.
fn traffic_extension() -> Value {
    let file = workspace::root().join("tests/schemas/traffic-extension.json");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// Azure's objects are the prometheus-operator's in another group.
fn with_the_operators_group(object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] =
        object["apiVersion"].as_str().unwrap().replace("azmonitoring", "monitoring").into();
    object
}

fn said_by_python(cases: Vec<Value>) -> Vec<String> {
    let mut checker = Command::new(tools::kubernetes_validate().unwrap());
    said(checker.arg(workspace::python_file("validate.py")), cases)
}

fn said_by_node(cases: Vec<Value>) -> Vec<String> {
    let mut checker = Command::new("node");
    checker.arg(workspace::root().join("tests/node/validate.mjs")).arg(tools::kubernetes_models().unwrap());
    said(&mut checker, cases)
}

/// What a checker that reads cases and writes faults says.
fn said(checker: &mut Command, cases: Vec<Value>) -> Vec<String> {
    if cases.is_empty() {
        return Vec::new();
    }
    let mut child = checker.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(Value::from(cases).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_checker_sees_an_unknown_field_and_one_that_came_later() {
    let pod = |spec: Value| {
        (
            "pod".to_owned(),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}),
        )
    };
    assert!(
        !faults(&[pod(json!({"containers": [{"name": "a", "image": "b", "prots": []}]}))], &["1.37"])
            .is_empty()
    );
    let image =
        json!({"containers": [{"name": "a"}], "volumes": [{"name": "v", "image": {"reference": "x"}}]});
    assert_eq!(faults(&[pod(image)], &["1.29", "1.37"]).len(), 1);
}

/// The versions that are left out are those that do not have the kind, and no others.
#[test]
fn kinds_that_came_later_are_unknown_before() {
    for (kind, since) in CAME_LATER {
        let object =
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "x"}});
        let before = format!("1.{}", since - 1);
        assert_eq!(faults(&[(kind.to_owned(), object)], &[&before]).len(), 1, "{kind} on {before}");
    }
}

/// Objects that are right, each with fields that would make it wrong.
fn right_and_wrong() -> Vec<(Value, Vec<(&'static str, Value)>)> {
    let monitor = |group: &str| {
        json!({"apiVersion": format!("{group}/v1"), "kind": "PodMonitor", "metadata": {"name": "x"}, "spec": {
            "selector": {"matchLabels": {"a": "b"}}, "podMetricsEndpoints": [{"port": "metrics"}]}})
    };
    let in_monitors = vec![
        ("/spec/sampleLimit", json!("many")),
        ("/spec/smapleLimit", json!(1)),
        // A field, but not here.
        ("/spec/podMetricsEndpoints/0/sampleLimit", json!(1)),
        ("/kind", json!("PodMoniter")),
        ("/apiVersion", json!("monitoring.coreos.com/v2")),
    ];
    let extension = json!({"apiVersion": "extensions.istio.io/v1alpha1", "kind": "TrafficExtension",
        "metadata": {"name": "x"}, "spec": {"phase": "STATS", "wasm": {"url": "oci://registry.example/x:1"}}});
    let in_extension = vec![
        ("/spec/phase", json!("LAST")),
        ("/spec/lua", json!({"inlineCode": "x"})),
        ("/spec/wasm/url", json!("oci:/x")),
        ("/spec/wasm/failStrategy", json!("FAIL")),
        ("/spec/wasm/pluginconfig", json!({})),
        ("/spec/priority", json!("1")),
        ("/spec/match", json!([{"mode": "INBOUND"}])),
    ];
    let certificate = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "x"},
        "spec": {"secretName": "x", "issuerRef": {"name": "y"}}});
    let in_certificate =
        vec![("/spec/privateKey", json!({"algorithm": "DSA"})), ("/spec/dnsName", json!("x"))];
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    let in_map =
        vec![("/dada", json!({})), ("/kind", json!("ConfigMop")), ("/apiVersion", json!("example.com/v1"))];
    vec![
        (monitor("monitoring.coreos.com"), in_monitors.clone()),
        (monitor("azmonitoring.coreos.com"), in_monitors),
        (extension, in_extension),
        (certificate, in_certificate),
        (map, in_map),
    ]
}

#[test]
fn the_checkers_see_wrong_types_unknown_kinds_and_fields_in_the_wrong_place() {
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for (object, fields) in right_and_wrong() {
        for (pointer, value) in fields {
            let mut changed = object.clone();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[field] = value.clone();
            wrong.push((format!("{} of {} {value}", pointer, object["apiVersion"]), changed));
        }
        right.push(("right".to_owned(), object));
    }
    assert_eq!(faults_of_each(&right), [""; 0]);
    let found = faults_of_each(&wrong);
    let unseen = wrong.iter().filter(|(title, _)| !found.iter().any(|fault| fault.starts_with(title)));
    assert_eq!(unseen.map(|(title, _)| title).collect::<Vec<_>>(), [""; 0]);
}
