//! The objects that inject the sidecar: the policies, or the webhook and its certificate.

use serde_json::Value;

use super::View;
use crate::check::finding::Finding;
use crate::check::object::{in_namespace, is_ours, kubectl, name, namespace, place, seconds, text_at};
use crate::check::snapshot::{Kind, Snapshot};
use crate::check::subject::{Subject, is_injected};

const WEBHOOK: &str = "scoretap-injector";
const POLICY: &str = "scoretap-pods";
/// An upgrade renews the certificate in its last third, so there were months to do it.
const WARN_BEFORE_END: i64 = 14 * 24 * 3600;
/// If a pod takes longer than this many seconds to create, the API server's calls to the webhook are being dropped.
const SLOW: f64 = 1.5;

fn webhook(snapshot: &Snapshot) -> Option<&Value> {
    snapshot.list(Kind::Webhooks).iter().find(|webhook| name(webhook) == WEBHOOK)
}

fn policy(snapshot: &Snapshot) -> Option<&Value> {
    snapshot.list(Kind::Policies).iter().find(|policy| name(policy) == POLICY)
}

/// Whether something would put the sidecar into pods. Assumes so if the caller may not see webhooks or policies.
pub(super) fn injects(snapshot: &Snapshot) -> bool {
    let unknown = !snapshot.has_seen(Kind::Webhooks) || !snapshot.has_seen(Kind::Policies);
    unknown || webhook(snapshot).is_some() || policy(snapshot).is_some()
}

/// Neither policy nor webhook is installed, and pods ask for the sidecar or nothing else of Scoretap is installed.
pub(super) fn nothing_injects(view: &View<'_>) -> Vec<Finding> {
    let snapshot = view.snapshot;
    let waiting = view.subjects.iter().find(|subject| subject.asks() && !subject.is_injected());
    // Neither is needed if a pipeline injects or if Istio's proxies load the filter.
    let is_used = view.subjects.iter().any(|subject| subject.pods.iter().any(|pod| is_injected(pod)))
        || [Kind::PodMonitors, Kind::WasmPlugins, Kind::TrafficExtensions]
            .iter()
            .any(|kind| snapshot.list(*kind).iter().any(is_ours));
    let why = match waiting {
        _ if injects(snapshot) => return Vec::new(),
        Some(_) => {
            "it asks for the sidecar, and the cluster has neither the admission policy nor the webhook that adds it"
        }
        None if is_used => return Vec::new(),
        None => "Scoretap is not installed: neither the admission policy nor the webhook is there",
    };
    let place = waiting.map_or_else(|| "cluster".to_owned(), Subject::place);
    vec![Finding::new(place, why, "scoretap install")]
}

/// Both are installed. Each pod still gets one sidecar, but the call of the webhook is useless.
pub(super) fn webhook_and_policy(view: &View<'_>) -> Vec<Finding> {
    match (webhook(view.snapshot), policy(view.snapshot)) {
        (Some(webhook), Some(_)) => vec![Finding::new(
            place(webhook),
            "the webhook is installed beside the admission policy; pods get one sidecar, and each waits for a webhook \
             that has nothing to do",
            "scoretap install --set mode=policy",
        )],
        _ => Vec::new(),
    }
}

/// The webhook should inject, but none of its pods is ready.
pub(super) fn injector_down(view: &View<'_>) -> Vec<Finding> {
    let snapshot = view.snapshot;
    if webhook(snapshot).is_none() || policy(snapshot).is_some() || !snapshot.has_seen(Kind::Injectors) {
        return Vec::new();
    }
    let Some(injector) = snapshot.list(Kind::Injectors).first() else {
        let webhook = webhook(snapshot).map(place).unwrap_or_default();
        let why = "it calls the injector, and there is no Deployment scoretap-injector: pods are made without the sidecar";
        return vec![Finding::new(webhook, why, "scoretap install")];
    };
    let ready = injector.pointer("/status/availableReplicas").and_then(Value::as_u64).unwrap_or_default();
    if ready > 0 {
        return Vec::new();
    }
    let why = "no pod of the injector is ready, so pods are made without the sidecar; this shows why";
    let command = format!(
        "kubectl describe pods{} -l app.kubernetes.io/name=scoretap-injector",
        in_namespace(namespace(injector))
    );
    vec![Finding::new(place(injector), why, command)]
}

/// The pod of the dry run came back without the sidecar, or late.
pub(super) fn injection_fails(view: &View<'_>) -> Vec<Finding> {
    let Some(trial) = &view.snapshot.trial else { return Vec::new() };
    if !injects(view.snapshot) || !injector_down(view).is_empty() {
        return Vec::new();
    }
    let logs = match view.snapshot.list(Kind::Injectors).first() {
        Some(injector) => format!(
            "kubectl logs{} -l app.kubernetes.io/name=scoretap-injector --tail=50",
            in_namespace(namespace(injector))
        ),
        None => "scoretap install".to_owned(),
    };
    let is_by_policy = policy(view.snapshot).is_some();
    if trial.seconds > SLOW && webhook(view.snapshot).is_some() && trial.injected == is_by_policy {
        let why = format!(
            "a pod made on trial (--dry-run=server) took {:.1} s: the API server's calls to the webhook get no answer; \
             a firewall or NetworkPolicy between the control plane and port 8443 of the injector does this",
            trial.seconds
        );
        let shows = "kubectl get networkpolicies,endpointslices";
        let at = view.snapshot.list(Kind::Injectors).first().map_or("scoretap-system", namespace);
        return vec![Finding::new(&trial.namespace, why, format!("{shows}{} -o wide", in_namespace(at)))];
    }
    if trial.injected {
        return Vec::new();
    }
    let why = match (policy(view.snapshot), webhook(view.snapshot)) {
        (Some(_), _) => {
            "a pod made on trial (--dry-run=server) came back without the sidecar: the admission policy or its binding \
             is damaged; install it again"
        }
        (None, _) => {
            "a pod made on trial (--dry-run=server) came back without the sidecar: the API server cannot call the \
             webhook, or does not trust its certificate; the injector's log shows the calls that arrive"
        }
    };
    let command = if policy(view.snapshot).is_some() { "scoretap install".to_owned() } else { logs };
    vec![Finding::new(&trial.namespace, why, command)]
}

/// The webhook's certificate ends soon, or has ended.
pub(super) fn certificate_ends(view: &View<'_>) -> Vec<Finding> {
    let snapshot = view.snapshot;
    if webhook(snapshot).is_none() {
        return Vec::new();
    }
    let managed = snapshot.list(Kind::Certificates).iter().map(|certificate| {
        (place(certificate), text_at(certificate, "/status/notAfter"), kubectl("describe", certificate))
    });
    // Helm renews it in its last third, when the release is upgraded.
    let of_helm = snapshot
        .certificate_ends
        .iter()
        .map(|(place, end)| (place.clone(), end.as_str(), "scoretap install".to_owned()));
    let all = of_helm.chain(managed).filter_map(|(place, time, command)| {
        let end = seconds(time)?;
        let tense = if end < snapshot.now { "ended" } else { "ends" };
        let why = format!(
            "the webhook's certificate {tense} at {time}; without a valid one pods are made without the sidecar"
        );
        (end - snapshot.now < WARN_BEFORE_END).then(|| Finding::new(place, why, command))
    });
    all.collect()
}
