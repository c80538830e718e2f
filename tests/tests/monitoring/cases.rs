//! Each alert fires at its fault and is silent where it should be: `cases/ALERT.yaml`, judged by promtool.
//!
//! A case lists series and the values that are scraped. What a series does not say of itself is added ([`Family`]), so
//! that a case shows what it is about. From one file come several of promtool's tests: the fault, each way to be
//! silent, and one with no series at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use scoretap_tests::{tools, workspace};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rules::{self, FILES};
use crate::{familiar, succeed};

/// Ways to be silent that every alert is tested for. The sixth, absent series, needs no case.
const SILENT: [&str; 4] = ["just_below", "no_traffic", "counter_reset", "rollout"];

type Series = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Time between scrapes, and between evaluations.
    #[serde(default = "half_a_minute")]
    every: String,
    /// When alerts are looked at.
    at: String,
    fires: Fires,
    silent: BTreeMap<String, Series>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fires {
    /// The last look at which it is not firing yet.
    not_yet: Option<String>,
    series: Series,
    alerts: Vec<Value>,
}

fn half_a_minute() -> String {
    "30s".to_owned()
}

/// Labels that every series of a family has.
struct Family {
    prefix: &'static str,
    labels: &'static [(&'static str, &'static str)],
}

const POD: (&str, &str) = ("pod", "churn-1");
const NAMESPACE: (&str, &str) = ("namespace", "tenant-a");
const CALL: &[(&str, &str)] =
    &[NAMESPACE, POD, ("model_name", "churn"), ("model_version", "1"), ("route", "score")];

/// The first that fits.
const FAMILIES: &[Family] = &[
    Family { prefix: "prediction_duration", labels: &[("status", "success")] },
    Family { prefix: "prediction_", labels: &[] },
    Family {
        prefix: "model_info",
        labels: &[NAMESPACE, POD, ("model_name", "churn"), ("model_version", "1"), ("deployment", "churn")],
    },
    Family { prefix: "scoretap_injector_", labels: &[("namespace", "scoretap-system")] },
    Family { prefix: "apiserver_", labels: &[("type", "admit")] },
    Family { prefix: "scoretap_", labels: &[NAMESPACE, POD, ("job", "monitoring/scoretap")] },
    Family { prefix: "up", labels: &[NAMESPACE] },
    Family { prefix: "kube_deployment_", labels: &[NAMESPACE, ("deployment", "churn")] },
    Family { prefix: "kube_pod_status_ready", labels: &[NAMESPACE, POD, ("condition", "true")] },
    Family { prefix: "kube_pod_status_phase", labels: &[NAMESPACE, POD, ("phase", "Running")] },
    Family { prefix: "kube_pod_", labels: &[NAMESPACE, POD, ("container", "app")] },
    Family { prefix: "container_", labels: &[NAMESPACE, POD, ("container", "app"), ("id", "/a")] },
];

/// A series as promtool reads it, with the labels of its family where it has not given them itself.
fn complete(series: &str) -> String {
    let (name, own) = series.split_once('{').unwrap_or((series, "}"));
    let own = own.strip_suffix('}').unwrap_or_else(|| panic!("{series}: no closing brace"));
    let family = FAMILIES.iter().find(|family| name.starts_with(family.prefix));
    let family = family.unwrap_or_else(|| panic!("{series}: add its family to FAMILIES"));
    let call = if name.starts_with("prediction_") { CALL } else { &[] };
    let given = |label: &str| own.split(',').any(|pair| pair.starts_with(&format!("{label}=")));
    let added = family.labels.iter().chain(call).filter(|(label, _)| !given(label));
    let mut labels: Vec<String> = added.map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    labels.extend((!own.is_empty()).then(|| own.to_owned()));
    format!("{name}{{{}}}", labels.join(","))
}

