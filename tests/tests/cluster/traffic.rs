//! A Service keeps its endpoints and their ports, even if injection fails.

use scoretap_tests::cluster::{Cluster, Seen};
use scoretap_tests::http::Call;
use scoretap_tests::wait::wait_until;
use serde_json::{Value, json};

use crate::support::{
    DEADLINE, INJECTED_NAMESPACE, Workload, counted, is_injected, ports, rolled_out, wait_for_ports,
    with_policies,
};

const INJECT: &str = "scoretap.dev/inject";
/// Envoy's port in front of an app that did not move.
const ENVOY: u16 = 15100;
const APP: u16 = 8080;

fn score() -> Call {
    Call::post("/score", "{}")
}

#[track_caller]
fn assert_served(seen: &Seen, backends: usize) {
    assert!(
        seen.failed.is_empty(),
        "{} of {} calls failed: {:?}",
        seen.failed.len(),
        seen.answered,
        seen.failed
    );
    assert!(seen.answered > 20, "{}", seen.answered);
    assert!(seen.fewest_backends >= Some(backends), "{:?}", seen.fewest_backends);
}

#[test]
fn rollout_and_rollback_keep_all_endpoints() {
    let cluster = with_policies();
    let namespace = cluster.namespace_with("rollout", INJECTED_NAMESPACE);
    let plain = Workload::new("app", 3);
    plain.roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[APP; 3]);
    let callers = cluster.callers(&namespace, "app", score());

    plain.clone().annotate(INJECT, "true").roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[ENVOY; 3]);
    assert!(cluster.pods(&namespace).iter().filter(|pod| is_injected(pod)).count() == 3);
    wait_until("calls are counted", DEADLINE, || counted(cluster, &namespace) > 0.0);

    cluster.kubectl(&["rollout", "undo", "deployment/app", "-n", &namespace]).unwrap();
    rolled_out(cluster, &namespace, "app");
    wait_for_ports(cluster, &namespace, &[APP; 3]);
    assert_served(&callers.stop(), 3);
}

#[test]
fn annotation_with_typo_keeps_all_endpoints() {
    let cluster = with_policies();
    let namespace = cluster.namespace_with("typo", INJECTED_NAMESPACE);
    let plain = Workload::new("app", 2);
    plain.roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[APP; 2]);
    let callers = cluster.callers(&namespace, "app", score());
    let typo = plain.annotate(INJECT, "true").annotate("scoretap.dev/app-port", "htpp");
    typo.roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[APP; 2]);
    assert!(!cluster.pods(&namespace).iter().any(is_injected));
    assert_served(&callers.stop(), 2);
}

#[test]
fn canary_and_stable_pods_share_a_service() {
    let cluster = with_policies();
    let namespace = cluster.namespace_with("canary", INJECTED_NAMESPACE);
    Workload::new("stable", 2).roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[APP; 2]);
    let callers = cluster.callers(&namespace, "app", score());
    Workload::new("canary", 1).annotate(INJECT, "true").roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[APP, APP, ENVOY]);
    wait_until("the canary's calls are counted", DEADLINE, || counted(cluster, &namespace) > 0.0);
    assert_served(&callers.stop(), 2);
}

/// An app that reads its port from `$PORT`, behind a Service with a numeric target port.
fn moving(app: impl FnOnce(&mut Value)) -> Workload {
    Workload::new("app", 2).target_port(APP).app(|container| {
        container["env"] = json!([{"name": "PORT", "value": APP.to_string()}]);
        app(container);
    })
}

fn moved(workload: &Workload) -> Workload {
    workload.clone().annotate(INJECT, "true").annotate("scoretap.dev/move-app", "env PORT")
}

#[test]
fn moved_app_is_measured_behind_its_number() {
    let cluster = with_policies();
    let namespace = cluster.namespace_with("move", INJECTED_NAMESPACE);
    let plain = moving(|_| {});
    plain.roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[APP; 2]);
    let callers = cluster.callers(&namespace, "app", score());
    moved(&plain).roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[APP; 2]);
    assert_eq!(cluster.pods(&namespace).iter().filter(|pod| is_injected(pod)).count(), 2);
    wait_until("calls are counted", DEADLINE, || counted(cluster, &namespace) > 0.0);
    assert_served(&callers.stop(), 2);
}

#[test]
fn privileged_port_moves_without_privileges() {
    let cluster = with_policies();
    let namespace = cluster.namespace_with("move", INJECTED_NAMESPACE);
    let workload = moving(|container| {
        container["env"][0]["value"] = json!("80");
        container["ports"][0]["containerPort"] = json!(80);
    });
    let workload = moved(&workload.target_port(80));
    workload.roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[80, 80]);
    assert_eq!(cluster.call(&namespace, "app", score()).unwrap().status, 200);
    wait_until("the call is counted", DEADLINE, || counted(cluster, &namespace) > 0.0);
}

