//! Findings about injection.

use std::process::Command;

use scoretap_tests::cluster::Image;
use scoretap_tests::workspace;
use serde_json::{Value, json};

use super::{apply, asking, container, installed, kubectl, rolled_out, template, tenant, workload};
use crate::scoretap::{finds, is_gone, mends, prints, run};

#[test]
fn sound_workload_has_no_finding_about_it() {
    let cluster = installed();
    let namespace = tenant(cluster, "sound");
    apply(cluster, &namespace, &asking());
    rolled_out(cluster, &namespace);
    let found = crate::scoretap::findings(cluster, &[&namespace]);
    let ids: Vec<_> = found.iter().filter_map(|finding| finding["check"].as_str()).collect();
    assert_eq!(ids, ["no-prometheus"], "{found:#?}");
}

#[test]
fn annotation_on_workload_is_moved_to_its_pods() {
    let cluster = installed();
    let namespace = tenant(cluster, "misplaced");
    let mut list = workload(&json!({}));
    list["items"][0]["metadata"]["annotations"] = json!({"scoretap.dev/inject": "true"});
    apply(cluster, &namespace, &list);
    mends(cluster, &[&namespace], "annotation-on-workload", "deployment/scorer");
    rolled_out(cluster, &namespace);
    let pods = cluster.pods(&namespace);
    assert!(pods.iter().any(|pod| pod["metadata"]["labels"]["scoretap.dev/injected"] == "true"), "{pods:#?}");
}

#[test]
fn unlabelled_namespace_then_restart() {
    let cluster = installed();
    let namespace = cluster.namespace("unlabelled");
    apply(cluster, &namespace, &asking());
    rolled_out(cluster, &namespace);
    mends(cluster, &[&namespace], "namespace-not-labelled", "deployment/scorer");
    mends(cluster, &[&namespace], "pod-without-sidecar", "");
}

#[test]
fn refused_pod_gets_the_annotation_that_helps() {
    let cluster = installed();
    let namespace = tenant(cluster, "refused");
    let mut list = asking();
    container(&mut list)["ports"] =
        json!([{"name": "grpc", "containerPort": 8500}, {"name": "http", "containerPort": 8080}]);
    apply(cluster, &namespace, &list);
    let finding = finds(cluster, &[&namespace], "refused", "deployment/scorer");
    assert!(
        finding["command"].as_str().unwrap().contains(r#""scoretap.dev/app-port":"8080""#),
        "{finding:#}"
    );
    mends(cluster, &[&namespace], "refused", "deployment/scorer");
    rolled_out(cluster, &namespace);
}

#[test]
fn serverless_pod_is_left_alone() {
    let cluster = installed();
    let namespace = tenant(cluster, "serverless");
    let mut list = asking();
    let proxy =
        json!({"name": "queue-proxy", "image": "idle", "ports": [{"name": "http1", "containerPort": 8012}]});
    template(&mut list)["spec"]["containers"].as_array_mut().unwrap().push(proxy);
    apply(cluster, &namespace, &list);
    mends(cluster, &[&namespace], "serverless", "deployment/scorer");
}

/// The manifest that `scoretap inject` prints.
fn injected(list: &Value, flags: &[&str]) -> String {
    let cluster = installed();
    let mut command = Command::new(workspace::cli());
    command.args(["inject", "-f", "-"]).args(flags);
    let output = cluster.run_stdin(command, &list.to_string()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn image_that_cannot_be_pulled() {
    let cluster = installed();
    let namespace = tenant(cluster, "unpulled");
    let manifest = injected(&asking(), &["--exporter-image", "registry.example/nowhere:1"]);
    cluster.kubectl_stdin(&["apply", "-n", &namespace, "-f", "-"], &manifest).unwrap();
    let finding = finds(cluster, &[&namespace], "image-not-pulled", "");
    assert!(finding["why"].as_str().unwrap().contains("registry.example/nowhere:1"), "{finding:#}");
    crate::scoretap::shell(cluster, finding["command"].as_str().unwrap());
}

#[test]
fn sidecar_that_crashes() {
    let cluster = installed();
    let namespace = tenant(cluster, "crash");
    cluster.image("crash", Image::default().entrypoint(&["sh", "-c", "echo broken; exit 3"]));
    cluster.image("crash-envoy", Image::default().entrypoint(&["false"]));
    let mut list = asking();
    template(&mut list)["metadata"]["annotations"]["scoretap.dev/pre-stop"] = "false".into();
    let manifest = injected(&list, &["--envoy-image", "crash-envoy:1"]);
    cluster.kubectl_stdin(&["apply", "-n", &namespace, "-f", "-"], &manifest).unwrap();
    let finding = finds(cluster, &[&namespace], "sidecar-crashes", "");
    assert!(finding["why"].as_str().unwrap().contains("scoretap-envoy"), "{finding:#}");
}

#[test]
fn moved_app_that_keeps_its_port() {
    let cluster = installed();
    let namespace = tenant(cluster, "silent");
    let mut list = asking();
    container(&mut list)["image"] = "app".into();
    // The shell removes the variable.
    container(&mut list)["command"] = json!(["sh", "-c", "unset LISTEN; exec app --port 8080"]);
    template(&mut list)["metadata"]["annotations"]["scoretap.dev/move-app"] = "env LISTEN".into();
    apply(cluster, &namespace, &list);
    mends(cluster, &[&namespace], "moved-app-silent", "");
}

#[test]
fn check_before_injection_says_what_would_happen() {
    let cluster = installed();
    let namespace = cluster.namespace("before");
    let mut list = workload(&json!({}));
    template(&mut list)["metadata"]["annotations"] = Value::Null;
    apply(cluster, &namespace, &list);
    rolled_out(cluster, &namespace);
    let target = ["deployment/scorer", "-n", &namespace];
    let shown = prints(cluster, &[&["check"], &target[..]].concat(), 1);
    assert!(shown.contains("calls to Service scorer reach port 8080 by name: measured"), "{shown}");
    mends(cluster, &target, "namespace-not-labelled", "deployment/scorer");
    kubectl(cluster, &format!("rollout restart deployment/scorer -n {namespace}"));
    rolled_out(cluster, &namespace);
    let pods = cluster.pods(&namespace);
    let injected = |pod: &Value| pod["metadata"]["labels"]["scoretap.dev/injected"] == "true";
    assert!(!pods.iter().any(injected), "checking asked for nothing: {pods:#?}");
    is_gone(cluster, &target, "pod-without-sidecar");
}

#[test]
fn wrong_usage_and_unreachable_cluster_have_own_status() {
    let cluster = installed();
    #[track_caller]
    fn check(args: &[&str], status: i32, says: &str) {
        let output = run(installed(), args);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {err}");
        assert!(err.contains(says), "{args:?}: {err}");
    }
    check(&["check", "service/scorer"], 2, "write deployment/NAME");
    check(&["check", "no-such-namespace"], 2, "there is no namespace");
    check(&["check", "deployment/none", "-n", "default"], 2, "kubectl get deployments -n default");
    check(&["check", "--nonsense"], 2, "unexpected argument");
    check(&["--context", "none", "check"], 3, "kubectl config get-contexts");
    check(&["uninstall"], 2, "--yes");
    let mut command = Command::new("env");
    command.args(["PATH=/nowhere"]).arg(workspace::cli()).arg("check");
    let output = cluster.run(command).unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("kubectl is not on PATH"), "{err}");
}
