//! Istio: a pod needs one Envoy, and one object that measures it.

use serde_json::Value;

use super::View;
use crate::check::finding::Finding;
use crate::check::object::{
    annotation, at, has_container, is_ours, kubectl, label, labels, namespace, place, text, text_at,
};
use crate::check::selector::selects;
use crate::check::snapshot::{Kind, Snapshot};
use crate::check::subject::is_injected;
use scoretap_injector::annotations::INJECT;

/// A pod has both Istio's Envoy and ours.
pub(super) fn two_envoys(view: &View<'_>) -> Vec<Finding> {
    let meshed = |pod: &Value| {
        has_container(pod, "istio-proxy") || label(pod, "sidecar.istio.io/inject") == Some("true")
    };
    let both = view.subjects.iter().filter(|subject| {
        let ours = subject.asks() && !subject.is_refused()
            || subject.pods.iter().any(|pod| has_container(pod, "scoretap-envoy"));
        ours && (meshed(&subject.template) || subject.pods.iter().any(|pod| meshed(pod)))
    });
    both.map(|subject| {
        let why = "its pods have Istio's sidecar, and its calls would pass two Envoys; install Scoretap's filter into \
                   Istio's own (--set istio.enabled=true) and do not inject";
        Finding::new(subject.place(), why, subject.annotate(&[(INJECT, None)]))
    })
    .collect()
}

/// A WasmPlugin and a TrafficExtension measure the same pods.
pub(super) fn counted_twice(view: &View<'_>) -> Vec<Finding> {
    let ours =
        |kind| view.snapshot.list(kind).iter().filter(|object| is_ours(object) || loads_filter(object));
    let pairs = ours(Kind::WasmPlugins).filter_map(|plugin| {
        let other = ours(Kind::TrafficExtensions).find(|other| overlap(plugin, other))?;
        let why = format!(
            "it loads the filter into the same proxies as {}: each call is counted twice",
            place(other)
        );
        Some(Finding::new(place(plugin), why, kubectl("delete", plugin)))
    });
    pairs.collect()
}

/// Whether an Istio object loads our module.
fn loads_filter(object: &Value) -> bool {
    let urls = ["/spec/url", "/spec/wasm/url"];
    urls.iter().any(|pointer| text_at(object, pointer).contains("scoretap-filter"))
}

/// Objects in Istio's root namespace apply to every namespace.
fn overlap(one: &Value, other: &Value) -> bool {
    const ROOT: &str = "istio-system";
    let (one, other) = (namespace(one), namespace(other));
    one == other || one == ROOT || other == ROOT
}

const EXCLUDE: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
const INCLUDE: &str = "traffic.sidecar.istio.io/includeInboundPorts";

/// The value of `excludeInboundPorts` that admits Prometheus if STRICT mTLS keeps it out.
pub(super) fn exclusion(pod: &Value, snapshot: &Snapshot) -> Option<(&'static str, String)> {
    let excluded = annotation(pod, EXCLUDE).unwrap_or_default();
    let has_ours = |ports: &str| ports.split(',').any(|port| ["15190", "*"].contains(&port.trim()));
    let is_captured = annotation(pod, INCLUDE).is_none_or(has_ours) && !has_ours(excluded);
    let stands =
        has_container(pod, "istio-proxy") && is_injected(pod) && is_captured && is_strict(pod, snapshot);
    let ports = excluded.split(',').map(str::trim).filter(|port| !port.is_empty()).chain(["15190"]);
    stands.then(|| (EXCLUDE, ports.collect::<Vec<_>>().join(",")))
}

/// Whether Istio rejects plain-text calls to the exporter. The pod's own policy wins over its namespace's, which wins
/// over the mesh's.
fn is_strict(pod: &Value, snapshot: &Snapshot) -> bool {
    let within = |place: &str| {
        snapshot
            .list(Kind::PeerAuthentications)
            .iter()
            .filter(move |peer| namespace(peer) == place)
            .collect::<Vec<_>>()
    };
    let near = within(namespace(pod));
    let selector = |peer: &Value| peer.pointer("/spec/selector").cloned().unwrap_or_default();
    let own: Vec<_> = near.iter().filter(|peer| selects(&selector(peer), labels(pod))).collect();
    let general = |peer: &&&Value| selector(peer).is_null();
    let by_port = own.iter().map(|peer| text_at(peer, "/spec/portLevelMtls/15190/mode"));
    let mesh = within("istio-system");
    let others = own.iter().copied().chain(near.iter().filter(general)).chain(mesh.iter().filter(general));
    let modes = by_port.chain(others.map(|peer| text_at(peer, "/spec/mtls/mode")));
    modes.into_iter().find(|mode| !mode.is_empty() && *mode != "UNSET") == Some("STRICT")
}

/// The container whose log has the filter's messages.
pub(super) fn envoy_of(pod: &Value) -> &'static str {
    let ours =
        at(pod, "/spec/initContainers").any(|container| text(container, "name") == Some("scoretap-envoy"));
    if ours { "scoretap-envoy" } else { "istio-proxy" }
}
