//! From alerts to people: alerts without data, and receivers that reach nobody.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::View;
use super::monitoring::{ours, prometheus};
use crate::check::finding::Finding;
use crate::check::object::{at, kubectl, name, namespace, place, text_at};
use crate::check::snapshot::{Kind, Snapshot};
use crate::text::word;

/// One of our alerts, and the exported metrics that it depends on, directly or through recorded series.
struct Alert {
    name: String,
    metrics: BTreeSet<String>,
}

/// A query for the metrics of our alerts: it returns the names of those that have series.
pub(crate) fn query(snapshot: &Snapshot) -> Option<String> {
    let names: BTreeSet<_> = alerts(snapshot).into_iter().flat_map(|alert| alert.metrics).collect();
    let names: Vec<_> = names.into_iter().collect();
    (!names.is_empty()).then(|| format!("count by (__name__) ({{__name__=~\"{}\"}})", names.join("|")))
}

fn alerts(snapshot: &Snapshot) -> Vec<Alert> {
    let Some(groups) = &snapshot.prometheus.groups else { return Vec::new() };
    let own: BTreeSet<_> = ours(snapshot, Kind::Rules)
        .flat_map(|rule| at(rule, "/spec/groups").map(|group| text_at(group, "/name")))
        .collect();
    let rules = |kind: &'static str, group: &'static str| move |value: &Value| text_at(value, group) == kind;
    let recorded: Vec<_> = groups
        .iter()
        .flat_map(|group| at(group, "/rules"))
        .filter(|rule| rules("recording", "/type")(rule))
        .collect();
    let mut uses: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for rule in recorded {
        uses.entry(text_at(rule, "/name")).or_default().extend(names(text_at(rule, "/query")));
    }
    let alerting = groups
        .iter()
        .filter(|group| own.contains(text_at(group, "/name")))
        .flat_map(|group| at(group, "/rules"))
        .filter(|rule| rules("alerting", "/type")(rule));
    alerting
        .map(|rule| Alert {
            name: text_at(rule, "/name").to_owned(),
            metrics: names(text_at(rule, "/query")).iter().flat_map(|name| leaves(name, &uses)).collect(),
        })
        .collect()
}

/// The exported metrics that a recorded series depends on.
fn leaves(name: &str, recorded: &BTreeMap<&str, BTreeSet<String>>) -> BTreeSet<String> {
    let (mut leaves, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![name.to_owned()]);
    while let Some(name) = open.pop() {
        match recorded.get(name.as_str()) {
            Some(parts) if seen.insert(name.clone()) => open.extend(parts.iter().cloned()),
            Some(_) => {}
            None => {
                leaves.insert(name);
            }
        }
    }
    leaves
}

/// The metric names in an expression: all words except functions, keywords, labels and numbers.
fn names(expression: &str) -> BTreeSet<String> {
    const KEYWORDS: [&str; 14] = [
        "and",
        "or",
        "unless",
        "offset",
        "bool",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "inf",
        "nan",
        "atan2",
    ];
    const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    let mut names = BTreeSet::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' || first == '`' {
            rest = after_string(rest, first);
        } else if first == '{' || first == '[' {
            rest = after_braces(rest, if first == '{' { '}' } else { ']' });
        } else if first.is_ascii_alphabetic() || first == '_' || first == ':' {
            let end = rest.find(|char: char| !is_word(char)).unwrap_or(rest.len());
            let (found, after) = rest.split_at(end);
            let is_call = after.trim_start().starts_with('(');
            if LISTS.contains(&found) && is_call {
                rest = after_braces(after.trim_start(), ')');
                continue;
            }
            let is_aggregation = ["by", "without"].iter().any(|word| after.trim_start().starts_with(word));
            if !is_call && !is_aggregation && !KEYWORDS.contains(&found.to_ascii_lowercase().as_str()) {
                names.insert(found.to_owned());
            }
            rest = after;
        } else if first.is_ascii_digit() {
            let end = rest.find(|char: char| !is_word(char) && char != '.').unwrap_or(rest.len());
            rest = &rest[end..];
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    names
}

fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == ':'
}

fn after_string(text: &str, quote: char) -> &str {
    let mut chars = text.char_indices().skip(1);
    while let Some((index, char)) = chars.next() {
        if char == '\\' && quote != '`' {
            chars.next();
        } else if char == quote {
            return &text[index + 1..];
        }
    }
    ""
}

fn after_braces(text: &str, end: char) -> &str {
    let mut rest = &text[1..];
    while let Some(char) = rest.chars().next() {
        if char == end {
            return &rest[1..];
        }
        rest = if char == '"' { after_string(rest, char) } else { &rest[char.len_utf8()..] };
    }
    ""
}

/// Metrics that a healthy cluster may lack, such as those of waiting containers, limits and crashed filters.
fn may_be_missing(metric: &str) -> bool {
    ["scoretap_dialect_valid", "scoretap_baseline_valid"].contains(&metric)
        || metric.ends_with("_waiting_reason")
        || metric.ends_with("_resource_limits")
        || metric.starts_with("kube_pod_init_container_")
        || metric.starts_with("kube_horizontalpodautoscaler_")
        || metric == "scoretap_vm_reloads_total"
        || metric.starts_with("scoretap_injector_")
        || metric.starts_with("apiserver_")
}