/// A familiar name is judged by the cases of ours.
fn cases_of(name: &str) -> Case {
    let familiar = familiar::table().into_iter().find(|(familiar, _)| familiar == name);
    let alert = &familiar.map_or_else(|| name.to_owned(), |(_, ours)| ours);
    let path = workspace::root().join(format!("tests/tests/monitoring/cases/{alert}.yaml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let case: Case = serde_norway::from_str(&text).unwrap_or_else(|error| panic!("{alert}: {error}"));
    for name in SILENT {
        assert!(case.silent.contains_key(name), "{alert}: no case for silence with {name}");
    }
    case
}

/// The tests of one alert.
fn tests_of(alert: &str) -> Vec<Value> {
    let case = cases_of(alert);
    let looks = [case.fires.not_yet.as_ref().map(|at| (at, Vec::new())), Some((&case.at, case.fires.alerts))];
    let mut tests = vec![test(alert, "fires", &case.every, &case.fires.series, looks.into_iter().flatten())];
    let absent = ("absent series".to_owned(), Series::new());
    for (name, series) in case.silent.iter().chain([(&absent.0, &absent.1)]) {
        tests.push(test(alert, &format!("silent: {name}"), &case.every, series, [(&case.at, Vec::new())]));
    }
    tests
}

fn test<'a>(
    alert: &str,
    name: &str,
    every: &str,
    series: &Series,
    looks: impl IntoIterator<Item = (&'a String, Vec<Value>)>,
) -> Value {
    let input = series.iter().map(|(series, values)| json!({"series": complete(series), "values": values}));
    let looks = looks.into_iter().map(|(at, alerts)| {
        let expected = alerts
            .iter()
            .map(|alert| json!({"exp_labels": alert["labels"], "exp_annotations": alert["annotations"]}));
        json!({"eval_time": at, "alertname": alert, "exp_alerts": expected.collect::<Vec<_>>()})
    });
    json!({
        "name": format!("{alert}, {name}"),
        "interval": every,
        "input_series": input.collect::<Vec<_>>(),
        "alert_rule_test": looks.collect::<Vec<_>>(),
    })
}

/// Alerts of one file, which read recorded series only.
#[track_caller]
fn check(file: &str, every: &str, alerts: &[String]) {
    // Insight's rules read no recorded rate, and a week of rates takes long.
    let recording = if file == "insight.yaml" { "canary.yaml" } else { "recording.yaml" };
    let files = ["thresholds.yaml", recording, file];
    let tests: Vec<Value> = alerts.iter().flat_map(|alert| tests_of(alert)).collect();
    assert!(tests.len() > alerts.len());
    succeeds(&format!("{file}-{every}"), &files, every, &tests.into());
}

/// promtool runs these tests of rule files.
#[track_caller]
pub(crate) fn succeeds(name: &str, files: &[&str], every: &str, tests: &Value) {
    let content = json!({
        "rule_files": files.iter().map(|file| rules::path(file)).collect::<Vec<_>>(),
        // Else at random, and what a group records would be seen by the next evaluation, too late for long intervals.
        "group_eval_order": groups(files),
        "evaluation_interval": every,
        "tests": tests,
    });
    let path = written(name, &content);
    succeed(Command::new(tools::promtool().unwrap()).args(["test", "rules"]).arg(path));
}

pub(crate) fn groups(files: &[&str]) -> Vec<String> {
    files.iter().flat_map(|file| rules::read(file).groups).map(|group| group.name).collect()
}

pub(crate) fn written(name: &str, file: &Value) -> PathBuf {
    let folder = workspace::target().join("tmp/promtool");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, serde_json::to_string_pretty(file).unwrap()).unwrap();
    path
}

/// Alerts with the same interval are judged in one run: promtool evaluates at one interval, whatever the groups say.
fn check_file(file: &str) {
    let mut by_interval: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (alert, _) in rules::alerts(&[file]) {
        by_interval.entry(cases_of(&alert).every).or_default().push(alert);
    }
    for (every, alerts) in by_interval {
        check(file, &every, &alerts);
    }
}

#[test]
fn alerts_of_the_error_budgets() {
    check_file("slo.yaml");
}

#[test]
fn alerts_of_the_calls() {
    check_file("calls.yaml");
}

#[test]
fn alerts_of_the_canaries() {
    check_file("canary.yaml");
}

#[test]
fn alerts_that_are_off_by_default() {
    check_file("optional.yaml");
}

#[test]
fn alerts_about_predictions_and_llms() {
    check_file("insight.yaml");
}

#[test]
fn alerts_of_the_pods() {
    check_file("kubernetes.yaml");
}

#[test]
fn alerts_that_the_mixin_has_too() {
    check_file("pods.yaml");
}

#[test]
fn alert_of_the_mlflow_server() {
    check_file("mlflow.yaml");
}

#[test]
fn alerts_about_scoretap_itself() {
    check_file("scoretap.yaml");
}

#[test]
fn alerts_under_familiar_names() {
    check_file("familiar-names.yaml");
}

#[test]
fn there_is_no_case_without_an_alert() {
    let alerts = rules::alerts(&FILES);
    for entry in fs::read_dir(workspace::root().join("tests/tests/monitoring/cases")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy();
        assert!(alerts.iter().any(|(alert, _)| *alert == name), "{} tests no alert", path.display());
    }
}
