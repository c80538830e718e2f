//! A sound cluster: one tenant with one Deployment, the webhook, and a Prometheus that reads the pods.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::check::object::seconds;
use crate::check::snapshot::{Focus, Kind, Prometheus, SELF_METRICS, Snapshot, Trial};
use crate::check::subject::{Subject, sidecar_images};

pub(super) const RESTART: &str = "kubectl rollout restart deployment scorer -n tenant-a";

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "scorer"}, "annotations": {"scoretap.dev/inject": "true"}},
        "spec": {"containers": [{
            "name": "scorer",
            "image": "registry.example/scorer:3",
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        }]},
    })
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "scorer", "namespace": "tenant-a"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "scorer"}}, "template": template()},
    })
}

/// A running pod of a template, in a cluster without Scoretap.
pub(super) fn bare_pod(snapshot: &Snapshot) -> Value {
    let mut pod = snapshot.lists[&Kind::Workloads][0]["spec"]["template"].clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "scorer-6c9f7d5b84-x2lqp".into();
    pod["metadata"]["namespace"] = "tenant-a".into();
    pod["metadata"]["labels"]["pod-template-hash"] = "6c9f7d5b84".into();
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "controller": true, "kind": "ReplicaSet", "name": "scorer-6c9f7d5b84", "uid": "1"}]);
    pod["status"] = json!({"phase": "Running", "startTime": "2026-11-20T09:14:02Z"});
    pod
}

/// The same pod with the sidecar.
pub(super) fn injected_pod(snapshot: &Snapshot) -> Value {
    let bare = bare_pod(snapshot);
    let mut alone = Snapshot::default();
    alone.lists.insert(Kind::Pods, vec![bare.clone()]);
    let subjects = crate::check::subject::subjects(&alone);
    let mut pod = subjects.first().and_then(Subject::injected).expect("the injector takes it").clone();
    let running = |name: &str| json!({"name": name, "image": name, "state": {"running": {}}});
    pod["status"] = bare["status"].clone();
    pod["status"]["initContainerStatuses"] =
        json!([running("scoretap-setup"), running("scoretap-envoy"), running("scoretap-exporter")]);
    pod
}

