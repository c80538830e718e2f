//! Rules, dashboards and routes of alerts: each alert fires when it should and only then, and what refers to them agrees.

mod alertmanager;
mod azure;
mod canary;
mod cases;
mod dashboards;
mod documents;
mod drift;
mod familiar;
mod firing;
mod insight;
mod kubernetes;
mod objects;
mod plain;
mod routes;
mod rules;
mod steering;

use std::path::PathBuf;
use std::process::Command;

use scoretap_tests::workspace;

/// A file or folder under `k8s/`.
fn k8s(path: &str) -> PathBuf {
    workspace::root().join("k8s").join(path)
}

/// Runs a checker to its end; what it said is the test's message where it is not content.
#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}\n{said}");
    said
}
