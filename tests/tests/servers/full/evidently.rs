//! The alarm of drift beside Evidently's: `tests/python/evidently/drift.py` computes, promtool judges.

use std::fs;
use std::process::{Command, Stdio};

use scoretap_tests::stack::Folders;
use scoretap_tests::{tools, workspace};
use serde_json::Value;

#[test]
fn alarm_agrees_with_evidently() {
    let folders = Folders::create("full-evidently").unwrap();
    let mut script = Command::new(tools::evidently_python().unwrap());
    script.arg(workspace::python_file("evidently/drift.py")).arg(workspace::cli()).arg(&folders.run);
    script.arg(workspace::root().join("k8s/chart/files/rules/insight.yaml"));
    let made = script.stderr(Stdio::inherit()).output().unwrap();
    assert!(made.status.success());
    let tests: Value = serde_json::from_slice(&made.stdout).unwrap();
    let windows = tests["tests"].as_array().unwrap();
    let drifts = |window: &&Value| window["promql_expr_test"][0]["exp_samples"][0].is_object();
    let drifted = windows.iter().filter(drifts).count();
    assert!(drifted >= 10 && windows.len() - drifted >= 10, "{drifted} of {} windows drift", windows.len());

    let file = folders.run.join("tests.json");
    fs::write(&file, made.stdout).unwrap();
    let judged = Command::new(tools::promtool().unwrap()).args(["test", "rules"]).arg(file).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
}