fn namespace(name: &str, labels: Value) -> Value {
    let mut labels = labels;
    labels["kubernetes.io/metadata.name"] = name.into();
    json!({"kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

pub(super) fn service(name: &str, target: Value) -> Value {
    json!({
        "kind": "Service", "metadata": {"name": name, "namespace": "tenant-a"},
        "spec": {"clusterIP": "10.96.0.7", "selector": {"app": "scorer"},
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": target}]},
    })
}

fn ours(kind: &str, name: &str, namespace: Option<&str>, spec: Value) -> Value {
    let labels = json!({"app.kubernetes.io/part-of": "scoretap", "release": "stack"});
    let mut object = json!({"kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec});
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = namespace.into();
    }
    object
}

fn prometheus() -> Value {
    let selector = json!({"matchLabels": {"release": "stack"}});
    json!({
        "kind": "Prometheus", "metadata": {"name": "stack", "namespace": "monitoring", "labels": {"release": "stack"}},
        "spec": {
            "podMonitorSelector": selector, "podMonitorNamespaceSelector": {},
            "serviceMonitorSelector": selector, "serviceMonitorNamespaceSelector": {},
            "ruleSelector": selector, "ruleNamespaceSelector": {},
        },
    })
}

fn rule() -> Value {
    let rules = json!([{"alert": "ScoretapModelServerDown", "expr": "x"}]);
    ours(
        "PrometheusRule",
        "scoretap",
        Some("monitoring"),
        json!({"groups": [{"name": "scoretap.alerts", "rules": rules}]}),
    )
}

fn alertmanager_config() -> Value {
    let team = |matcher: &str, receiver: &str| json!({"matchers": [matcher], "receiver": receiver, "continue": true});
    let receiver = |name: &str| json!({"name": name, "slack_configs": [{"api_url": "<secret>"}]});
    json!({
        "route": {"receiver": "null", "routes": [
            {"match": {"alertname": "Watchdog"}, "receiver": "null"},
            team("namespace=\"scoretap-system\"", "platform"),
            team("namespace=\"tenant-a\"", "team-a"),
        ]},
        "receivers": [{"name": "null"}, receiver("platform"), receiver("team-a")],
    })
}

fn answers() -> Prometheus {
    let labels = json!({"namespace": "tenant-a", "pod": "scorer-6c9f7d5b84-x2lqp"});
    let target = json!({"scrapePool": "podMonitor/monitoring/scoretap/0", "health": "up", "lastError": "", "labels": labels});
    let up = |name: &str| {
        let mut metric = labels.clone();
        metric["__name__"] = name.into();
        json!({"metric": metric, "value": [0, "1"]})
    };
    let groups = json!({"name": "scoretap.alerts", "rules": [
        {"type": "recording", "name": "a:b:rate5m", "query": "rate(prediction_requests_total[5m])"},
        {"type": "alerting", "name": "ScoretapModelServerDown", "query": "a:b:rate5m > 1 and on (pod) kube_pod_status_ready"},
    ]});
    let there = ["prediction_requests_total", "kube_pod_status_ready"];
    Prometheus {
        targets: Some(vec![target]),
        groups: Some(vec![groups]),
        up: Some(SELF_METRICS.map(up).to_vec()),
        metrics: Some(BTreeSet::from(there.map(str::to_owned))),
    }
}

/// A cluster without faults.
pub(super) fn sound() -> Snapshot {
    let mut snapshot =
        Snapshot { now: seconds("2026-11-28T12:00:00Z").expect("a time"), ..Snapshot::default() };
    let monitor = json!({
        "selector": {"matchLabels": {"scoretap.dev/injected": "true"}}, "namespaceSelector": {"any": true},
        "podMetricsEndpoints": [{"port": "scoretap-stats"}],
    });
    let mut injector = ours("Deployment", "scoretap-injector", Some("scoretap-system"), json!({}));
    injector["status"] = json!({"availableReplicas": 2});
    let namespaces = vec![
        namespace("tenant-a", json!({"scoretap.dev/injection": "enabled"})),
        namespace("monitoring", json!({})),
    ];
    snapshot.lists.extend([
        (Kind::Namespaces, namespaces),
        (Kind::Workloads, vec![deployment()]),
        (Kind::Services, vec![service("scorer", "http".into())]),
        (Kind::Webhooks, vec![ours("MutatingWebhookConfiguration", "scoretap-injector", None, json!({}))]),
        (Kind::Injectors, vec![injector]),
        (Kind::Prometheuses, vec![prometheus()]),
        (Kind::PodMonitors, vec![ours("PodMonitor", "scoretap", Some("monitoring"), monitor)]),
        (Kind::Rules, vec![rule()]),
        (
            Kind::Alertmanagers,
            vec![json!({"kind": "Alertmanager", "metadata": {"name": "stack", "namespace": "monitoring"}})],
        ),
    ]);
    let pod = injected_pod(&snapshot);
    snapshot.lists.insert(Kind::Pods, vec![pod]);
    let images = sidecar_images(first(&mut snapshot, Kind::Pods));
    snapshot.trial = Some(Trial { namespace: "tenant-a".to_owned(), seconds: 0.1, injected: true, images });
    snapshot.prometheus = answers();
    snapshot.alertmanager = Some(alertmanager_config());
    snapshot
}

/// The first object of a kind.
pub(super) fn first(snapshot: &mut Snapshot, kind: Kind) -> &mut Value {
    &mut snapshot.lists.get_mut(&kind).expect("the kind is there")[0]
}

pub(super) fn add(snapshot: &mut Snapshot, kind: Kind, object: Value) {
    snapshot.lists.entry(kind).or_default().push(object);
}

/// The Deployment's template.
pub(super) fn template_of(snapshot: &mut Snapshot) -> &mut Value {
    &mut first(snapshot, Kind::Workloads)["spec"]["template"]
}

pub(super) fn annotate(snapshot: &mut Snapshot, name: &str, value: &str) {
    template_of(snapshot)["metadata"]["annotations"][name] = value.into();
}

/// Changes the Deployment and recreates its pods, with the sidecar if the injector accepts them.
pub(super) fn roll(snapshot: &mut Snapshot, change: impl FnOnce(&mut Value)) {
    change(template_of(snapshot));
    let pod = injected_pod(snapshot);
    *first(snapshot, Kind::Pods) = pod;
}

/// Recreates the pods without the sidecar, so Prometheus does not know them.
pub(super) fn without_sidecar(snapshot: &mut Snapshot) {
    let pod = bare_pod(snapshot);
    *first(snapshot, Kind::Pods) = pod;
    snapshot.prometheus.targets = Some(Vec::new());
}

/// No pod asks for the sidecar yet, and the user checks the Deployment.
pub(super) fn before_injection(snapshot: &mut Snapshot) {
    template_of(snapshot)["metadata"]["annotations"] = json!({});
    without_sidecar(snapshot);
    snapshot.focus =
        Some(Focus { namespace: "tenant-a".into(), kind: "deployment".into(), name: "scorer".into() });
}

/// The patch that sets annotations on the Deployment's template.
pub(super) fn patched(annotations: &str) -> String {
    format!(
        "kubectl patch deployment scorer -n tenant-a -p \
         '{{\"spec\":{{\"template\":{{\"metadata\":{{\"annotations\":{annotations}}}}}}}}}'"
    )
}
