//! Our alerts under names from published guides. `cargo xtask generate` makes `familiar-names.yaml` from the table in
//! `docs/familiar-names.md`; each alert is judged by the cases of ours.

use std::fs;

use scoretap_tests::workspace;

/// The ones that have to be there.
const NAMES: [&str; 15] = [
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
    "ModelServerDown",
    "HighCPUUsage",
    "HighModelLatency",
];

/// Familiar names and ours.
pub(crate) fn table() -> Vec<(String, String)> {
    let text = fs::read_to_string(workspace::root().join("docs/familiar-names.md")).unwrap();
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
