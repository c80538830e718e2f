//! NetworkPolicies. In an injected pod, the app's port name means Envoy's port, and its number the app's own port. A
//! policy that admits only one of them blocks callers of the other. These checks report both before injection.

use serde_json::{Value, json};

use super::View;
use crate::check::finding::Finding;
use crate::check::object::{NULL, at, list, patch_step, place, text};
use crate::check::selector::selects;
use crate::check::snapshot::{Kind, Snapshot};
use crate::check::subject::Subject;
use crate::check::traffic::{App, ENVOY, Way};

/// The policies that select the pods of a subject. Together they block every call that none of them admits.
pub(super) fn closing<'a>(subject: &Subject<'_>, snapshot: &'a Snapshot) -> Vec<&'a Value> {
    let labels = subject.labels_when_injected();
    let closes = |policy: &&Value| {
        let types = policy.pointer("/spec/policyTypes");
        let is_ingress = types.is_none() || list(types).any(|kind| kind == "Ingress");
        let selector = policy.pointer("/spec/podSelector").unwrap_or(&NULL);
        super::super::object::namespace(policy) == subject.namespace()
            && is_ingress
            && selects(selector, &labels)
    };
    snapshot.list(Kind::NetworkPolicies).iter().filter(closes).collect()
}

/// Whether an ingress rule admits TCP calls to a port with this number and these names.
pub(super) fn admits(rule: &Value, number: u64, names: &[String]) -> bool {
    let mut ports = list(rule.get("ports")).peekable();
    ports.peek().is_none() || ports.any(|port| admits_port(port, number, names))
}

fn admits_port(port: &Value, number: u64, names: &[String]) -> bool {
    if text(port, "protocol").is_some_and(|protocol| protocol != "TCP") {
        return false;
    }
    match port.get("port") {
        None | Some(Value::Null) => true,
        Some(Value::String(name)) => names.contains(name),
        Some(first) => {
            let first = first.as_u64().unwrap_or_default();
            let last = port.get("endPort").and_then(Value::as_u64).unwrap_or(first);
            (first..=last).contains(&number)
        }
    }
}

/// The callers that a rule admits; null means all.
fn callers(rule: &Value) -> &Value {
    rule.get("from").filter(|from| from.as_array().is_some_and(|from| !from.is_empty())).unwrap_or(&NULL)
}

fn rules<'a>(policy: &'a Value) -> impl Iterator<Item = &'a Value> + use<'a> {
    at(policy, "/spec/ingress")
}

/// The port where calls arrive, and the port that the rule admits.
struct Ends<'a> {
    /// The port where calls arrive after injection.
    arrive: u64,
    arrive_names: &'a [String],
    /// The port that the rule admits instead.
    admitted: u64,
    admitted_names: &'a [String],
}

/// The first rule whose callers reach the admitted port but not the port where their calls arrive.
fn shut_out<'a>(policies: &[&'a Value], ends: &Ends<'_>) -> Option<(&'a Value, usize)> {
    let reaches = |rule: &Value| admits(rule, ends.arrive, ends.arrive_names);
    let is_also_let_in = |rule: &Value| {
        policies
            .iter()
            .flat_map(|policy| rules(policy))
            .any(|other| reaches(other) && (callers(other).is_null() || callers(other) == callers(rule)))
    };
    policies.iter().find_map(|policy| {
        let mut rules = rules(policy).enumerate();
        rules
            .find(|(_, rule)| {
                admits(rule, ends.admitted, ends.admitted_names) && !reaches(rule) && !is_also_let_in(rule)
            })
            .map(|(index, _)| (*policy, index))
    })
}

fn admit(policy: &Value, rule: usize, port: u64) -> String {
    let path = format!("/spec/ingress/{rule}/ports/-");
    patch_step(policy, "add", &path, &json!({"port": port, "protocol": "TCP"}))
}

/// Subjects whose app keeps its port. For callers of a moved app, nothing changes.
fn unmoved<'v>(view: &'v View<'_>) -> impl Iterator<Item = (&'v Subject<'v>, App)> {
    let measured = view.subjects.iter().filter(|subject| subject.is_measured());
    measured.filter_map(|subject| Some((subject, App::of(subject)?))).filter(|(_, app)| !app.moved)
}

/// The policy uses the port's number and the Service its name.
pub(super) fn shuts_envoy_out(view: &View<'_>) -> Vec<Finding> {
    let found = unmoved(view).filter_map(|(subject, app)| {
        let by_name = app.routes(subject, view.snapshot).iter().any(|route| route.way == Way::Name);
        let ends =
            Ends { arrive: ENVOY, arrive_names: &app.names, admitted: app.number, admitted_names: &[] };
        let (policy, rule) = shut_out(&closing(subject, view.snapshot), &ends).filter(|_| by_name)?;
        let why = format!(
            "it admits callers to port {} by number, and the Service of {} leads to Envoy's port {ENVOY} once the pods \
             have the sidecar: their calls would be dropped",
            app.number,
            subject.place()
        );
        Some(Finding::new(place(policy), why, admit(policy, rule, ENVOY)))
    });
    found.collect()
}

/// The policy uses the port's name and the Service its number.
pub(super) fn shuts_app_out(view: &View<'_>) -> Vec<Finding> {
    let found = unmoved(view).filter_map(|(subject, app)| {
        let routes = app.routes(subject, view.snapshot);
        let by_number = routes.iter().any(|route| route.way != Way::Name);
        let ends =
            Ends { arrive: app.number, arrive_names: &[], admitted: ENVOY, admitted_names: &app.names };
        let policies = closing(subject, view.snapshot);
        let (policy, rule) = shut_out(&policies, &ends).filter(|_| by_number)?;
        let why = format!(
            "it admits callers by the port's name, which means Envoy's port once the pods have the sidecar; the Service of \
             {} leads to the number {}: their calls would be dropped",
            subject.place(),
            app.number
        );
        Some(Finding::new(place(policy), why, admit(policy, rule, app.number)))
    });
    found.collect()
}

/// Only our own policy for the metrics selects the pods, so it blocks all other callers.
pub(super) fn closes_pods(view: &View<'_>) -> Vec<Finding> {
    let found = unmoved(view).filter_map(|(subject, app)| {
        let policies = closing(subject, view.snapshot);
        let are_ours =
            !policies.is_empty() && policies.iter().all(|policy| crate::check::object::is_ours(policy));
        let arrive = [(ENVOY, &app.names[..]), (app.number, &[])];
        let is_open = policies
            .iter()
            .flat_map(|policy| rules(policy))
            .any(|rule| arrive.iter().any(|(number, names)| admits(rule, *number, names)));
        let policy = policies.first().filter(|_| are_ours && !is_open)?;
        let why = format!(
            "no other policy selects the pods of {}, so this one closes them to every caller",
            subject.place()
        );
        let rule =
            json!({"ports": [{"port": ENVOY, "protocol": "TCP"}, {"port": app.number, "protocol": "TCP"}]});
        Some(Finding::new(place(policy), why, patch_step(policy, "add", "/spec/ingress/-", &rule)))
    });
    found.collect()
}
