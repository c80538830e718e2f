//! `scoretap-injector inject -f`: the same pods, from manifests.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use scoretap_tests::stack::Folders;
use scoretap_tests::workspace;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::corpus::{Expected, pods};
use crate::webhook::WEBHOOK;

fn inject(file: &Path) -> Output {
    Command::new(workspace::injector()).args(["inject", "-f"]).arg(file).output().unwrap()
}

/// Reads what was printed as kubectl does: YAML 1.1 in this respect is what `pods` hold no difference to.
fn documents(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_norway::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

#[test]
fn the_command_makes_the_same_pods_as_the_webhook() {
    let folders = Folders::create("inject-pods").unwrap();
    for case in pods() {
        let file = folders.run.join(format!("{}.json", case.name));
        fs::write(&file, case.pod.to_string()).unwrap();
        let output = inject(&file);
        let answer = WEBHOOK.review(&case.pod);
        assert_eq!(documents(&output), [answer.patched], "{}", case.name);
        assert_eq!(output.status.success(), !matches!(case.expected, Expected::Refused(_)), "{}", case.name);
        let said = String::from_utf8(output.stderr).unwrap();
        for warning in answer.warnings {
            let line = format!("warning: {}: Pod/scorer: {warning}\n", file.display());
            assert!(said.contains(&line), "{}: {said}", case.name);
        }
    }
}

#[test]
fn a_deployments_template_becomes_what_its_pods_would_become() {
    let folders = Folders::create("inject-workloads").unwrap();
    let pod = pods().into_iter().find(|case| case.name == "of-a-deployment").unwrap().pod;
    let mut template = pod.clone();
    template["metadata"]
        .as_object_mut()
        .unwrap()
        .retain(|field, _| ["labels", "annotations"].contains(&field.as_str()));
    template["metadata"]["labels"].as_object_mut().unwrap().remove("pod-template-hash");
    let spec = json!({"template": {"metadata": template["metadata"], "spec": template["spec"]}});
    let workload = |kind: &str, spec: &Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "scorer-blue"}, "spec": spec});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [workload("Deployment", &spec)]});
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "yes", "b": "012"}});
    let cron = workload("CronJob", &json!({"jobTemplate": {"spec": spec}}));
    let all = [workload("Deployment", &spec), list, other.clone(), cron];
    let file = folders.run.join("all.yaml");
    fs::write(&file, all.map(|object| object.to_string()).join("\n---\n")).unwrap();
    let output = inject(&file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = documents(&output);
    let injected = &WEBHOOK.review(&pod).patched["spec"];
    assert_eq!(&found[0]["spec"]["template"]["spec"], injected);
    assert_eq!(found[0]["spec"]["template"]["metadata"]["labels"]["scoretap.dev/injected"], "true");
    assert_eq!(&found[1]["items"][0]["spec"]["template"]["spec"], injected);
    assert_eq!(found[2], other);
    let cron = &found[3]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"];
    assert_eq!(cron.as_array().unwrap().len(), 3);
    fs::write(&file, &output.stdout).unwrap();
    assert_eq!(inject(&file).stdout, output.stdout, "a second time changes nothing");
}

#[test]
fn a_file_that_is_not_there_or_no_yaml_is_an_error_that_names_it() {
    let folders = Folders::create("inject-errors").unwrap();
    let file = folders.run.join("broken.yaml");
    for content in [None, Some("a: [")] {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let output = inject(&file);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("broken.yaml"));
    }
}
