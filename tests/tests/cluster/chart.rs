//! A cluster for the chart's tests, with the custom resources that the chart creates.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use scoretap_tests::cluster::{Cluster, Version};
use scoretap_tests::tools;

/// Namespaces that rendered cases use. A cluster with Prometheus has `monitoring`.
pub(crate) const NAMESPACES: [&str; 5] =
    ["scoretap-system", "monitoring", "istio-system", "tenant-a", "tenant-b"];

/// Its own cluster, because objects of the chart are cluster-wide and have fixed names.
pub(crate) static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::alone("chart", Version::V1_37);
    for namespace in NAMESPACES {
        cluster.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    for file in tools::custom_resource_definitions().unwrap() {
        cluster.kubectl(&["create", "-f", file.to_str().unwrap()]).unwrap();
    }
    // Azure's monitors are those of the prometheus-operator in another group.
    for file in tools::custom_resource_definitions().unwrap() {
        if ["podmonitors", "servicemonitors"].iter().any(|kind| file.to_string_lossy().contains(kind)) {
            let text = std::fs::read_to_string(file).unwrap();
            let text = text.replace("monitoring.coreos.com", "azmonitoring.coreos.com");
            cluster.kubectl_stdin(&["create", "-f", "-"], &text).unwrap();
        }
    }
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
    cluster
});

/// Waits for this test's turn, because a release and a dry run of the same objects would conflict.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