/// Rolls out an app that ignores `move-app` and keeps its port. The roll-out stops, and the old pods keep serving.
fn stays(name: &str, args: &Value) {
    let cluster = with_policies();
    let namespace = cluster.namespace_with(name, INJECTED_NAMESPACE);
    let plain = moving(|container| container["args"] = args.clone());
    plain.roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[APP; 2]);
    let callers = cluster.callers(&namespace, "app", score());
    let mut moved = moved(&plain);
    moved.deployment["spec"]["progressDeadlineSeconds"] = json!(15);
    moved.apply(cluster, &namespace);
    wait_until("the roll-out stops", DEADLINE, || {
        progress(cluster, &namespace) == "ProgressDeadlineExceeded"
    });
    assert_eq!(ports(cluster, &namespace), [APP; 2]);
    let ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    let pods = cluster.pods(&namespace);
    assert!(pods.iter().any(is_injected), "{pods:?}");
    assert!(!pods.iter().any(|pod| is_injected(pod) && ready(pod)));
    assert_served(&callers.stop(), 2);
}

fn progress(cluster: &Cluster, namespace: &str) -> String {
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/app");
    let deployment = cluster.api().get(&path).unwrap();
    let conditions = deployment["status"]["conditions"].as_array();
    let progressing = conditions.into_iter().flatten().find(|one| one["type"] == "Progressing");
    progressing.and_then(|one| one["reason"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn app_that_ignores_the_variable_stops_the_rollout() {
    stays("ignores", &json!(["--port", "8080"]));
}

#[test]
fn app_that_shares_its_port_stops_the_rollout() {
    stays("shares", &json!(["--port=8080", "--reuse-port"]));
}

#[test]
fn envoy_out_of_memory_stops_the_rollout() {
    let cluster = with_policies();
    let namespace = cluster.namespace_with("memory", INJECTED_NAMESPACE);
    let plain = Workload::new("app", 2);
    plain.roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[APP; 2]);
    let callers = cluster.callers(&namespace, "app", score());
    let small = plain
        .annotate(INJECT, "true")
        .annotate("scoretap.dev/memory-request", "4Mi")
        .annotate("scoretap.dev/memory-limit", "8Mi");
    small.apply(cluster, &namespace);
    wait_until("Envoy is killed again and again", DEADLINE, || {
        cluster.pods(&namespace).iter().any(|pod| {
            let envoy = envoy_status(pod);
            envoy["restartCount"].as_u64() > Some(1)
                && envoy["state"]["waiting"]["reason"] == "CrashLoopBackOff"
                && envoy["lastState"]["terminated"]["reason"] == "OOMKilled"
        })
    });
    assert_eq!(ports(cluster, &namespace), [APP; 2]);
    assert_served(&callers.stop(), 2);
}

fn envoy_status(pod: &Value) -> Value {
    let statuses = pod["status"]["initContainerStatuses"].as_array();
    statuses.into_iter().flatten().find(|one| one["name"] == "scoretap-envoy").cloned().unwrap_or_default()
}

#[test]
fn killed_envoy_comes_back_behind_the_service() {
    let cluster = with_policies();
    let namespace = cluster.namespace_with("killed", INJECTED_NAMESPACE);
    Workload::new("app", 2).annotate(INJECT, "true").roll_out(cluster, &namespace);
    wait_for_ports(cluster, &namespace, &[ENVOY; 2]);
    let pod = cluster.pods(&namespace)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let callers = cluster.callers(&namespace, "app", score());
    cluster.kill(&namespace, &pod, "scoretap-envoy");
    wait_until("Envoy has started again", DEADLINE, || {
        let pods = cluster.pods(&namespace);
        let envoy =
            pods.iter().find(|one| one["metadata"]["name"] == *pod).map(envoy_status).unwrap_or_default();
        envoy["restartCount"] == 1 && envoy["ready"] == true
    });
    wait_for_ports(cluster, &namespace, &[ENVOY; 2]);
    let failed = callers.seen().failed.len();
    let answered = callers.seen().answered;
    wait_until("calls are answered again", DEADLINE, || callers.seen().answered > answered + 20);
    let seen = callers.stop();
    assert_eq!(seen.failed.len(), failed, "{:?}", seen.failed);
    // The other pod answered throughout. Calls to this pod were refused and never hung.
    assert!(seen.failed.iter().all(|failure| failure.contains("connection")), "{:?}", seen.failed);
}
