//! The default rules as an ARM template of Azure's rule groups.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::{Generated, rules};

/// The rule files that are on by default.
const FILES: [&str; 7] = ["thresholds", "recording", "slo", "calls", "canary", "kubernetes", "scoretap"];

pub(super) fn rule_groups(root: &Path) -> Result<Vec<Generated>> {
    let mut resources = Vec::new();
    for file in FILES {
        for group in rules::groups(root, file)? {
            resources.push(resource(&serde_json::to_value(group)?)?);
        }
    }
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "metadata": {"description": format!("Generated from {}: cargo xtask generate", rules::RULES)},
        "parameters": {
            "azureMonitorWorkspaceId": {
                "type": "string",
                "metadata": {"description": "Resource id of the Azure Monitor workspace that has the metrics."},
            },
            "location": {
                "type": "string",
                "defaultValue": "[resourceGroup().location]",
                "metadata": {"description": "Location of that workspace."},
            },
            "actions": {
                "type": "array",
                "defaultValue": [],
                "metadata": {"description": "Receivers of each alert: objects with an `actionGroupId`."},
            },
        },
        "resources": resources,
    });
    let text = format!("{}\n", serde_json::to_string_pretty(&template)?);
    Ok(vec![("k8s/azure/rule-groups.json".to_owned(), text)])
}

/// The groups are not limited to a cluster, because Azure would select by the label `cluster`, which recorded series do
/// not have.
fn resource(group: &Value) -> Result<Value> {
    let rules = group["rules"].as_array().context("a group has rules")?;
    let rules: Vec<Value> = rules.iter().map(rule).collect::<Result<_>>()?;
    Ok(json!({
        "type": "Microsoft.AlertsManagement/prometheusRuleGroups",
        "apiVersion": "2023-03-01",
        "name": group["name"],
        "location": "[parameters('location')]",
        "properties": {
            "scopes": ["[parameters('azureMonitorWorkspaceId')]"],
            "enabled": true,
            "interval": interval(&group["interval"])?,
            "rules": rules,
        },
    }))
}

fn rule(rule: &Value) -> Result<Value> {
    let mut made = Map::new();
    for (theirs, ours) in [("record", "record"), ("alert", "alert"), ("expression", "expr")] {
        made.extend(rule.get(ours).map(|value| (theirs.to_owned(), value.clone())));
    }
    if let Some(hold) = rule.get("for") {
        made.insert("for".to_owned(), duration(hold)?.into());
    }
    made.extend(rule.get("labels").map(|labels| ("labels".to_owned(), labels.clone())));
    if rule.get("alert").is_some() {
        made.insert("severity".to_owned(), severity(&rule["labels"]["severity"])?.into());
        made.insert("annotations".to_owned(), rule["annotations"].clone());
        let resolve = json!({"autoResolved": true, "timeToResolve": "PT5M"});
        made.insert("resolveConfiguration".to_owned(), resolve);
        made.insert("actions".to_owned(), "[parameters('actions')]".into());
    }
    Ok(made.into())
}

/// Azure's names of 0, 2 and 3 are critical, warning and informational.
fn severity(ours: &Value) -> Result<u8> {
    Ok(match ours.as_str() {
        Some("critical") => 0,
        Some("warning") => 2,
        Some("info") => 3,
        _ => bail!("Azure's severity of {ours} is unknown"),
    })
}

/// Azure evaluates rules once a minute at most.
fn interval(text: &Value) -> Result<String> {
    if text == "30s" { Ok("PT1M".to_owned()) } else { duration(text) }
}

/// A duration in ISO 8601.
fn duration(text: &Value) -> Result<String> {
    let minutes = text.as_str().and_then(|text| text.strip_suffix('m'));
    Ok(format!("PT{}M", minutes.with_context(|| format!("{text} is not in minutes"))?))
}
