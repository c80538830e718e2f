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
            let line = format!("error: {}: Pod/scorer: {warning}\n", file.display());
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

/// What is said of a manifest that comes out as it went in.
#[track_caller]
fn check_said(object: &str, code: i32, said: &str) {
    let folders = Folders::create("inject-said").unwrap();
    let file = folders.run.join("object.yaml");
    fs::write(&file, object).unwrap();
    let output = inject(&file);
    let (kind, words) = said.split_once(": ").unwrap();
    let line = format!("{kind}: {}: {words}\n", file.display());
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()),
        (Some(code), line)
    );
    assert_eq!(documents(&output), [serde_norway::from_str::<Value>(object).unwrap()]);
}

/// An API server would refuse such an annotation; nothing else would say so before.
#[test]
fn an_annotation_without_quotes_is_an_error_that_says_how_to_write_it() {
    let pod = |annotation: &str| {
        format!(
            "{{kind: Pod, metadata: {{name: p, annotations: {{{annotation}}}}}, spec: {{containers: [{{name: a, ports: \
             [{{containerPort: 80}}]}}]}}}}"
        )
    };
    let asks = pod("scoretap.dev/inject: true");
    check_said(&asks, 1, "error: Pod/p: scoretap.dev/inject is true without quotes; write \"true\"");
    let port = pod("scoretap.dev/inject: 'true', scoretap.dev/app-port: 80");
    check_said(&port, 1, "error: Pod/p: scoretap.dev/app-port is 80 without quotes; write \"80\"");
    let service = "{kind: Service, metadata: {name: s, annotations: {scoretap.dev/inject: true}}}";
    check_said(service, 1, "error: Service/s: scoretap.dev/inject is true without quotes; write \"true\"");
    let others = "{kind: ConfigMap, metadata: {name: c, annotations: {scoretap.dev/inject: true}}}";
    let folders = Folders::create("inject-others").unwrap();
    let file = folders.run.join("object.yaml");
    fs::write(&file, others).unwrap();
    assert!(inject(&file).stderr.is_empty(), "what is not ours to read is not ours to judge");
}

#[test]
fn an_annotation_where_nobody_looks_is_a_warning_that_says_where_to_write_it() {
    let workload = |kind: &str, own: &str, pods: &str| {
        format!(
            "{{kind: {kind}, metadata: {{name: w, annotations: {{{own}}}}}, spec: {{template: {{metadata: \
             {{annotations: {{{pods}}}}}, spec: {{containers: [{{name: a}}]}}}}}}}}"
        )
    };
    let asks = "scoretap.dev/inject: 'true'";
    check_said(
        &workload("Deployment", asks, ""),
        0,
        "warning: Deployment/w: scoretap.dev/inject is on the Deployment itself, where nobody looks; write it to \
         spec.template.metadata.annotations",
    );
    let cron = "{kind: CronJob, metadata: {name: c, annotations: {scoretap.dev/inject: 'true'}}, spec: {}}";
    check_said(
        cron,
        0,
        "warning: CronJob/c: scoretap.dev/inject is on the CronJob itself, where nobody looks; write it to \
         spec.jobTemplate.spec.template.metadata.annotations",
    );
    let known = "Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob, Service and List";
    for (kind, own, pods) in [("Rollout", "", asks), ("ReplicationController", asks, "")] {
        let said = format!(
            "warning: {kind}/w: scoretap.dev/inject does nothing here, as the kind is not known; known are {known}"
        );
        check_said(&workload(kind, own, pods), 0, &said);
    }
    let help = Command::new(workspace::injector()).args(["inject", "--help"]).output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains(known));
}

#[test]
fn what_is_no_image_is_refused_before_anything_is_done() {
    let digest = "a".repeat(64);
    for (image, taken) in [
        ("localhost:5000/a/b_c:v1.0-x", true),
        (&*format!("registry.example/a:1@sha256:{digest}"), true),
        ("", false),
        ("a b@@", false),
        (" a", false),
        ("a\n", false),
        ("a//b", false),
        ("/a", false),
        ("a/", false),
        ("-a", false),
        ("a@", false),
        ("a@sha256:", false),
        ("a@sha256:xyz", false),
        ("'a'", false),
    ] {
        for (flag, variable) in [("--envoy-image", "ENVOY_IMAGE"), ("--exporter-image", "EXPORTER_IMAGE")] {
            let ways = [
                Command::new(workspace::injector()).args(["policy", &format!("{flag}={image}")]).output(),
                Command::new(workspace::injector()).arg("policy").env(variable, image).output(),
            ];
            for output in ways.map(Result::unwrap) {
                let said = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.success(), taken, "{flag} {image:?}: {said}");
                assert!(
                    taken || (output.stdout.is_empty() && said.contains(flag) && said.contains(variable)),
                    "{said}"
                );
            }
        }
    }
    for way in [&["inject", "--filename", "-"][..], &["serve"]] {
        let output = Command::new(workspace::injector()).args(way).env("ENVOY_IMAGE", "").output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{way:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--envoy-image"), "{way:?}");
    }
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
