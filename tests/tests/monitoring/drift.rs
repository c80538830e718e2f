//! The drift rules against NumPy and SciPy: `tests/python/drift.py` computes, promtool compares.

use std::fs;
use std::process::Command;

use scoretap_tests::{tools, workspace};
use serde_json::Value;

use crate::{cases, succeed};

fn computed(what: &str) -> String {
    succeed(Command::new(tools::python().unwrap()).arg(workspace::python_file("drift.py")).arg(what))
}

#[test]
fn psi_js_and_ks_equal_scipy() {
    let tests: Value = serde_json::from_str(&computed("promtool")).unwrap();
    assert_eq!(tests.as_array().unwrap().len(), 7);
    cases::succeeds("drift", &["insight.yaml"], "2h", &tests);
}

/// `cargo xtask generate` writes the table. Python draws the days from fixed seeds.
#[test]
fn runbook_states_false_alarms_of_quiet_days() {
    let path = workspace::root().join("docs/runbooks.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- generated: quiet days -->\n").unwrap();
    let (found, after) = rest.split_once("<!-- /generated -->").unwrap();
    let expected = computed("quiet");
    if std::env::var_os("SCORETAP_GENERATE").is_some() {
        let updated = format!("{before}<!-- generated: quiet days -->\n{expected}<!-- /generated -->{after}");
        return fs::write(path, updated).unwrap();
    }
    assert_eq!(found, expected, "docs/runbooks.md: `cargo xtask generate` writes it");
}