/// Why nothing exports a metric, and the command that shows more.
fn source(metric: &str, snapshot: &Snapshot) -> Option<(&'static str, String)> {
    let monitors =
        |name: &str| format!("kubectl get servicemonitors --all-namespaces -l app.kubernetes.io/name={name}");
    if metric.starts_with("kube_") {
        return Some(("kube-state-metrics is not scraped", monitors("kube-state-metrics")));
    }
    if metric.starts_with("container_") {
        let shows = "kubectl get servicemonitors,scrapeconfigs --all-namespaces".to_owned();
        return Some(("the kubelets' cAdvisor is not scraped", shows));
    }
    // Our metrics exist once Prometheus scrapes one sidecar. Other checks report that it does not.
    let up = snapshot.prometheus.up.as_deref().unwrap_or_default();
    let is_read = up.iter().any(|series| {
        text_at(series, "/metric/__name__") == "scoretap_up"
            && series.pointer("/value/1") == Some(&Value::String("1".to_owned()))
    });
    let why = "the monitor drops it, or the exporter's dialects leave it out";
    is_read.then(|| (why, "kubectl get podmonitors --all-namespaces -o yaml".to_owned()))
}

/// Alerts that lack data for the same reason, and the missing metrics.
#[derive(Default)]
struct Gap {
    alerts: BTreeSet<String>,
    metrics: BTreeSet<String>,
}

/// Alerts that are loaded but cannot fire.
pub(super) fn without_data(view: &View<'_>) -> Vec<Finding> {
    let snapshot = view.snapshot;
    let (Some(there), Some(_)) = (&snapshot.prometheus.metrics, prometheus(snapshot)) else {
        return Vec::new();
    };
    let mut gaps: BTreeMap<(&str, String), Gap> = BTreeMap::new();
    for alert in alerts(snapshot) {
        let missing =
            alert.metrics.iter().filter(|metric| !may_be_missing(metric) && !there.contains(*metric));
        for metric in missing {
            let Some(source) = source(metric, snapshot) else { continue };
            let gap = gaps.entry(source).or_default();
            gap.alerts.insert(alert.name.clone());
            gap.metrics.insert(metric.clone());
        }
    }
    let joined = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
    gaps.into_iter()
        .map(|((why, command), Gap { alerts, metrics })| {
            let why = format!("loaded, but without data: no series of {}; {why}", joined(metrics));
            Finding::new(joined(alerts), why, command)
        })
        .collect()
}

/// Receivers of a tenant that reach nobody, because their Secret is missing or their address is an example.
pub(super) fn receiver(view: &View<'_>) -> Vec<Finding> {
    let missing = view.snapshot.missing_secrets.iter().map(|(namespace, name, key)| {
        let why = format!(
            "the AlertmanagerConfig needs its key {key}, and without it the operator refuses the configuration: no alert \
             reaches the tenant (in place of … write the address)"
        );
        let command = format!(
            "kubectl create secret generic {} -n {} --from-literal={}=…",
            word(name),
            word(namespace),
            word(key)
        );
        Finding::new(format!("{namespace}/secret/{name}"), why, command)
    });
    let configs = view.snapshot.list(Kind::AlertmanagerConfigs).iter();
    let examples = configs.filter_map(|config| {
        let address = example(config)?;
        let why = format!("{address} is an example, so alerts sent there reach nobody");
        Some(Finding::new(place(config), why, kubectl("edit", config)))
    });
    let rules = ours(view.snapshot, Kind::Rules).filter_map(|rule| {
        let address = example(rule)?;
        let why = format!("its alerts link to {address}, which is an example");
        // The dashboards' links have variables.
        let value = if address.contains("/d/") { "grafanaUrl" } else { "runbookUrl" };
        Some(Finding::new(
            format!("{}/prometheusrule/{}", namespace(rule), name(rule)),
            why,
            format!("scoretap install --set monitoring.{value}=https://…"),
        ))
    });
    missing.chain(examples).chain(rules).collect()
}

/// The first address in a domain that is reserved for examples.
pub(super) fn example(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => {
            let host = text.split_once("://")?.1.split(['/', ':']).next()?;
            let reserved = ["example.com", "example.org", "example.net"];
            let is_below = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
            (reserved.into_iter().any(is_below) || host.ends_with(".example")).then_some(text)
        }
        Value::Array(items) => items.iter().find_map(example),
        Value::Object(fields) => fields.values().find_map(example),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(expression: &str, expected: &[&str]) {
        let found = names(expression);
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{expression}");
    }

    #[test]
    fn metric_names_are_found_in_expressions() {
        check("sum by (namespace, le) (rate(a_bucket{x=\"b(c)}\"}[5m]))", &["a_bucket"]);
        check("a:b:rate5m / (c > 0) and on (namespace) d offset 1w", &["a:b:rate5m", "c", "d"]);
        check("histogram_quantile(0.99, x) > 1e3 or vector(1) unless y == Inf", &["x", "y"]);
        check("a * on (pod) group_left (model_name) b", &["a", "b"]);
    }

    #[test]
    fn example_addresses_are_recognised() {
        assert_eq!(
            example(&json!({"a": ["https://chat.example.com/hook"]})),
            Some("https://chat.example.com/hook")
        );
        assert_eq!(example(&json!("https://runbooks.example/x")), Some("https://runbooks.example/x"));
        assert_eq!(example(&json!("https://notexample.com/x see example.com")), None);
    }
}
