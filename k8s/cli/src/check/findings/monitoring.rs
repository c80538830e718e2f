//! From monitors and rules to Prometheus: which Prometheus reads them, and why it does not.

use serde_json::{Value, json};

use super::View;
use crate::check::finding::Finding;
use crate::check::object::{at, is_ours, labels, name, namespace, patch, place, text_at};
use crate::check::selector::{selects, wanted_labels};
use crate::check::snapshot::{Kind, Snapshot};
use crate::check::subject::is_injected;
use crate::text::{word, words};

/// The field in the `spec` of a Prometheus that selects these objects, and their name for kubectl.
#[derive(Clone, Copy)]
struct Selection {
    kind: Kind,
    field: &'static str,
    resource: &'static str,
}

const POD_MONITORS: Selection =
    Selection { kind: Kind::PodMonitors, field: "podMonitor", resource: "podmonitors" };
const SERVICE_MONITORS: Selection =
    Selection { kind: Kind::ServiceMonitors, field: "serviceMonitor", resource: "servicemonitors" };
const RULES: Selection = Selection { kind: Kind::Rules, field: "rule", resource: "prometheusrules" };

/// The objects of a kind that the chart made.
pub(super) fn ours(snapshot: &Snapshot, kind: Kind) -> impl Iterator<Item = &Value> {
    snapshot.list(kind).iter().filter(|object| is_ours(object))
}

/// The Prometheus that reads our monitors. If none does, any Prometheus.
pub(crate) fn prometheus(snapshot: &Snapshot) -> Option<&Value> {
    let all = snapshot.list(Kind::Prometheuses);
    let reads = |prometheus: &&Value| {
        let mut monitors = ours(snapshot, Kind::PodMonitors);
        monitors.any(|monitor| is_read(monitor, prometheus, POD_MONITORS.field, snapshot))
    };
    all.iter().find(reads).or(all.first())
}

/// Whether some pod is measured. Otherwise Prometheus is not needed.
fn is_used(view: &View<'_>) -> bool {
    super::cluster::injects(view.snapshot) || view.snapshot.list(Kind::Pods).iter().any(is_injected)
}

/// The operator has no Prometheus.
pub(super) fn no_prometheus(view: &View<'_>) -> Vec<Finding> {
    let snapshot = view.snapshot;
    let is_missing = snapshot.has_seen(Kind::Prometheuses) && snapshot.list(Kind::Prometheuses).is_empty();
    if !is_missing || !is_used(view) {
        return Vec::new();
    }
    let why = "the cluster has no Prometheus of the prometheus-operator, so nothing stores the numbers and no alert fires; \
               `scoretap top` reads the pods meanwhile";
    vec![Finding::new("monitoring", why, "scoretap install --with-prometheus-stack")]
}

/// The command that installs our monitors and rules so that this Prometheus selects them.
fn install(prometheus: &Value) -> String {
    let release = labels(prometheus).get("release").and_then(Value::as_str);
    let release = release.map(|release| format!("monitoring.prometheusRelease={release}"));
    let namespace = namespace(prometheus);
    let namespace = (namespace != "monitoring").then(|| format!("monitoring.namespace={namespace}"));
    let sets: Vec<_> = release.into_iter().chain(namespace).collect();
    let flags = if sets.is_empty() { String::new() } else { format!(" --set {}", word(&sets.join(","))) };
    format!("scoretap install{flags}")
}

/// There is a Prometheus, but none of our monitors.
pub(super) fn no_monitor(view: &View<'_>) -> Vec<Finding> {
    missing(
        view,
        Kind::PodMonitors,
        "no PodMonitor of Scoretap's is installed, so it does not know the sidecars",
    )
}

/// There is a Prometheus, but none of our rules.
pub(super) fn no_rules(view: &View<'_>) -> Vec<Finding> {
    missing(view, Kind::Rules, "no PrometheusRule of Scoretap's is installed, so no alert can fire")
}

fn missing(view: &View<'_>, kind: Kind, why: &str) -> Vec<Finding> {
    let snapshot = view.snapshot;
    let is_missing = snapshot.has_seen(kind) && ours(snapshot, kind).next().is_none();
    // A ServiceMonitor can find the pods instead.
    let by_service = kind == Kind::PodMonitors && ours(snapshot, Kind::ServiceMonitors).any(reads_sidecars);
    let prometheus = prometheus(snapshot).filter(|_| is_missing && !by_service && is_used(view));
    prometheus
        .map(|prometheus| Finding::new(place(prometheus), why, install(prometheus)))
        .into_iter()
        .collect()
}

