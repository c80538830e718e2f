//! The rule files as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use scoretap_core::route::PRESETS;
use scoretap_tests::monitoring::Prometheus;
use scoretap_tests::{tools, workspace};
use serde::Deserialize;

use crate::{k8s, succeed};

/// In the order in which they are read. Those behind `DEFAULT` are loaded by choice.
pub(crate) const FILES: [&str; 12] = [
    "thresholds.yaml",
    "recording.yaml",
    "slo.yaml",
    "calls.yaml",
    "canary.yaml",
    "kubernetes.yaml",
    "scoretap.yaml",
    "pods.yaml",
    "optional.yaml",
    "insight.yaml",
    "mlflow.yaml",
    "familiar-names.yaml",
];

/// How many files are loaded by default.
pub(crate) const DEFAULT: usize = 7;

/// One rule file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) groups: Vec<Group>,
}

/// Evaluated together, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) name: String,
    #[serde(rename = "interval")]
    _interval: String,
    pub(crate) rules: Vec<Rule>,
}

/// A recording rule or an alert.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    record: Option<String>,
    pub(crate) alert: Option<String>,
    pub(crate) expr: String,
    #[serde(rename = "for")]
    _hold: Option<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

pub(crate) fn path(file: &str) -> PathBuf {
    k8s("chart/files/rules").join(file)
}

pub(crate) fn read(file: &str) -> File {
    let text = fs::read_to_string(path(file)).unwrap();
    serde_norway::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every alert of these files, by its name.
pub(crate) fn alerts(files: &[&str]) -> Vec<(String, Rule)> {
    let groups = files.iter().flat_map(|file| read(file).groups);
    groups.flat_map(|group| group.rules).filter_map(|rule| Some((rule.alert.clone()?, rule))).collect()
}

/// Every rule of the default files that records a series has data. To Prometheus, a selector that matches nothing is no
/// error.
#[track_caller]
pub(crate) fn check_recorded(prometheus: &Prometheus) {
    let groups = FILES[..DEFAULT].iter().flat_map(|file| read(file).groups);
    let mut empty = Vec::new();
    for Rule { record, labels, .. } in groups.flat_map(|group| group.rules) {
        let Some(record) = record else { continue };
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let series = format!("{record}{{{}}}", labels.join(","));
        if prometheus.query(&series).unwrap().is_empty() {
            empty.push(series);
        }
    }
    assert!(empty.is_empty(), "without data:\n{}", empty.join("\n"));
}

/// The names of the series that a file records.
pub(crate) fn recorded(file: &str) -> Vec<String> {
    read(file).groups.into_iter().flat_map(|group| group.rules).filter_map(|rule| rule.record).collect()
}

#[test]
fn promtool_accepts_the_rules() {
    succeed(Command::new(tools::promtool().unwrap()).args(["check", "rules"]).args(FILES.map(path)));
}

#[test]
fn names_of_groups_and_alerts_are_unique() {
    let mut names: Vec<String> = alerts(&FILES).into_iter().map(|(name, _)| name).collect();
    names.extend(FILES.iter().flat_map(|file| read(file).groups).map(|group| group.name));
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
}

#[test]
fn alerts_have_severity_summary_owner_and_runbook() {
    for (name, rule) in alerts(&FILES) {
        let label = |key: &str| rule.labels.get(key).map(String::as_str).unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&label("severity")), "{name}: {:?}", rule.labels);
        assert!(["inference", "kubernetes", "scoretap"].contains(&label("component")), "{name}");
        assert_eq!(label("tenant"), "{{ $labels.namespace }}", "{name}");
        // The operator routes by `namespace`: the platform's team has its route in the installation's.
        let namespace = if label("component") == "scoretap" { "scoretap-system" } else { "" };
        assert_eq!(label("namespace"), namespace, "{name}");
        let text = |key: &str| rule.annotations.get(key).map(String::as_str).unwrap_or_default();
        assert!(text("summary").contains("{{ $labels.namespace }}"), "{name}: the summary names no tenant");
        assert!(text("summary").contains("model"), "{name}: the summary names no model");
        assert!(text("description").contains("$value"), "{name}: the description has no value");
        assert_eq!(rule.annotations.len(), 4, "{name}: {:?}", rule.annotations);
    }
}

/// A model whose pods are all gone gets no calls, so no error budget burns.
#[test]
fn only_burnt_budgets_and_lost_servers_page() {
    let pages = alerts(&FILES).into_iter().filter(|(_, rule)| rule.labels["severity"] == "critical");
    let names: Vec<String> = pages.map(|(name, _)| name).collect();
    // The last one is the second under its familiar name.
    assert_eq!(names, ["ScoretapErrorBudgetFastBurn", "ScoretapModelServerDown", "ModelServerDown"]);
}

/// The limits of LLMs are for exactly the presets of LLMs.
#[test]
fn llm_presets_have_limits_of_their_own() {
    let presets: BTreeSet<_> =
        PRESETS.iter().filter(|preset| preset.is_llm).map(|preset| preset.name).collect();
    let rules: Vec<_> = read("thresholds.yaml").groups.into_iter().flat_map(|group| group.rules).collect();
    for limit in ["scoretap_latency_limit_seconds", "scoretap_slo_latency_bound"] {
        let own = rules.iter().filter(|rule| rule.record.as_deref() == Some(limit));
        let routes: BTreeSet<_> =
            own.filter_map(|rule| rule.labels.get("route")).map(String::as_str).collect();
        assert_eq!(routes, presets, "{limit}");
    }
}

#[test]
fn what_is_recorded_is_what_happened() {
    let test = workspace::root().join("tests/tests/monitoring/recording.test.yaml");
    succeed(Command::new(tools::promtool().unwrap()).args(["test", "rules"]).arg(test));
}
