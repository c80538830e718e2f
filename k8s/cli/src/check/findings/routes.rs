//! From Alertmanager to people: alerts that no receiver gets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::alerts::example;
use super::{View, installed_in};
use crate::check::finding::Finding;
use crate::check::object::{at, name, namespace, place, text_at};
use crate::check::snapshot::{Kind, Snapshot};
use crate::check::subject::is_injected;

const SHOW: &str = "kubectl get alertmanagerconfigs --all-namespaces";

/// Labels of an alert.
type Labels<'a> = BTreeMap<&'a str, &'a str>;

/// Alerts that Alertmanager drops: no route matches, and the default receiver sends nothing.
pub(super) fn no_receiver(view: &View<'_>) -> Vec<Finding> {
    let snapshot = view.snapshot;
    let Some(config) = &snapshot.alertmanager else { return Vec::new() };
    let mut findings = Vec::new();
    let platform = installed_in(snapshot).unwrap_or("scoretap-system");
    let own = [
        ("alertname", "ScoretapExporterDown"),
        ("component", "scoretap"),
        ("namespace", platform),
        ("severity", "warning"),
    ];
    if !is_received(config, &Labels::from(own)) {
        let why = "alerts about Scoretap itself, such as ScoretapExporterDown, match no route, and the default receiver \
                   sends nothing: nobody hears of them (in place of … write the chat channel)";
        findings.push(Finding::new(
            format!("namespace/{platform}"),
            why,
            "scoretap install --set monitoring.receiver.channel=…",
        ));
    }
    for namespace in measured(snapshot) {
        let is_lost = |severity: &&&str| {
            let labels = [
                ("alertname", "ScoretapErrorBudgetFastBurn"),
                ("component", "inference"),
                ("namespace", namespace),
                ("severity", **severity),
                ("tenant", namespace),
            ];
            !is_received(config, &Labels::from(labels))
        };
        let lost: Vec<_> = ["critical", "warning"].iter().filter(is_lost).copied().collect();
        if !lost.is_empty() {
            let why = format!(
                "no receiver gets its {} alerts: no route of Alertmanager's leads to one; `tenants` of the chart adds one",
                lost.join(" and ")
            );
            findings.push(Finding::new(format!("namespace/{namespace}"), why, SHOW));
        }
    }
    findings.extend(examples(snapshot, config));
    findings
}

fn measured(snapshot: &Snapshot) -> BTreeSet<&str> {
    snapshot.list(Kind::Pods).iter().filter(|pod| is_injected(pod)).map(namespace).collect()
}

/// Receivers with an address that is an example. Alertmanager hides addresses that hold a secret.
fn examples(snapshot: &Snapshot, config: &Value) -> Vec<Finding> {
    let Some(alertmanager) = snapshot.list(Kind::Alertmanagers).first() else { return Vec::new() };
    let found = at(config, "/receivers").filter_map(|receiver| Some((receiver, example(receiver)?)));
    found
        .map(|(receiver, address)| {
            let why = format!(
                "its receiver {} sends to {address}, which is an example: these alerts reach nobody",
                text_at(receiver, "/name")
            );
            Finding::new(place(alertmanager), why, SHOW)
        })
        .collect()
}

/// Whether a receiver that sends something gets an alert.
fn is_received(config: &Value, labels: &Labels<'_>) -> bool {
    let route = config.get("route").unwrap_or(&Value::Null);
    receivers(route, text_at(route, "/receiver"), labels).into_iter().any(|name| sends(config, name))
}

/// A receiver without an integration sends nothing.
fn sends(config: &Value, name: &str) -> bool {
    let is_integration = |(field, list): (&String, &Value)| {
        field.ends_with("_configs") && list.as_array().is_some_and(|list| !list.is_empty())
    };
    at(config, "/receivers")
        .filter(|receiver| text_at(receiver, "/name") == name)
        .any(|receiver| receiver.as_object().is_some_and(|receiver| receiver.iter().any(is_integration)))
}

/// The receivers of a route that matches: those of the routes below it, else its own.
fn receivers<'a>(route: &'a Value, inherited: &'a str, labels: &Labels<'_>) -> Vec<&'a str> {
    let own = route.get("receiver").and_then(Value::as_str).unwrap_or(inherited);
    let mut found = Vec::new();
    for below in at(route, "/routes").filter(|below| matches(below, labels)) {
        found.extend(receivers(below, own, labels));
        if below.get("continue") != Some(&Value::Bool(true)) {
            break;
        }
    }
    if found.is_empty() { vec![own] } else { found }
}

/// Regular expressions and negations count as matches: a finding must be certain.
fn matches(route: &Value, labels: &Labels<'_>) -> bool {
    let is_equal = |name: &str, value: &str| labels.get(name).copied().unwrap_or_default() == value;
    let by_map = route.get("match").and_then(Value::as_object).into_iter().flatten();
    by_map.into_iter().all(|(name, value)| value.as_str().is_some_and(|value| is_equal(name, value)))
        && at(route, "/matchers").filter_map(Value::as_str).all(|matcher| {
            let Some((name, value)) = matcher.split_once('=') else { return true };
            if name.ends_with('!') || value.starts_with('~') {
                return true;
            }
            is_equal(name.trim().trim_matches('"'), value.trim().trim_matches('"'))
        })
}

/// Where the API server reaches an Alertmanager of the operator.
pub(crate) fn status_path(snapshot: &Snapshot) -> Option<String> {
    let alertmanager = snapshot.list(Kind::Alertmanagers).first()?;
    let scheme = if alertmanager.pointer("/spec/web/tlsConfig").is_some() { "https:" } else { "" };
    let prefix = text_at(alertmanager, "/spec/routePrefix").trim_end_matches('/');
    let namespace = namespace(alertmanager);
    let service = format!("{scheme}alertmanager-operated:9093");
    let proxy = format!("/api/v1/namespaces/{namespace}/services/{service}/proxy");
    (!name(alertmanager).is_empty()).then(|| format!("{proxy}{prefix}/api/v2/status"))
}
