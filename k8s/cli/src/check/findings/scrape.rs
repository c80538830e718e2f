//! From Prometheus to a pod: monitor, target, exporter, Envoy.

use serde_json::{Value, json};

use super::View;
use super::istio::{envoy_of, exclusion};
use super::monitoring::{is_read, ours, prometheus};
use super::network::{admits, closing};
use crate::check::finding::Finding;
use crate::check::object::{
    NULL, at, containers, kubectl, label, labels, name, namespace, patch, patch_step, place, seconds,
    statuses, text, text_at,
};
use crate::check::selector::{selects, wanted_labels};
use crate::check::snapshot::{Kind, Snapshot};
use crate::check::subject::{Subject, is_injected};
use crate::text::{word, words};

const EXPORTER_PORT: u64 = 15_190;
const PORT_NAME: &str = "scoretap-stats";
/// Seconds until a pod must be a target: the operator and Prometheus' discovery take some time.
const DISCOVERY: i64 = 120;

/// Running injected pods with their subjects. Empty if no Prometheus reads one of our PodMonitors.
fn scraped<'v>(view: &'v View<'_>) -> Vec<(&'v Subject<'v>, &'v Value)> {
    if monitors(view.snapshot).is_empty() {
        return Vec::new();
    }
    let pods = view.subjects.iter().flat_map(|subject| subject.pods.iter().map(move |pod| (subject, *pod)));
    pods.filter(|(_, pod)| is_injected(pod) && text_at(pod, "/status/phase") == "Running")
        .filter(|(_, pod)| super::injection::unpulled(pod).is_none())
        .collect()
}

fn monitors(snapshot: &Snapshot) -> Vec<&Value> {
    let Some(prometheus) = prometheus(snapshot) else { return Vec::new() };
    ours(snapshot, Kind::PodMonitors)
        .filter(|monitor| is_read(monitor, prometheus, "podMonitor", snapshot))
        .collect()
}

fn selects_pod(monitor: &Value, pod: &Value) -> bool {
    selects(monitor.pointer("/spec/selector").unwrap_or(&NULL), labels(pod))
}

fn reaches(monitor: &Value, pod: &Value) -> bool {
    let within = monitor.pointer("/spec/namespaceSelector").unwrap_or(&NULL);
    let own = |_: &Value| namespace(monitor) == namespace(pod);
    within.get("any") == Some(&Value::Bool(true))
        || within.get("matchNames").map_or_else(
            || own(pod),
            |names| names.as_array().into_iter().flatten().any(|name| name == namespace(pod)),
        )
}

/// The monitor that should read a pod. The one for all namespaces skips tenants that have their own.
fn monitor_of<'a>(view: &View<'a>, pod: &Value) -> Option<&'a Value> {
    let all = monitors(view.snapshot).into_iter();
    let reading = all.filter(|monitor| selects_pod(monitor, pod) && reaches(monitor, pod));
    reading.min_by_key(|monitor| monitor.pointer("/spec/namespaceSelector/matchNames").is_none())
}

/// No PodMonitor selects the pod.
pub(super) fn pod_not_selected(view: &View<'_>) -> Vec<Finding> {
    let lost = scraped(view).into_iter().filter(|(_, pod)| monitor_of(view, pod).is_none());
    lost.filter_map(|(_, pod)| {
        let monitors = monitors(view.snapshot);
        if let Some(monitor) = monitors.iter().find(|monitor| selects_pod(monitor, pod)) {
            let why = format!(
                "it does not look into the namespace {}, where pods have the sidecar",
                namespace(pod)
            );
            return Some(Finding::new(
                place(monitor),
                why,
                patch(monitor, &json!({"spec": {"namespaceSelector": {"any": true}}})),
            ));
        }
        let labels = wanted_labels(monitors.first()?.pointer("/spec/selector").unwrap_or(&NULL));
        let command =
            format!("{} {} --overwrite", kubectl("label", pod), words(labels.iter().map(String::as_str)));
        Some(Finding::new(place(pod), "it lacks the label by which the PodMonitor selects", command))
    })
    .collect()
}