fn reads_sidecars(monitor: &Value) -> bool {
    at(monitor, "/spec/endpoints").any(|endpoint| text_at(endpoint, "/port") == "scoretap-stats")
}

/// Whether a Prometheus reads an object, by `FIELDSelector` and `FIELDNamespaceSelector`.
pub(super) fn is_read(object: &Value, prometheus: &Value, field: &str, snapshot: &Snapshot) -> bool {
    let by = selector(prometheus, field, "Selector");
    let within = selector(prometheus, field, "NamespaceSelector");
    let is_reached = if within.is_null() {
        namespace(object) == namespace(prometheus)
    } else {
        selects(within, snapshot.namespace_labels(namespace(object)))
            || within.as_object().is_some_and(serde_json::Map::is_empty)
    };
    selects(by, labels(object)) && is_reached
}

fn selector<'a>(prometheus: &'a Value, field: &str, which: &str) -> &'a Value {
    prometheus.pointer(&format!("/spec/{field}{which}")).unwrap_or(&crate::check::object::NULL)
}

/// Our monitors that no Prometheus reads.
pub(super) fn monitor_not_selected(view: &View<'_>) -> Vec<Finding> {
    [POD_MONITORS, SERVICE_MONITORS].iter().flat_map(|selection| unread(view, *selection)).collect()
}

/// Our rules that no Prometheus reads.
pub(super) fn rules_not_selected(view: &View<'_>) -> Vec<Finding> {
    unread(view, RULES)
}

fn unread(view: &View<'_>, selection: Selection) -> Vec<Finding> {
    let snapshot = view.snapshot;
    let Some(prometheus) = prometheus(snapshot) else { return Vec::new() };
    let unread = ours(snapshot, selection.kind)
        .filter(|object| !is_read(object, prometheus, selection.field, snapshot));
    unread.map(|object| explain(object, prometheus, selection)).collect()
}

fn explain(object: &Value, prometheus: &Value, selection: Selection) -> Finding {
    let Selection { field, resource, .. } = selection;
    let who = format!("Prometheus {}", name(prometheus));
    let (by, within) =
        (selector(prometheus, field, "Selector"), selector(prometheus, field, "NamespaceSelector"));
    let select_all = |which: &str| patch(prometheus, &json!({"spec": {format!("{field}{which}"): {}}}));
    let wanted = |selector: &Value| {
        let labels = wanted_labels(selector);
        words(labels.iter().map(String::as_str))
    };
    let (why, command) = if by.is_null() {
        (format!("{who} selects no {resource} at all"), select_all("Selector"))
    } else if !selects(by, labels(object)) {
        let own = word(namespace(object));
        let command = format!(
            "kubectl label {resource} -n {own} -l app.kubernetes.io/part-of=scoretap {} --overwrite",
            wanted(by)
        );
        (format!("{who} does not select its labels"), command)
    } else if within.is_null() {
        (format!("{who} reads only its own namespace"), select_all("NamespaceSelector"))
    } else {
        let command =
            format!("kubectl label namespace {} {} --overwrite", word(namespace(object)), wanted(within));
        (format!("{who} does not select its namespace"), command)
    };
    Finding::new(place(object), why, command)
}

/// Rules that the operator accepted but that Prometheus does not have.
pub(super) fn rules_not_loaded(view: &View<'_>) -> Vec<Finding> {
    let snapshot = view.snapshot;
    let (Some(prometheus), Some(groups)) = (prometheus(snapshot), &snapshot.prometheus.groups) else {
        return Vec::new();
    };
    let is_loaded = |group: &&Value| groups.iter().any(|loaded| loaded["name"] == group["name"]);
    let rules = ours(snapshot, Kind::Rules).filter(|rule| is_read(rule, prometheus, RULES.field, snapshot));
    let missing = rules.filter_map(|rule| {
        let group = at(rule, "/spec/groups").find(|group| !is_loaded(group))?;
        let why = format!(
            "Prometheus has not loaded its group {}: the operator refuses it, or has not come to it yet",
            text_at(group, "/name")
        );
        Some(Finding::new(place(rule), why, install(prometheus)))
    });
    missing.collect()
}
