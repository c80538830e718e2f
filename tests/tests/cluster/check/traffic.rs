//! Findings about Services, NetworkPolicies and Istio.

use scoretap_tests::cluster::Cluster;
use serde_json::{Value, json};

use super::{apply, asking, container, define, installed, rolled_out, service, template, tenant, workload};
use crate::scoretap::{finds, is_gone, mends};

#[test]
fn service_by_number_is_led_by_name() {
    let cluster = installed();
    let namespace = tenant(cluster, "number");
    let mut list = asking();
    service(&mut list)["spec"]["ports"][0]["targetPort"] = 8080.into();
    apply(cluster, &namespace, &list);
    rolled_out(cluster, &namespace);
    mends(cluster, &[&namespace], "service-by-number", "service/scorer");
    let backends = cluster.backends(&namespace, "scorer");
    assert!(
        backends.iter().all(|backend| backend.socket().is_some_and(|socket| socket.port() == 15_100)),
        "{backends:?}"
    );
}

#[test]
fn port_without_name_is_named() {
    let cluster = installed();
    let namespace = tenant(cluster, "unnamed");
    let mut list = asking();
    container(&mut list)["ports"] = json!([{"containerPort": 8080}]);
    service(&mut list)["spec"]["ports"][0]["targetPort"] = 8080.into();
    apply(cluster, &namespace, &list);
    rolled_out(cluster, &namespace);
    mends(cluster, &[&namespace], "port-without-name", "deployment/scorer");
    rolled_out(cluster, &namespace);
    // The check reports the Service only after the pods have the name.
    mends(cluster, &[&namespace], "service-by-number", "service/scorer");
}

#[test]
fn known_server_moves_its_port() {
    let cluster = installed();
    let namespace = tenant(cluster, "move");
    let mut list = asking();
    container(&mut list)["ports"] = json!([{"containerPort": 8080}]);
    container(&mut list)["command"] = json!(["uvicorn", "app:app", "--port", "8080"]);
    service(&mut list)["spec"]["ports"][0]["targetPort"] = 8080.into();
    apply(cluster, &namespace, &list);
    rolled_out(cluster, &namespace);
    let finding = finds(cluster, &[&namespace], "port-without-name", "deployment/scorer");
    assert!(
        finding["command"].as_str().unwrap().contains(r#""scoretap.dev/move-app":"arg --port""#),
        "{finding:#}"
    );
    mends(cluster, &[&namespace], "port-without-name", "deployment/scorer");
    is_gone(cluster, &[&namespace], "service-by-number");
}

#[test]
fn headless_service_is_told_to_move_the_app() {
    let cluster = installed();
    let namespace = tenant(cluster, "headless");
    let mut list = asking();
    service(&mut list)["spec"]["clusterIP"] = "None".into();
    apply(cluster, &namespace, &list);
    rolled_out(cluster, &namespace);
    mends(cluster, &[&namespace], "headless-service", "service/scorer");
}

fn policy(cluster: &Cluster, namespace: &str, labels: &Value, ports: &Value) {
    let ingress = json!([{"ports": ports}, {"ports": [{"port": 15190}]}]);
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "own", "labels": labels},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress}});
    apply(cluster, namespace, &policy);
}

/// The check reports the policy's fault before and after injection, and its command fixes it.
#[track_caller]
fn check_policy(name: &str, target: &Value, ports: &Value, id: &str) {
    let cluster = installed();
    for annotations in [json!({"team": "a"}), json!({"scoretap.dev/inject": "true"})] {
        let namespace = tenant(cluster, name);
        let mut list = workload(&annotations);
        service(&mut list)["spec"]["ports"][0]["targetPort"] = target.clone();
        apply(cluster, &namespace, &list);
        policy(cluster, &namespace, &json!({}), ports);
        rolled_out(cluster, &namespace);
        mends(cluster, &["deployment/scorer", "-n", &namespace], id, "networkpolicy/own");
    }
}

#[test]
fn policy_by_number_admits_envoy() {
    check_policy("by-number", &"http".into(), &json!([{"port": 8080}]), "policy-shuts-envoy-out");
}

#[test]
fn policy_by_name_admits_the_app() {
    check_policy("by-name", &8080.into(), &json!([{"port": "http"}]), "policy-shuts-app-out");
}

#[test]
fn our_policy_alone_is_opened() {
    let cluster = installed();
    let namespace = tenant(cluster, "closed");
    apply(cluster, &namespace, &asking());
    policy(cluster, &namespace, &json!({"app.kubernetes.io/part-of": "scoretap"}), &json!([{"port": 15191}]));
    mends(cluster, &[&namespace], "policy-closes-pods", "networkpolicy/own");
}

#[test]
fn pods_with_istios_sidecar_have_one_envoy() {
    let cluster = installed();
    let namespace = tenant(cluster, "two-envoys");
    let mut list = asking();
    let proxy = json!({"name": "istio-proxy", "image": "idle"});
    template(&mut list)["spec"]["containers"].as_array_mut().unwrap().push(proxy);
    apply(cluster, &namespace, &list);
    mends(cluster, &[&namespace], "two-envoys", "deployment/scorer");
}

#[test]
fn wasm_plugin_beside_traffic_extension_is_removed() {
    let cluster = installed();
    let namespace = tenant(cluster, "twice");
    let labels = json!({"app.kubernetes.io/part-of": "scoretap"});
    for kind in ["WasmPlugin", "TrafficExtension"] {
        define(cluster, "extensions.istio.io", "v1alpha1", kind);
        let object = json!({"apiVersion": "extensions.istio.io/v1alpha1", "kind": kind,
            "metadata": {"name": "scoretap", "labels": labels}, "spec": {}});
        apply(cluster, &namespace, &object);
    }
    mends(cluster, &[&namespace], "counted-twice", "wasmplugin/scoretap");
    cluster.kubectl(&["delete", "trafficextension", "scoretap", "-n", &namespace]).unwrap();
}
