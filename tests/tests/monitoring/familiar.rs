//! Our alerts under the names that teams already route on: `k8s/familiar-names.md` is the table, `familiar-names.yaml`
//! is made of it, and each is judged by the cases of ours.

use std::fs;

use serde_norway::Value;

use crate::{k8s, objects, rules};

/// The ones that have to be there.
const NAMES: [&str; 16] = [
    "HighErrorRate",
    "SlowInference",
    "NoInferenceRequests",
    "HighMemoryUsage",
    "MLInferenceHighLatency",
    "MLInferencePodRestarts",
    "MLInferenceHighErrorRate",
    "MLInferencePodNotReady",
    "MLInferenceHighCPU",
    "MLInferenceHighMemory",
    "HighLatency",
    "PodCrashLooping",
    "MLflowServerDown",
    "ModelServerDown",
    "HighCPUUsage",
    "HighModelLatency",
];

/// Familiar names and ours.
pub(crate) fn table() -> Vec<(String, String)> {
    let text = fs::read_to_string(k8s("familiar-names.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains("| Scoretap"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| (cells[1].to_owned(), cells[2].to_owned())).collect()
}

#[test]
fn the_table_has_each_name_once() {
    let mut found: Vec<_> = table().into_iter().map(|(name, _)| name).collect();
    found.sort();
    let mut expected = NAMES.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_rule_file_is_what_the_table_and_our_alerts_make() {
    let own = ["calls.yaml", "kubernetes.yaml", "optional.yaml"].map(|file| {
        let file: Value = serde_norway::from_str(&fs::read_to_string(rules::path(file)).unwrap()).unwrap();
        file["groups"][0]["rules"].as_sequence().unwrap().clone()
    });
    let own = own.concat();
    let renamed = table().into_iter().map(|(familiar, ours)| {
        let mut rule = own.iter().find(|rule| rule["alert"] == ours.as_str()).expect(&ours).clone();
        rule["alert"] = familiar.into();
        rule
    });
    let mut file: Value =
        serde_norway::from_str("groups: [{name: scoretap.alerts.familiar, interval: 30s}]").unwrap();
    file["groups"][0]["rules"] = renamed.collect::<Vec<_>>().into();
    objects::check(
        "rules/familiar-names.yaml",
        "k8s/familiar-names.md and our alerts",
        &serde_norway::to_string(&file).unwrap(),
    );
}
