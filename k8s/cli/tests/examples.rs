//! The dialects in `examples/` are what the command makes of the files beside them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Makes the dialect of an example again; returns the report.
#[track_caller]
fn check(example: &str, name: &str, verdicts: &[(&str, usize)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
    let made = tempfile::tempdir().unwrap();
    let (dialect, report) = (made.path().join("dialect.yaml"), made.path().join("report.json"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_scoretap"));
    command.current_dir(&folder).args([
        "dialect",
        "make",
        "--name",
        name,
        "grafana",
        "prometheus",
        "metrics.txt",
    ]);
    command.arg("--output").arg(&dialect).arg("--report").arg(&report);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&dialect).unwrap();
    assert_eq!(text, fs::read_to_string(folder.join("dialect.yaml")).unwrap());
    scoretap_dialect::Dialect::parse("dialect.yaml", &text).unwrap();
    let report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    for (verdict, count) in verdicts {
        let queries = report["queries"].as_array().unwrap().iter();
        assert_eq!(queries.filter(|query| query["verdict"] == *verdict).count(), *count, "{verdict}");
    }
}

#[test]
fn fastapi_stack_has_its_dialect() {
    check("fastapi-stack", "loans", &[("works", 8), ("works_with", 2), ("empty", 1), ("not_ours", 1)]);
}

#[test]
fn flask_stack_has_its_dialect() {
    check("flask-stack", "churn", &[("works", 7), ("works_with", 2), ("empty", 1), ("not_ours", 0)]);
}
