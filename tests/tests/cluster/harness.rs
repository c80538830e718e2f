//! The node runs what a pod's stored spec says.

use std::time::Duration;

use scoretap_tests::cluster::Cluster;
use scoretap_tests::wait::wait_until;

#[test]
fn idle_pod_becomes_ready_and_goes() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("harness");
    cluster
        .kubectl(&["create", "deployment", "idle", "--image=idle", "--replicas=2", "-n", &namespace])
        .unwrap();
    cluster.kubectl(&["rollout", "status", "deployment/idle", "--timeout=60s", "-n", &namespace]).unwrap();
    cluster.kubectl(&["delete", "deployment", "idle", "-n", &namespace]).unwrap();
    wait_until("the pods are gone", Duration::from_secs(60), || {
        cluster.api().list(&format!("/api/v1/namespaces/{namespace}/pods")).unwrap().is_empty()
    });
}
