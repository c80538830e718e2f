//! What a real kubectl makes of our commands, without a cluster.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use scoretap_tests::stack::Folders;
use scoretap_tests::{tools, workspace};
use serde_json::Value;

use crate::cluster::Ended;
use crate::commands::{k8s, of_version};
use crate::doctor::{Snapshot, bare_pod, injected};

/// The words of a command as a shell sees them.
fn words(command: &str) -> Vec<String> {
    let rest = command.strip_prefix("kubectl ").unwrap();
    let output = Command::new("sh").args(["-c", &format!("printf '%s\\0' {rest}")]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

/// The object as kubectl changes it by this command, on the object in place of the cluster's.
#[track_caller]
fn changed(command: &str, object: &Value) -> Value {
    let folders = Folders::create("operate-kubectl").unwrap();
    let file = folders.run.join("object.json");
    fs::write(&file, object.to_string()).unwrap();
    let words = words(command);
    let mut kubectl = Command::new(tools::kubectl().unwrap());
    kubectl.arg(&words[0]).args(["--local", "--output", "json", "--filename"]).arg(&file);
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        let is_change = words[0] != "patch" && (word.contains('=') || word.ends_with('-'));
        match word.as_str() {
            // Which object: the one in the file.
            "-n" | "-l" => _ = rest.next(),
            "-p" => _ = kubectl.arg("-p").arg(rest.next().unwrap()),
            flag if flag.starts_with("--") || is_change => _ = kubectl.arg(flag),
            _ => (),
        }
    }
    let output = kubectl.output().unwrap();
    assert!(output.status.success(), "{kubectl:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What breaks is found, its command is run by kubectl, and then all is well.
#[track_caller]
fn check(name: &str, object: impl Fn(&mut Snapshot) -> &mut Value, breaks: impl Fn(&mut Value)) {
    let mut snapshot = Snapshot::sound();
    breaks(object(&mut snapshot));
    let findings = snapshot.findings(name);
    let [(_, command)] = findings.as_slice() else { panic!("{name}: {findings:#?}") };
    let mended = changed(command, object(&mut snapshot));
    *object(&mut snapshot) = mended;
    assert_eq!(snapshot.findings(name), [], "{name}: {command}");
}

fn label(name: &'static str, value: &'static str) -> impl Fn(&mut Value) {
    move |object| object["metadata"]["labels"][name] = value.into()
}

#[test]
fn the_command_mends_what_was_found() {
    check("mend-monitor", |snapshot| &mut snapshot.pod_monitors["items"][0], label("release", "x"));
    check("mend-rule", |snapshot| &mut snapshot.rules["items"][2], label("release", "x"));
    check(
        "mend-port",
        |snapshot| &mut snapshot.pod_monitors["items"][0],
        |monitor| monitor["spec"]["podMetricsEndpoints"][0]["port"] = "metrics".into(),
    );
    check(
        "mend-namespaces",
        |snapshot| &mut snapshot.pod_monitors["items"][0],
        |monitor| monitor["spec"]["namespaceSelector"] = serde_json::json!({"matchNames": ["b"]}),
    );
    check(
        "mend-selector",
        |snapshot| &mut snapshot.prometheuses["items"][0],
        |prometheus| prometheus["spec"]["podMonitorSelector"] = Value::Null,
    );
    check(
        "mend-pod",
        |snapshot| snapshot.pod(),
        |pod| drop(pod["metadata"]["labels"].as_object_mut().unwrap().remove("scoretap.dev/injected")),
    );
    // The tenant's namespace; the pod in it is as it was before anybody asked.
    let mut snapshot = Snapshot::sound();
    drop(
        snapshot.namespaces["items"][4]["metadata"]["labels"]
            .as_object_mut()
            .unwrap()
            .remove("scoretap.dev/injection"),
    );
    *snapshot.pod() = bare_pod();
    snapshot.services["items"][2]["spec"]["ports"][0]["targetPort"] = 8080.into();
    snapshot.targets["data"]["activeTargets"] = serde_json::json!([]);
    let (_, command) = snapshot.findings("mend-namespace").remove(0);
    let mended = changed(&command, &snapshot.namespaces["items"][4]);
    assert_eq!(mended["metadata"]["labels"]["scoretap.dev/injection"], "enabled");
}

/// With the scrape still failing, somebody else is to blame once the policy lets it in.
#[test]
fn a_network_policy_that_is_patched_admits() {
    let mut snapshot = Snapshot::sound();
    let policy = &mut snapshot.network_policies["items"][0];
    drop(policy["spec"]["ingress"].as_array_mut().unwrap().remove(0));
    crate::faults::down(&mut snapshot);
    let (what, command) = snapshot.findings("mend-policy").remove(0);
    assert!(what.contains("this NetworkPolicy"), "{what}");
    let mended = changed(&command, &snapshot.network_policies["items"][0]);
    snapshot.network_policies["items"][0] = mended;
    let (what, _) = snapshot.findings("mended-policy").remove(0);
    assert!(what.contains("cannot read the exporter"), "{what}");
}

#[test]
fn annotations_of_a_template_become_what_the_injector_takes() {
    let mut snapshot = Snapshot::sound();
    let mut pod = bare_pod();
    pod["metadata"]["annotations"]["scoretap.dev/app-port"] = "web".into();
    *snapshot.pod() = pod.clone();
    snapshot.services["items"][2]["spec"]["ports"][0]["targetPort"] = 8080.into();
    let (_, command) = snapshot.findings("mend-template").remove(0);
    let deployment = changed(&command, &snapshot.workloads["items"][1]);
    pod["metadata"]["annotations"] = deployment["spec"]["template"]["metadata"]["annotations"].clone();
    assert_eq!(injected(&pod)["metadata"]["labels"]["scoretap.dev/injected"], "true");
}

#[test]
fn a_service_that_is_patched_asks() {
    let mut snapshot = Snapshot::sound();
    let service = &mut snapshot.services["items"][2];
    *service = serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "scorer", "namespace": "tenant-a"},
        "spec": {"selector": {"app": "scorer"}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]}});
    let (_, command) = snapshot.findings("mend-service").remove(0);
    let service = changed(&command, &snapshot.services["items"][2]);
    assert_eq!(service["metadata"]["annotations"]["scoretap.dev/inject"], "true");
}

