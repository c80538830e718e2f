//! Findings about the installation. These tests have their own cluster, because they affect every pod in it.

use scoretap_tests::cluster::{Cluster, Version};
use scoretap_tests::wait::wait_until;
use serde_json::json;

use super::{apply, asking, kubectl, rolled_out, tenant};
use crate::scoretap::{DEADLINE, finds, is_gone, mends, prints, shell};

#[test]
fn installation_faults_are_found_and_mended() {
    let cluster = &Cluster::alone("check-installation", Version::V1_37);
    nothing_injects(cluster);
    damaged_policy(cluster);
    webhook_beside_policy(cluster);
    let namespace = webhook(cluster);
    dead_webhook(cluster);
    black_hole(cluster, &namespace);
    certificate(cluster);
}

fn nothing_injects(cluster: &Cluster) {
    finds(cluster, &[], "nothing-injects", "cluster");
    let namespace = tenant(cluster, "waiting");
    apply(cluster, &namespace, &asking());
    rolled_out(cluster, &namespace);
    mends(cluster, &[&namespace], "nothing-injects", "deployment/scorer");
    mends(cluster, &[&namespace], "pod-without-sidecar", "");
    rolled_out(cluster, &namespace);
    upgrade(cluster, &namespace);
}

/// The API server accepts a policy that injects nothing and reports no error.
fn damaged_policy(cluster: &Cluster) {
    kubectl(cluster, "delete mutatingadmissionpolicybinding scoretap-pods");
    mends(cluster, &[], "injection-fails", "");
}

fn webhook_beside_policy(cluster: &Cluster) {
    let webhook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "scoretap-injector", "labels": {"app.kubernetes.io/part-of": "scoretap"}}, "webhooks": []});
    cluster.kubectl_stdin(&["apply", "-f", "-"], &webhook.to_string()).unwrap();
    finds(cluster, &[], "webhook-and-policy", "scoretap-injector");
    kubectl(cluster, "delete mutatingwebhookconfiguration scoretap-injector");
    is_gone(cluster, &[], "webhook-and-policy");
}

/// Changes from the policy to the webhook, which has to inject afterwards.
fn webhook(cluster: &Cluster) -> String {
    prints(cluster, &["install", "--set", "mode=webhook"], 0);
    kubectl(cluster, "rollout status deployment/scoretap-injector -n scoretap-system --timeout=120s");
    is_gone(cluster, &[], "injection-fails");
    tenant(cluster, "webhook")
}

/// After an upgrade, new pods get another image.
fn upgrade(cluster: &Cluster, namespace: &str) {
    prints(cluster, &["install", "--set", "images.exporter.tag=next"], 0);
    mends(cluster, &[namespace], "sidecar-outdated", "");
    rolled_out(cluster, namespace);
}

fn dead_webhook(cluster: &Cluster) {
    kubectl(cluster, "scale deployment scoretap-injector -n scoretap-system --replicas=0");
    let finding = finds(cluster, &[], "injector-down", "scoretap-injector");
    shell(cluster, finding["command"].as_str().unwrap());
    kubectl(cluster, "scale deployment scoretap-injector -n scoretap-system --replicas=1");
    kubectl(cluster, "rollout status deployment/scoretap-injector -n scoretap-system --timeout=120s");
    is_gone(cluster, &[], "injector-down");
}

/// The Service targets an address that does not answer.
fn black_hole(cluster: &Cluster, namespace: &str) {
    let service = "service scoretap-injector -n scoretap-system";
    kubectl(
        cluster,
        &format!("patch {service} --type=json -p [{{\"op\":\"remove\",\"path\":\"/spec/selector\"}}]"),
    );
    kubectl(cluster, "delete endpointslices --all -n scoretap-system");
    // No pod has this address.
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "hole", "labels": {"kubernetes.io/service-name": "scoretap-injector"}},
        "endpoints": [{"addresses": ["10.244.255.254"], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}, {"name": "", "port": 8443, "protocol": "TCP"}]});
    apply(cluster, "scoretap-system", &slice);
    // The API server keeps its connection to the webhook while the pod exists.
    kubectl(cluster, "rollout restart deployment/scoretap-injector -n scoretap-system");
    kubectl(cluster, "rollout status deployment/scoretap-injector -n scoretap-system --timeout=180s");
    // While the old pod closes the API server's connection, a call can still fail at once.
    wait_until("calls to the webhook get no answer", DEADLINE, || {
        let finding = finds(cluster, &[namespace], "injection-fails", namespace);
        finding["why"].as_str().unwrap().contains("get no answer")
    });
    kubectl(cluster, "delete endpointslice hole -n scoretap-system");
    kubectl(cluster, &format!("delete {service}"));
    prints(cluster, &["install"], 0);
    is_gone(cluster, &[namespace], "injection-fails");
}

fn certificate(cluster: &Cluster) {
    kubectl(cluster, "delete secret scoretap-injector-tls -n scoretap-system");
    prints(cluster, &["install", "--set", "injector.tls.days=10"], 0);
    finds(cluster, &[], "certificate-ends", "secret/scoretap-injector-tls");
    // Helm renews a certificate only in its last third, and this one is new.
    kubectl(cluster, "delete secret scoretap-injector-tls -n scoretap-system");
    prints(cluster, &["install", "--set", "injector.tls.days=365"], 0);
    is_gone(cluster, &[], "certificate-ends");
}
