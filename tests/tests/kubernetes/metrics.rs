//! Something exports or records every metric that a rule or a dashboard queries. Prometheus reports no error for an
//! unknown metric: the alert would stay silent and the panel empty.

use std::collections::BTreeSet;
use std::fs;

use scoretap_tests::workspace;
use serde_json::Value;

/// Metrics of Prometheus itself, the API server, kube-state-metrics and the kubelet's cAdvisor, as documented.
pub(crate) const OF_OTHERS: [&str; 16] = [
    "ALERTS",
    "up",
    "apiserver_admission_webhook_fail_open_count",
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas_available",
    "kube_pod_container_resource_limits",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_waiting_reason",
    "kube_pod_init_container_resource_limits",
    "kube_pod_init_container_status_restarts_total",
    "kube_pod_init_container_status_waiting_reason",
    "kube_pod_status_phase",
    "kube_pod_status_ready",
    "scrape_samples_scraped",
];

/// Words of PromQL that stand where a metric could, none followed by a bracket.
const WORDS: [&str; 16] = [
    "and", "avg", "bool", "bottomk", "count", "group", "inf", "max", "min", "nan", "offset", "or",
    "quantile", "sum", "topk", "unless",
];
/// Words whose brackets hold labels.
const OF_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The metrics that a PromQL expression asks for.
fn metrics(expr: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = expr;
    while let Some(char) = rest.chars().next() {
        let in_word = |char: char| char.is_ascii_alphanumeric() || "_:".contains(char);
        let word = &rest[..rest.find(|char| !in_word(char)).unwrap_or(rest.len())];
        // A range, what is matched, a string, a variable of Grafana's.
        let skipped = match char {
            '[' => rest.find(']').unwrap() + 1,
            '{' => matchers(rest),
            '"' => quoted(rest),
            '$' => 1 + rest[1..].find(|char| !in_word(char)).unwrap_or(rest.len() - 1),
            _ if word.is_empty() => char.len_utf8(),
            _ => word.len(),
        };
        rest = &rest[skipped..];
        if word.is_empty() || word.starts_with(|char: char| char.is_ascii_digit()) {
            continue;
        }
        let calls = rest.trim_start().starts_with('(');
        if OF_LABELS.contains(&word) {
            rest = if calls { &rest[rest.find(')').unwrap() + 1..] } else { rest };
        } else if !calls && !WORDS.contains(&word) {
            found.insert(word.to_owned());
        }
    }
    found
}

/// How long the string is at the beginning.
fn quoted(text: &str) -> usize {
    2 + text[1..].find('"').unwrap()
}

/// How long the matchers are at the beginning; a string in them may hold a brace.
fn matchers(text: &str) -> usize {
    let mut at = 1;
    while !text[at..].starts_with('}') {
        at += if text[at..].starts_with('"') { quoted(&text[at..]) } else { 1 };
    }
    at + 1
}

#[test]
fn metrics_are_found_in_an_expression() {
    for (expr, expected) in [
        (
            "sum by (a, b) (rate(x_total{c=~\"d}|e\"}[5m])) / on (a) group_left (f) y:z:rate5m",
            vec!["x_total", "y:z:rate5m"],
        ),
        ("histogram_quantile(0.99, max(h_bucket{le=\"1\"}[$__rate_interval])) > bool 1e3", vec!["h_bucket"]),
        (
            "label_values(up{tenant=~\"$tenant\"}, model) or absent(w) unless on () vector(1)",
            vec!["model", "up", "w"],
        ),
    ] {
        assert_eq!(metrics(expr).into_iter().collect::<Vec<_>>(), expected, "{expr}");
    }
}

/// The names in the generated tables of metrics: `| `name` | type |`, with or without a dialect's name before it.
pub(crate) fn exported() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (file, section) in
        [("docs/metrics.md", "families"), ("docs/metrics.md", "insight"), ("docs/dialects.md", "dialects")]
    {
        let text = fs::read_to_string(workspace::root().join(file)).unwrap();
        let (_, rest) = text.split_once(&format!("<!-- generated: {section} -->\n")).unwrap();
        for row in rest.split("<!-- /generated -->").next().unwrap().lines().skip(2) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let column = if section == "dialects" { 2 } else { 1 };
            let name = cells[column].split('`').nth(1).unwrap();
            let suffixes: &[&str] =
                if cells[column + 1] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
        }
    }
    names
}

/// The values under `field`, wherever it stands.
pub(crate) fn all(value: &Value, field: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == field => found.push(text.clone()),
            other => all(other, field, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| all(item, field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_queried_metric_is_exported_or_recorded() {
    let k8s = workspace::root().join("k8s/chart/files");
    let (mut asked, mut recorded) = (Vec::new(), Vec::new());
    for file in fs::read_dir(k8s.join("rules")).unwrap().map(|entry| entry.unwrap().path()) {
        let rules: Value = serde_norway::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        all(&rules, "expr", &mut asked);
        all(&rules, "record", &mut recorded);
    }
    // Recorded by the chart where Helm makes the webhook's certificate.
    let template = fs::read_to_string(k8s.join("../templates/_monitoring.tpl")).unwrap();
    recorded.extend(
        template.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(str::to_owned),
    );
    for file in fs::read_dir(k8s.join("dashboards")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|end| end == "json") {
            let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
            all(&dashboard, "expr", &mut asked);
            let mut variables = Vec::new();
            all(&dashboard["templating"], "definition", &mut variables);
            let values = |variable: &String| {
                Some(variable.strip_prefix("label_values(")?.rsplit_once(", ")?.0.to_owned())
            };
            asked.extend(variables.iter().filter_map(values));
        }
    }
    let mut known = exported();
    known.extend(recorded);
    known.extend(OF_OTHERS.map(str::to_owned));
    let asked: BTreeSet<_> = asked.iter().flat_map(|expr| metrics(expr)).collect();
    assert!(asked.len() > 40, "only {asked:?}");
    let unknown: Vec<_> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "nobody exports or records {unknown:?}");
    let unused: Vec<_> = OF_OTHERS.iter().filter(|name| !asked.contains(**name)).collect();
    assert!(unused.is_empty(), "nobody asks for {unused:?}");
}
