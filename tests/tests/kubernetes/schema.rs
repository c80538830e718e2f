//! Kubernetes' own schemas, strictly: a field that a version does not know is a fault.

use std::io::Write;
use std::process::{Command, Stdio};

use scoretap_tests::{tools, workspace};
use serde_json::{Value, json};

/// The oldest and the newest that are supported, and some between.
pub(crate) const VERSIONS: [&str; 4] = ["1.29", "1.31", "1.34", "1.37"];

/// Panics where one of these objects is not what these versions of Kubernetes know.
#[track_caller]
pub(crate) fn check(objects: &[(String, Value)], versions: &[&str]) {
    assert!(!objects.is_empty(), "nothing to check");
    let faults = faults(objects, versions);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// All that is wrong.
pub(crate) fn faults(objects: &[(String, Value)], versions: &[&str]) -> Vec<String> {
    let cases = objects.iter().flat_map(|(title, object)| {
        versions.iter().map(move |version| json!({"title": title, "version": version, "object": object}))
    });
    let cases: Value = cases.collect();
    let mut checker = Command::new(tools::kubernetes_validate().unwrap());
    said(checker.arg(workspace::python_file("validate.py")), &cases)
}

/// What a checker that reads cases and writes faults says.
pub(crate) fn said(checker: &mut Command, cases: &Value) -> Vec<String> {
    let mut child = checker.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(cases.to_string().as_bytes()).unwrap();
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
