//! Rule files and Kubernetes objects. Everything with panels goes to [`grafana`](super::grafana).

use serde_json::Value;

use super::{DEEPEST_OBJECT, Found, Reader, join, list_of, place, text_of};
use crate::dialect::variables::Variables;

/// Keys of queries in other objects, such as those of KEDA, Flagger, Argo Rollouts and the Prometheus adapter.
const QUERY_KEYS: [&str; 4] = ["query", "expr", "metricsQuery", "prometheusQuery"];

impl Reader {
    /// Reads one JSON or YAML document.
    pub(super) fn document(&mut self, file: &str, within: &str, value: &Value) {
        let kind = text_of(value, "kind");
        if is_own(value) {
            // A second run in the same folder finds what the first one wrote.
        } else if is_dashboard(value) {
            self.dashboard(file, within, value);
        } else if let Some(inner) = value.get("dashboard").filter(|inner| inner.is_object()) {
            self.document(file, within, inner);
        } else if value.get("groups").is_some_and(Value::is_array) {
            self.groups(file, within, value);
        } else if matches!(kind, "ConfigMap" | "Secret") {
            let name = join(within, &format!("ConfigMap {}", quoted(text_of(&value["metadata"], "name"))));
            // The data of a Secret is encoded.
            let data = if kind == "Secret" { "stringData" } else { "data" };
            let data = value.get(data).and_then(Value::as_object);
            for (key, text) in
                data.into_iter().flatten().filter_map(|(key, text)| Some((key, text.as_str()?)))
            {
                self.embedded(file, &join(&name, &format!("key {}", quoted(key))), key, text);
            }
        } else if kind == "List" {
            list_of(value, "items").iter().for_each(|item| self.document(file, within, item));
        } else if let Some(items) = value.as_array().filter(|items| items.iter().all(Value::is_object)) {
            items.iter().for_each(|item| self.document(file, within, item));
        } else if let Some(spec) = value.get("spec").filter(|_| !kind.is_empty()) {
            let name = join(within, &format!("{kind} {}", quoted(text_of(&value["metadata"], "name"))));
            self.object(file, &name, spec);
        } else if value.is_object() {
            let before = self.input.queries.len();
            self.search(file, within, value, 0);
            let is_configuration = ["apiVersion", "global", "scrape_configs", "route"]
                .iter()
                .any(|key| value.get(key).is_some());
            if self.input.queries.len() == before && !is_configuration {
                let expected = "a Grafana dashboard, a rule file, or a Kubernetes object with one of these";
                self.no_query(file, within, &format!("holds no query; expected {expected}"));
            }
        } else {
            let expected = "a Grafana dashboard, a rule file, a Kubernetes object or an exposition";
            self.no_query(file, within, &format!("is a text, a number or a list; expected {expected}"));
        }
    }

    /// A value of a ConfigMap. Keys that are neither dashboards nor rules are none of our business.
    fn embedded(&mut self, file: &str, within: &str, key: &str, text: &str) {
        let is_document = [".json", ".yaml", ".yml", ".rules"].iter().any(|end| key.ends_with(end));
        if is_document || text.trim_start().starts_with('{') {
            self.text(file, within, text);
        }
    }

    /// The `spec` of a Kubernetes object.
    fn object(&mut self, file: &str, within: &str, spec: &Value) {
        if spec.get("groups").is_some_and(Value::is_array) {
            self.groups(file, within, spec);
        } else if is_dashboard(spec) {
            self.dashboard(file, within, spec);
        } else if let Some(json) = spec.get("json").and_then(Value::as_str) {
            // The Grafana operator's dashboards.
            self.text(file, within, json);
        } else {
            self.search(file, within, spec, 0);
        }
    }

    /// Rules of Prometheus or of Grafana's own alerting.
    fn groups(&mut self, file: &str, within: &str, value: &Value) {
        for group in list_of(value, "groups") {
            for rule in list_of(group, "rules") {
                let (alert, record) = (text_of(rule, "alert"), text_of(rule, "record"));
                let name = match (alert, record) {
                    ("", "") => format!("rule {}", quoted(text_of(rule, "title"))),
                    (alert, "") => format!("alert {}", quoted(alert)),
                    (_, record) => format!("record {}", quoted(record)),
                };
                let place = join(within, &name);
                if let Some(expr) = rule.get("expr").and_then(Value::as_str) {
                    let records = (!record.is_empty()).then_some(record);
                    let labels = rule.get("labels").and_then(Value::as_object);
                    let adds = labels.into_iter().flatten().map(|(label, _)| label.clone()).collect();
                    self.query(Found { records, adds, ..Found::new(file, place, expr) }, &Variables::new());
                } else {
                    list_of(rule, "data")
                        .iter()
                        .for_each(|data| self.panel(file, &place, &data["model"], &Variables::new()));
                }
            }
        }
    }

    /// Any other object: the values of keys that hold queries.
    fn search(&mut self, file: &str, within: &str, value: &Value, depth: usize) {
        if depth > DEEPEST_OBJECT {
            return self.fault(&place(file, within), "is nested more than 128 levels deep");
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.search(file, within, item, depth + 1)),
            Value::Object(object) => {
                let name = ["name", "metricName", "title"].iter().find_map(|key| object.get(*key)?.as_str());
                let within = name.map_or_else(|| within.to_owned(), |name| join(within, &quoted(name)));
                for (key, value) in object {
                    match value.as_str() {
                        Some(expr) if QUERY_KEYS.contains(&key.as_str()) => {
                            self.template(file, &join(&within, key), expr, object);
                        }
                        _ => self.search(file, &within, value, depth + 1),
                    }
                }
            }
            _ => {}
        }
    }

    /// The Prometheus adapter, Flagger and Argo Rollouts put templates into queries.
    fn template(&mut self, file: &str, place: &str, expr: &str, object: &serde_json::Map<String, Value>) {
        let series = object.get("seriesQuery").and_then(Value::as_str).unwrap_or_default();
        let series = series.split('{').next().unwrap_or_default();
        let mut text = expr
            .replace("<<.Series>>", series)
            .replace("<<.LabelMatchers>>", "")
            .replace("<<.GroupBy>>", "namespace");
        for (open, close) in [("{{", "}}"), ("<<", ">>")] {
            while let Some((before, rest)) = text.split_once(open) {
                let after = rest.split_once(close).map_or("", |(_, after)| after);
                let inside_range = before.trim_end().ends_with('[');
                text = format!("{before}{}{after}", if inside_range { "5m" } else { "$template" });
            }
        }
        self.query(Found::new(file, place.to_owned(), &text), &Variables::new());
    }
}

/// Whether a document is a dialect or a report.
fn is_own(value: &Value) -> bool {
    let has = |key: &str| value.get(key).is_some();
    has("dialect") && (has("families") || has("needs") && has("queries"))
}

/// Whether a document is a dashboard or a library panel, of any of Grafana's schemas.
fn is_dashboard(value: &Value) -> bool {
    ["panels", "rows", "elements", "templating"].iter().any(|key| value.get(key).is_some())
        || value.get("model").is_some_and(|model| model.get("targets").is_some())
        || value.get("targets").is_some_and(Value::is_array)
}

/// A name in quotes, or a word for a missing one.
pub(super) fn quoted(name: &str) -> String {
    if name.is_empty() { "without a name".to_owned() } else { format!("{name:?}") }
}