/// The PodMonitor names a port that the pods do not have.
pub(super) fn monitor_port(view: &View<'_>) -> Vec<Finding> {
    let pods = scraped(view).into_iter();
    pods.filter_map(|(_, pod)| {
        let monitor = monitor_of(view, pod)?;
        let wanted =
            at(monitor, "/spec/podMetricsEndpoints").next().and_then(|endpoint| text(endpoint, "port"))?;
        let has = |name: &str| {
            containers(pod)
                .flat_map(|container| at(container, "/ports"))
                .any(|port| text(port, "name") == Some(name))
        };
        if has(wanted) {
            return None;
        }
        let why = format!("its port {wanted} does not exist in the pods with the sidecar");
        let command = patch_step(monitor, "replace", "/spec/podMetricsEndpoints/0/port", &json!(PORT_NAME));
        Some(Finding::new(place(monitor), why, command))
    })
    .collect()
}

fn target<'a>(view: &View<'a>, monitor: &Value, pod: &Value) -> Option<&'a Value> {
    let pool = format!("podMonitor/{}/{}/", namespace(monitor), name(monitor));
    let targets = view.snapshot.prometheus.targets.as_deref()?;
    targets.iter().find(|target| {
        text_at(target, "/scrapePool").starts_with(&pool)
            && text_at(target, "/labels/namespace") == namespace(pod)
            && text_at(target, "/labels/pod") == name(pod)
    })
}

/// Prometheus does not know the pod.
pub(super) fn no_target(view: &View<'_>) -> Vec<Finding> {
    let (Some(prometheus), Some(_)) = (prometheus(view.snapshot), &view.snapshot.prometheus.targets) else {
        return Vec::new();
    };
    let pods = scraped(view).into_iter().filter(|(_, pod)| {
        let started = seconds(text_at(pod, "/status/startTime")).unwrap_or_default();
        view.snapshot.now - started > DISCOVERY
    });
    let lost = pods
        .filter(|(_, pod)| monitor_of(view, pod).is_some_and(|monitor| target(view, monitor, pod).is_none()));
    lost.map(|(_, pod)| {
        let why = "Prometheus does not know it as a target; the operator's log says why";
        let command = format!(
            "kubectl logs -n {} -l app.kubernetes.io/component=prometheus-operator --tail=50",
            word(namespace(prometheus))
        );
        Finding::new(place(pod), why, command)
    })
    .collect()
}

/// Prometheus knows the pod but cannot scrape it, or something in the cluster would prevent it.
pub(super) fn not_scraped(view: &View<'_>) -> Vec<Finding> {
    let pods = scraped(view).into_iter();
    pods.filter_map(|(subject, pod)| {
        let monitor = monitor_of(view, pod)?;
        let target = target(view, monitor, pod);
        if target.is_some_and(|target| text_at(target, "/health") != "down") {
            return None;
        }
        // If Prometheus does not answer, report only known obstacles.
        let error = target.map(|target| text_at(target, "/lastError"));
        obstacle(view, subject, pod, error)
    })
    .collect()
}

fn obstacle(view: &View<'_>, subject: &Subject<'_>, pod: &Value, error: Option<&str>) -> Option<Finding> {
    let exporter = statuses(pod).find(|status| text(status, "name") == Some("scoretap-exporter"));
    if super::injection::crash(pod).is_some() {
        // Another check reports it.
        return None;
    }
    if let Some(status) = exporter.filter(|status| status.pointer("/state/running").is_none()) {
        let reasons =
            ["/state/waiting/reason", "/state/terminated/reason"].map(|pointer| text_at(status, pointer));
        let why = format!("the exporter does not run ({}); this shows why", reasons.concat());
        return Some(Finding::new(place(pod), why, kubectl("describe", pod)));
    }
    if let Some((name, value)) = exclusion(pod, view.snapshot) {
        let why = "STRICT mTLS keeps Prometheus, which reads without it, from the metrics port";
        return Some(Finding::new(place(pod), why, subject.annotate(&[(name, Some(value))])));
    }
    closed(view, subject).or_else(|| {
        let why = format!("Prometheus cannot read it: {}; the exporter's log says why", error?);
        Some(Finding::new(
            place(pod),
            why,
            format!("{} -c scoretap-exporter", kubectl("logs", pod).replacen("logs pod ", "logs ", 1)),
        ))
    })
}

