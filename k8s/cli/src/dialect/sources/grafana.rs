//! Grafana: dashboards of the classic schema and of schema v2, library panels, variables, annotations and alerts.

use std::collections::BTreeSet;

use serde_json::Value;

use super::documents::quoted;
use super::{DEEPEST_OBJECT, Found, Reader, join, list_of, place, text_of};
use crate::dialect::variables::{Variables, resolved};

impl Reader {
    /// Reads a dashboard or a library panel.
    pub(super) fn dashboard(&mut self, file: &str, within: &str, value: &Value) {
        let classic =
            value.get("templating").map(|templating| list_of(templating, "list")).unwrap_or_default();
        let definitions: Vec<&Value> = classic.iter().chain(list_of(value, "variables")).collect();
        let variables: Variables = definitions.iter().filter_map(|definition| listed(definition)).collect();
        let variables = resolved(&variables);
        for definition in &definitions {
            self.variable(file, within, definition, &variables);
        }
        self.walk(file, within, value, &Panel { depth: 0, datasource: "", variables: &variables });
    }

    /// A query of Grafana's own alerting.
    pub(super) fn panel(&mut self, file: &str, within: &str, value: &Value, variables: &Variables) {
        self.walk(file, within, value, &Panel { depth: 0, datasource: "", variables });
    }

    fn walk(&mut self, file: &str, within: &str, value: &Value, panel: &Panel<'_>) {
        if panel.depth > DEEPEST_OBJECT {
            return self.fault(&place(file, within), "is nested more than 128 levels deep");
        }
        match value {
            Value::Array(items) => {
                let inner = Panel { depth: panel.depth + 1, ..*panel };
                items.iter().for_each(|item| self.walk(file, within, item, &inner));
            }
            Value::Object(object) => {
                let datasource = datasource(value).unwrap_or(panel.datasource);
                let inner = Panel { depth: panel.depth + 1, datasource, ..*panel };
                let within = match panel_name(value) {
                    Some(name) => join(within, &name),
                    None => within.to_owned(),
                };
                if let Some(expr) = object.get("expr").and_then(Value::as_str) {
                    let legend = legend(text_of(value, "legendFormat"));
                    self.target(Found { legend, ..Found::new(file, within.clone(), expr) }, &inner);
                }
                // Variables are read apart. The other keys hold no targets.
                let skipped = ["templating", "variables", "fieldConfig", "options", "vizConfig", "links"];
                let parts = object.iter().filter(|(key, _)| !skipped.contains(&key.as_str()));
                parts.for_each(|(_, value)| self.walk(file, &within, value, &inner));
            }
            _ => {}
        }
    }

    fn target(&mut self, found: Found<'_>, panel: &Panel<'_>) {
        match panel.datasource {
            "" | "prometheus" | "mixed" => {}
            other => {
                let reason = format!("it is for a data source of type {other}");
                return self.other(found, &reason);
            }
        }
        if !found.expr.trim().is_empty() {
            self.query(found, panel.variables);
        }
    }

    /// The query that fills a variable.
    fn variable(&mut self, file: &str, within: &str, definition: &Value, variables: &Variables) {
        if !matches!(text_of(definition, "kind"), "" | "QueryVariable") {
            return;
        }
        // Schema v2 has a `spec`.
        let definition = definition.get("spec").unwrap_or(definition);
        let kind = text_of(definition, "type");
        if !matches!(kind, "query" | "") {
            return;
        }
        let query = definition.get("query").unwrap_or(&Value::Null);
        let nested = query.get("spec").unwrap_or(query);
        let text = [
            query.as_str(),
            nested.get("query").and_then(Value::as_str),
            nested.get("expr").and_then(Value::as_str),
        ];
        let definition_text = definition.get("definition").and_then(Value::as_str);
        let Some(text) =
            text.into_iter().flatten().chain(definition_text).find(|text| !text.trim().is_empty())
        else {
            return;
        };
        if !matches!(
            datasource(definition).or_else(|| datasource(query)),
            None | Some("" | "prometheus" | "mixed")
        ) {
            return;
        }
        let place = join(within, &format!("variable {}", quoted(text_of(definition, "name"))));
        let (function, inner) = call(text);
        let found = |expr| Found::new(file, place.clone(), expr);
        match (function, inner) {
            ("label_values", Some(inner)) => match split_last(inner) {
                // The label must be there, or the variable has no values.
                Some((selector, label)) => {
                    let expr = with_label(selector, label);
                    self.query(found(&expr), variables);
                }
                None => self.other(found(text), "it lists a label's values of all metrics"),
            },
            ("query_result", Some(inner)) => self.query(found(inner), variables),
            ("metrics" | "label_names", Some(_)) => self.other(found(text), "it lists names, not series"),
            _ => self.query(found(text), variables),
        }
    }
}