/// `k8s/` as somebody has it who changes it.
fn copy(folders: &Folders) -> PathBuf {
    let copy = folders.run.join("copy");
    fs::create_dir(&copy).unwrap();
    assert!(Command::new("cp").arg("-a").arg(crate::faults::k8s()).arg(&copy).status().unwrap().success());
    symlink(workspace::target(), copy.join("target")).unwrap();
    copy
}

fn kustomize(folder: &Path) -> String {
    let output = Command::new(tools::kubectl().unwrap()).arg("kustomize").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Before a cluster of this version, with what is in the copy.
fn deployed(copy: &Path, way: &str, minor: &str) -> Ended {
    let mut cluster = of_version("deploy-named", minor);
    let rendered = kustomize(&copy.join("k8s").join(way));
    cluster.instead(&format!("kubectl kustomize {}", k8s(way)), 0, &rendered);
    cluster.run("scoretap.sh", &["deploy"])
}

/// Each image of ours that is named below `k8s/istio`: the file, and the name with what stands before it.
fn images_for_istio(copy: &Path) -> String {
    let mut grep = Command::new("grep");
    let output =
        grep.args(["-roE", "[^ \"]*scoretap-[a-z]+:[0-9.]+"]).arg(copy.join("k8s/istio")).output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace(&copy.display().to_string(), "")
}

#[test]
fn deploy_takes_images_only_once_they_are_named_as_the_document_says() {
    let folders = Folders::create("operate-images").unwrap();
    let copy = copy(&folders);
    let document = fs::read_to_string(copy.join("k8s/operating.md")).unwrap();
    let shown = document.lines().filter_map(|line| line.strip_prefix("$ "));
    let commands: Vec<_> = shown
        .filter(|line| ["REGISTRY=", "target/dist/", "sed "].iter().any(|start| line.starts_with(start)))
        .collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    let ways =
        [("policy", "36", "scoretap-exporter:0.1.0\n"), ("webhook", "31", "scoretap-injector:0.1.0\n")];
    for (way, minor, image) in ways {
        let ended = deployed(&copy, way, minor);
        assert!(ended.code == 1 && ended.err.contains(&format!("\n{image}")), "{way}: {}", ended.err);
    }
    let before = images_for_istio(&copy);
    let wanted_for_istio =
        before.replace("registry.example/", "").replace("scoretap-", "registry.example/ml/scoretap-");
    assert!(before.lines().count() == 6 && before != wanted_for_istio, "{before}");
    // Again, as for a next version.
    for _ in 0..2 {
        let script = commands.join("\n");
        assert!(Command::new("sh").args(["-ec", &script]).current_dir(&copy).status().unwrap().success());
        for (way, minor, image) in ways {
            let ended = deployed(&copy, way, minor);
            assert_eq!(ended.code, 0, "{way}: {}", ended.err);
            let rendered = kustomize(&copy.join("k8s").join(way));
            assert!(rendered.contains(&format!("registry.example/ml/{}", image.trim_end())), "{rendered}");
        }
        assert_eq!(images_for_istio(&copy), wanted_for_istio);
    }
}

#[test]
fn the_overlay_that_the_document_shows_changes_the_objective() {
    let folders = Folders::create("operate-objective").unwrap();
    let copy = copy(&folders);
    let document = fs::read_to_string(copy.join("k8s/README.md")).unwrap();
    let (_, overlay) = document.split_once("```yaml\n").unwrap();
    let folder = copy.join("ours");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("kustomization.yaml"), overlay.split("```").next().unwrap()).unwrap();
    let rendered = kustomize(&folder);
    assert!(rendered.contains("expr: vector(0.999)") && !rendered.contains("vector(0.995)"), "{rendered}");
}

/// The labels and namespaces that `install.sh` replaces are written as it looks for them.
#[test]
fn what_is_installed_carries_the_release_and_the_namespace_where_they_are_replaced() {
    for folder in ["monitors/kube-prometheus-stack", "rules/operator", "dashboards/configmaps"] {
        let mut kubectl = Command::new(tools::kubectl().unwrap());
        let output =
            kubectl.arg("kustomize").arg(format!("{}/{folder}", crate::faults::k8s())).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let objects = text.split("\n---\n").count();
        assert_eq!(
            text.lines().filter(|line| *line == "  namespace: monitoring").count(),
            objects,
            "{folder}"
        );
        let released =
            text.lines().filter(|line| line.trim_start() == "release: kube-prometheus-stack").count();
        assert_eq!(released, if folder.starts_with("dashboards") { 0 } else { objects }, "{folder}");
    }
}
