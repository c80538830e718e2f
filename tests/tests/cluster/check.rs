//! `scoretap check` on a real API server. The tests cause every finding and run the printed command, which must fix it.

mod injection;
mod installation;
mod monitoring;
mod resources;
mod traffic;

use std::sync::LazyLock;

use scoretap_tests::cluster::{Cluster, Version};
use serde_json::{Value, json};

use crate::scoretap::prints;

/// A cluster where the packaged command has installed Scoretap with admission policies.
fn installed() -> &'static Cluster {
    static INSTALLED: LazyLock<Cluster> = LazyLock::new(|| {
        let cluster = Cluster::alone("check", Version::V1_37);
        prints(&cluster, &["install"], 0);
        cluster
    });
    &INSTALLED
}

const OPT_IN: (&str, &str) = ("scoretap.dev/injection", "enabled");

/// A namespace with the label for injection.
fn tenant(cluster: &Cluster, name: &str) -> String {
    cluster.namespace_with(name, &[OPT_IN])
}

/// A Deployment of one idle pod with these annotations and a port named `http`, and a Service that targets the port by
/// name.
fn workload(annotations: &Value) -> Value {
    let labels = json!({"app": "scorer"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "scorer"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"containers": [{
                "name": "scorer", "image": "idle", "ports": [{"name": "http", "containerPort": 8080}],
            }]},
        }},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "scorer"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": "http"}]},
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [deployment, service]})
}

fn asking() -> Value {
    workload(&json!({"scoretap.dev/inject": "true"}))
}

/// The pod template of the Deployment that [`workload`] returns.
fn template(list: &mut Value) -> &mut Value {
    &mut list["items"][0]["spec"]["template"]
}

fn container(list: &mut Value) -> &mut Value {
    &mut template(list)["spec"]["containers"][0]
}

fn service(list: &mut Value) -> &mut Value {
    &mut list["items"][1]
}

#[track_caller]
fn apply(cluster: &Cluster, namespace: &str, object: &Value) {
    cluster.kubectl_stdin(&["apply", "-n", namespace, "-f", "-"], &object.to_string()).unwrap();
}

#[track_caller]
fn kubectl(cluster: &Cluster, line: &str) {
    cluster.kubectl(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
}

/// Waits until all pods of the Deployment match its template and are ready.
#[track_caller]
fn rolled_out(cluster: &Cluster, namespace: &str) {
    kubectl(cluster, &format!("rollout status deployment/scorer --timeout=120s -n {namespace}"));
}

/// Creates the CRD of an operator's kind, without its schema.
#[track_caller]
fn define(cluster: &Cluster, group: &str, version: &str, kind: &str) {
    let singular = kind.to_ascii_lowercase();
    let plural = if singular.ends_with('s') { format!("{singular}es") } else { format!("{singular}s") };
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": singular},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": open}}],
        },
    });
    cluster.kubectl_stdin(&["apply", "-f", "-"], &definition.to_string()).unwrap();
    kubectl(cluster, &format!("wait --for=condition=Established crd/{plural}.{group} --timeout=60s"));
}