/// The surroundings of a target.
#[derive(Clone, Copy)]
struct Panel<'a> {
    depth: usize,
    /// The type of the data source: `prometheus`, `mixed` where each target names its own, empty where unknown.
    datasource: &'a str,
    variables: &'a Variables,
}

/// The type of a data source, if the object names one.
fn datasource(value: &Value) -> Option<&str> {
    // Schema v2 calls the type a group.
    if let Some(group) =
        value.get("group").and_then(Value::as_str).filter(|_| text_of(value, "kind") == "DataQuery")
    {
        return Some(group);
    }
    // Its first version has the type as the kind.
    let holds_query =
        |spec: &Value| spec.get("expr").or_else(|| spec.get("query")).is_some_and(Value::is_string);
    if value.get("spec").is_some_and(holds_query) && value.get("datasource").is_none() {
        return value.get("kind").and_then(Value::as_str);
    }
    let source =
        value.get("datasource").or_else(|| value.get("query").and_then(|query| query.get("datasource")))?;
    Some(match source {
        Value::String(name) if name.starts_with('$') => "",
        Value::String(name) if name.contains("Mixed") => "mixed",
        // A name, not a type. Loki's data source is usually called so.
        Value::String(name) if name.to_lowercase().contains("loki") => "loki",
        Value::Object(source) => {
            let kind = source.get("type").and_then(Value::as_str).unwrap_or_default();
            if kind == "datasource" || kind.starts_with('$') { "mixed" } else { kind }
        }
        _ => "",
    })
}

/// The labels in a legend such as `{{method}} of {{ path }}`.
fn legend(text: &str) -> BTreeSet<String> {
    let parts = text.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
    parts.map(|(label, _)| label.trim().to_owned()).collect()
}

/// The name of a panel, annotation or library panel.
fn panel_name(value: &Value) -> Option<String> {
    let title = text_of(value, "title");
    let is_panel =
        value.get("targets").is_some() || value.get("data").is_some() || value.get("gridPos").is_some();
    if is_panel && !title.is_empty() {
        return Some(format!("panel {title:?}"));
    }
    if is_panel {
        return value.get("id").and_then(Value::as_i64).map(|id| format!("panel {id}"));
    }
    if text_of(value, "kind") == "AnnotationQuery" {
        return Some(format!("annotation {}", quoted(text_of(&value["spec"], "name"))));
    }
    let is_annotation = value.get("expr").is_some() && value.get("iconColor").is_some();
    is_annotation.then(|| format!("annotation {}", quoted(text_of(value, "name"))))
}

/// The name and values of a variable that lists them.
fn listed(definition: &Value) -> Option<(String, Vec<String>)> {
    let kind = text_of(definition, "kind");
    let spec = definition.get("spec").unwrap_or(definition);
    let name = text_of(spec, "name").to_owned();
    let query = text_of(spec, "query");
    match (text_of(spec, "type"), kind) {
        ("constant", _) | (_, "ConstantVariable") => Some((name, vec![query.to_owned()])),
        ("textbox", _) | (_, "TextVariable") => None,
        ("custom", _) | (_, "CustomVariable") => {
            let values =
                query.split(',').map(|value| value.rsplit(" : ").next().unwrap_or(value).trim().to_owned());
            Some((name, values.filter(|value| !value.is_empty()).collect()))
        }
        _ => None,
    }
}

/// A function's name and its arguments, for `label_values(up, job)`.
fn call(text: &str) -> (&str, Option<&str>) {
    let text = text.trim();
    match text.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.strip_suffix(')').map(str::trim)),
        None => (text, None),
    }
}

/// Splits `selector, label` at its last comma outside braces.
fn split_last(text: &str) -> Option<(&str, &str)> {
    let (selector, label) = text.rsplit_once(',')?;
    let label = label.trim();
    let is_label = !label.is_empty() && label.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    is_label.then_some((selector.trim(), label))
}

fn with_label(selector: &str, label: &str) -> String {
    match selector.strip_suffix('}').map(str::trim_end) {
        Some(open) if open.ends_with(['{', ',']) => format!("{open}{label}!=\"\"}}"),
        Some(open) => format!("{open}, {label}!=\"\"}}"),
        None => format!("{selector}{{{label}!=\"\"}}"),
    }
}
