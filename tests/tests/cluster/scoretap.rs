//! The packaged command `scoretap` on a cluster, as an administrator runs it.

use std::process::{Command, Output};
use std::time::Duration;

use scoretap_tests::cluster::Cluster;
use scoretap_tests::wait::wait_until;
use scoretap_tests::workspace;
use serde_json::Value;

/// The controllers and the tests' node are slow on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);

/// Runs the command to its end.
pub(crate) fn run(cluster: &Cluster, args: &[&str]) -> Output {
    let mut command = Command::new(workspace::cli());
    command.args(args);
    cluster.run(command).unwrap()
}

/// Runs the command, expects this exit status and returns the output.
#[track_caller]
pub(crate) fn prints(cluster: &Cluster, args: &[&str], status: i32) -> String {
    let output = run(cluster, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "scoretap {}:\n{out}\n{err}", args.join(" "));
    out.into_owned()
}

/// Runs a command that `scoretap` printed, in a shell.
#[track_caller]
pub(crate) fn shell(cluster: &Cluster, line: &str) {
    let mut command = Command::new("sh");
    let dist = workspace::dist();
    command.args(["-euc", &format!("PATH=\"{}:$PATH\"\n{line}", dist.display())]);
    let output = cluster.run(command).unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// All findings of `scoretap check TARGET…`.
#[track_caller]
pub(crate) fn findings(cluster: &Cluster, target: &[&str]) -> Vec<Value> {
    let output = run(cluster, &[&["check", "-o", "json"], target].concat());
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(matches!(output.status.code(), Some(0 | 1)), "scoretap check {target:?}:\n{out}\n{err}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    answer["findings"].as_array().unwrap().clone()
}

/// Waits for a finding of this check whose place has this suffix, and returns it.
#[track_caller]
pub(crate) fn finds(cluster: &Cluster, target: &[&str], check: &str, place: &str) -> Value {
    let mut found = None;
    wait_until(&format!("{check} is found at {place} by check {target:?}"), DEADLINE, || {
        let is_it = |finding: &Value| {
            finding["check"] == check && finding["where"].as_str().is_some_and(|text| text.ends_with(place))
        };
        found = findings(cluster, target).into_iter().find(is_it);
        found.is_some()
    });
    found.unwrap()
}

/// Waits until this check has no findings.
#[track_caller]
pub(crate) fn is_gone(cluster: &Cluster, target: &[&str], check: &str) {
    wait_until(&format!("{check} is gone from check {target:?}"), DEADLINE, || {
        findings(cluster, target).iter().all(|finding| finding["check"] != check)
    });
}

/// Waits for a finding of this check and expects its command to fix it.
#[track_caller]
pub(crate) fn mends(cluster: &Cluster, target: &[&str], check: &str, place: &str) {
    let finding = finds(cluster, target, check, place);
    shell(cluster, finding["command"].as_str().unwrap());
    is_gone(cluster, target, check);
}