/// A NetworkPolicy blocks Prometheus at the metrics port.
fn closed(view: &View<'_>, subject: &Subject<'_>) -> Option<Finding> {
    let snapshot = view.snapshot;
    let prometheus = prometheus(snapshot)?;
    let own = snapshot
        .list(Kind::PrometheusPods)
        .iter()
        .find(|pod| label(pod, "operator.prometheus.io/name") == Some(name(prometheus)));
    let caller = Caller {
        namespace: namespace(prometheus),
        namespace_labels: snapshot.namespace_labels(namespace(prometheus)),
        labels: own.map_or(&NULL, labels),
    };
    let policies = closing(subject, snapshot);
    let is_open = policies
        .iter()
        .flat_map(|policy| at(policy, "/spec/ingress"))
        .any(|rule| caller.is_admitted(rule, subject.namespace()));
    let policy = policies.first().filter(|_| !is_open)?;
    let why = format!(
        "it keeps Prometheus, in the namespace {}, from the metrics port {EXPORTER_PORT}",
        caller.namespace
    );
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": caller.namespace}});
    let rule = json!({"from": [{"namespaceSelector": selector}], "ports": [{"port": EXPORTER_PORT, "protocol": "TCP"}]});
    let command = match policy.pointer("/spec/ingress") {
        Some(_) => patch_step(policy, "add", "/spec/ingress/-", &rule),
        None => patch_step(policy, "add", "/spec/ingress", &json!([rule])),
    };
    Some(Finding::new(place(policy), why, command))
}

/// The caller.
struct Caller<'a> {
    namespace: &'a str,
    namespace_labels: &'a Value,
    labels: &'a Value,
}

impl Caller<'_> {
    fn is_admitted(&self, rule: &Value, namespace: &str) -> bool {
        let mut peers = at(rule, "/from").peekable();
        (peers.peek().is_none() || peers.any(|peer| self.is(peer, namespace)))
            && admits(rule, EXPORTER_PORT, &[PORT_NAME.to_owned()])
    }

    /// An address range may contain Prometheus, so this assumes that it does.
    fn is(&self, peer: &Value, namespace: &str) -> bool {
        if peer.get("ipBlock").is_some() {
            return true;
        }
        let is_near = match peer.get("namespaceSelector") {
            Some(selector) => selects(selector, self.namespace_labels),
            None => self.namespace == namespace,
        };
        is_near && peer.get("podSelector").is_none_or(|selector| selects(selector, self.labels))
    }
}

/// The target is up but reports a failure behind it.
pub(super) fn reads_nothing(view: &View<'_>) -> Vec<Finding> {
    let Some(series) = &view.snapshot.prometheus.up else { return Vec::new() };
    let pods = scraped(view).into_iter().filter(|(_, pod)| {
        let target = monitor_of(view, pod).and_then(|monitor| target(view, monitor, pod));
        target.is_some_and(|target| text_at(target, "/health") == "up")
    });
    pods.filter_map(|(subject, pod)| reading(subject, pod, |name| value(series, name, pod))).collect()
}

fn value<'a>(series: &'a [Value], metric: &str, pod: &Value) -> Option<&'a str> {
    let found = series.iter().find(|series| {
        text_at(series, "/metric/__name__") == metric
            && text_at(series, "/metric/namespace") == namespace(pod)
            && text_at(series, "/metric/pod") == name(pod)
    })?;
    found.pointer("/value/1")?.as_str()
}

fn reading<'a>(
    subject: &Subject<'_>,
    pod: &Value,
    value: impl Fn(&str) -> Option<&'a str>,
) -> Option<Finding> {
    let logs = || kubectl("logs", pod).replacen("logs pod ", "logs ", 1);
    let exporters_log = |word: &str| format!("{} -c scoretap-exporter | grep {word}", logs());
    let (why, command) = match (value("scoretap_up"), value("scoretap_config_valid")) {
        (None, _) => {
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}:{EXPORTER_PORT}/proxy/metrics",
                namespace(pod),
                name(pod)
            );
            let why = "Prometheus reads it and gets no series of Scoretap's: something else answers on the port; this \
                       shows what";
            (why, format!("kubectl get --raw {}", word(&path)))
        }
        (Some("0"), _) => ("the exporter cannot read Envoy, so no call is measured", subject.restart()),
        (_, Some("0")) => {
            let why =
                "the filter's configuration is invalid, so no call is measured; Envoy's log names each error";
            (why, format!("{} -c {} | grep 'scoretap configuration'", logs(), envoy_of(pod)))
        }
        _ if value("scoretap_dialect_valid") == Some("0") => {
            let why = "the dialect of scoretap.dev/dialect-config cannot be served, so its metrics are missing; the exporter's log \
                       names each error";
            (why, exporters_log("DIALECT_FILE"))
        }
        _ if value("scoretap_baseline_valid") == Some("0") => {
            let why = "the baseline of scoretap.dev/baseline-config cannot be served, so drift is measured against the week before; \
                       the exporter's log names each error";
            (why, exporters_log("BASELINE_FILE"))
        }
        _ => return None,
    };
    Some(Finding::new(place(pod), why, command))
}
