//! A pod as the injector makes it.

use scoretap_injector::inject::{Decision, decide};
use scoretap_injector::settings::Settings;
use serde_json::{Value, json};

/// A pod that asks for the sidecar.
pub(crate) fn bare() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "scorer",
            "namespace": "tenant-a",
            "labels": {"app": "scorer"},
            "annotations": {"scoretap.dev/inject": "true"},
        },
        "spec": {
            "containers": [{
                "name": "app",
                "image": "registry.example/scorer:1",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            }],
        },
    })
}

/// The same pod with the sidecar.
pub(crate) fn injected() -> Value {
    match decide(&bare(), None, &Settings::default()) {
        Decision::Injected(pod) => *pod,
        other => panic!("{other:?}"),
    }
}
