//! Rule files: the error types that count, the canary's comparison of predictions, and the alerts under names from
//! published guides, which `docs/familiar-names.md` maps to ours.

use std::path::Path;

use anyhow::{Context, Result};
use scoretap_core::outcome::Outcome;
use serde_norway::Value;

use super::{Generated, read};

/// The folder of the rules, below the workspace's root.
pub(super) const RULES: &str = "k8s/chart/files/rules";
const TABLE: &str = "docs/familiar-names.md";

/// The rule groups of a file.
pub(super) fn groups(root: &Path, name: &str) -> Result<Vec<Value>> {
    let file: Value = serde_norway::from_str(&read(root, &format!("{RULES}/{name}.yaml"))?)?;
    Ok(file["groups"].as_sequence().with_context(|| format!("{name}.yaml has no groups"))?.clone())
}

/// Writes the error types that the service is to blame for into their recording rules.
pub(super) fn error_types(root: &Path) -> Result<Vec<Generated>> {
    [
        ("recording", "record: namespace_model:prediction_service_errors:rate5m"),
        ("canary", "record: namespace_model_version:canary_bad:increase1h"),
    ]
    .map(|(file, rule)| with_error_types(root, file, rule))
    .into_iter()
    .collect()
}

fn with_error_types(root: &Path, file: &str, rule: &str) -> Result<(String, String)> {
    const BEFORE: &str = "error_type=~\"";
    let path = format!("{RULES}/{file}.yaml");
    let text = read(root, &path)?;
    let at = text.find(rule).with_context(|| format!("{path} has no {rule}"))?;
    let start = text[at..].find(BEFORE).map(|found| at + found + BEFORE.len());
    let start = start.with_context(|| format!("{path}: {rule} selects no {BEFORE}"))?;
    let (before, rest) = text.split_at(start);
    let (_, after) = rest.split_once('"').with_context(|| format!("{path}: no quote ends {BEFORE}"))?;
    let blamed = Outcome::ALL.into_iter().filter(|outcome| outcome.is_service_fault());
    let types: Vec<_> = blamed.filter_map(Outcome::error_type).collect();
    Ok((path, format!("{before}{}\"{after}", types.join("|"))))
}

/// Writes the rules that compare the predictions of two versions, from those of the drift.
pub(super) fn canary_drift(root: &Path) -> Result<Vec<Generated>> {
    const DRIFT: [&str; 4] = [
        "namespace_model_route_cell:predictions:share6h",
        "namespace_model_route_cell:predictions_reference:share6h",
        "namespace_model_route:prediction_psi:of6h",
        "namespace_model_route:prediction_psi_noise:of6h",
    ];
    let path = format!("{RULES}/insight.yaml");
    let mut text = read(root, &path)?;
    for record in DRIFT {
        let found = rule(&text, &of_versions(record)).with_context(|| path.clone())?;
        let expected = of_versions(rule(&text, record).with_context(|| path.clone())?);
        text = text.replacen(found, &expected, 1);
    }
    Ok(vec![(path, text)])
}

/// A rule of the drift with the series of the new and of the replaced version.
fn of_versions(rule: &str) -> String {
    [
        ("_cell:predictions:", "_cell:canary_new_predictions:"),
        ("_cell:predictions_reference:", "_cell:canary_replaced_predictions:"),
        ("_route:prediction_psi", "_route:canary_prediction_psi"),
        ("6h", "1h"),
    ]
    .into_iter()
    .fold(rule.to_owned(), |rule, (drift, canary)| rule.replace(drift, canary))
}

/// The lines of the rule that records this series.
fn rule<'a>(text: &'a str, record: &str) -> Result<&'a str> {
    let first = format!("      - record: {record}\n");
    let start = text.find(&first).with_context(|| format!("no rule records {record}"))?;
    let more =
        text[start + first.len()..].split_inclusive('\n').take_while(|line| line.starts_with("        "));
    Ok(&text[start..start + first.len() + more.map(str::len).sum::<usize>()])
}

pub(super) fn familiar_names(root: &Path) -> Result<Vec<Generated>> {
    let mut ours = Vec::new();
    for name in ["calls", "kubernetes", "pods", "optional"] {
        for group in groups(root, name)? {
            ours.extend(group["rules"].as_sequence().context("a group has rules")?.clone());
        }
    }
    let mut renamed = Vec::new();
    for row in read(root, TABLE)?.lines().filter(|row| row.starts_with("| ") && row.contains("| Scoretap")) {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (familiar, name) = cells.next().zip(cells.next()).context("a row has two names")?;
        let rule = ours.iter().find(|rule| rule["alert"] == name);
        let mut rule = rule.with_context(|| format!("{TABLE}: no alert is named {name}"))?.clone();
        rule["alert"] = familiar.into();
        renamed.push(rule);
    }
    let mut file: Value =
        serde_norway::from_str("groups: [{name: scoretap.alerts.familiar, interval: 30s}]")?;
    file["groups"][0]["rules"] = renamed.into();
    let text = serde_norway::to_string(&file)?;
    let head = format!("# Generated from {TABLE} and our alerts: cargo xtask generate\n");
    Ok(vec![(format!("{RULES}/familiar-names.yaml"), head + &text)])
}
