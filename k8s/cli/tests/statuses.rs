//! The exit statuses of commands are those that their help lists.

use std::path::Path;
use std::process::Command;

fn scoretap(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scoretap"));
    let output = command.current_dir(folder).args(words).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.code(), said.concat())
}

/// Runs a command in a folder with some files. Its status must be this one, and its help must list it.
#[track_caller]
fn check(words: &str, status: i32, message: &str) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("rules.yml", "groups: [{name: a, rules: [{alert: A, expr: 'a_requests_total > 1'}]}]\n");
    write("strange.yml", "groups: [{name: a, rules: [{alert: A, expr: 'zebras > 1'}]}]\n");
    write("a.yaml", "dialect: a\nfamilies:\n- name: a_requests_total\n  help: Calls.\n  measure: calls\n");
    write("invalid.yaml", "dialect: 1\n");
    write("predictions.csv", "p\n1\n");
    let words: Vec<&str> = words.split(' ').collect();
    let (found, said) = scoretap(folder.path(), &words);
    assert_eq!(found, Some(status), "{words:?}: {said}");
    assert!(said.contains(message), "{words:?}: {said}");
    let (_, help) = scoretap(folder.path(), &[&words[..2], &["--help"]].concat());
    assert!(help.contains(&format!("\n  {status}  ")), "{words:?}: {status} is not in {help}");
}

#[test]
fn dialect_make_ends_with_documented_statuses() {
    let make = |rest: &str| format!("dialect make --name a {rest}");
    check(&make("rules.yml"), 0, "a_requests_total");
    check(&make("rules.yml none.yml"), 1, "error: none.yml: cannot read the file");
    check(&make("strange.yml --strict"), 1, "empty");
    check("dialect make --name 1a rules.yml", 2, "--name");
    check(&make("rules.yml --output none/a.yaml"), 3, "error: cannot write none/a.yaml");
    check(&make("rules.yml --report none/a.json"), 3, "error: cannot write none/a.json");
    check(&make("rules.yml --output invalid.yaml"), 3, "correct it, or move it away");
}

#[test]
fn dialect_check_ends_with_documented_statuses() {
    check("dialect check none.yaml rules.yml", 2, "there is no such file");
    check(
        "dialect check a.yaml rules.yml --prometheus http://127.0.0.1:1",
        3,
        "error: cannot ask Prometheus",
    );
    check("dialect check invalid.yaml rules.yml", 3, "correct it");
}

#[test]
fn baseline_make_ends_with_documented_statuses() {
    let make = |rest: &str| format!("baseline make {rest} --column p --route score");
    check(&make("predictions.csv"), 0, "models:");
    check(&make("none.csv"), 3, "error: cannot read none.csv");
    check(&make("predictions.csv --output none/b.yaml"), 3, "error: cannot write none/b.yaml");
}
