//! Label selectors with the API server's semantics.

use serde_json::Value;

use super::object::{list, text};

/// Whether a selector of `matchLabels` and `matchExpressions` selects these labels. A missing selector selects nothing,
/// an empty one everything.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(selector) = selector.as_object() else { return false };
    let equal = selector.get("matchLabels").is_none_or(|wanted| has_all(labels, wanted));
    equal && list(selector.get("matchExpressions")).all(|expression| holds(expression, labels))
}

/// Whether a Service's selector selects these labels. An empty one selects nothing.
pub(crate) fn service_selects(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|wanted| !wanted.is_empty()) && has_all(labels, selector)
}

fn has_all(labels: &Value, wanted: &Value) -> bool {
    wanted.as_object().into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

fn holds(expression: &Value, labels: &Value) -> bool {
    let found = text(expression, "key").and_then(|key| labels.get(key));
    let is_listed = || list(expression.get("values")).any(|value| Some(value) == found);
    match text(expression, "operator") {
        Some("In") => is_listed(),
        Some("NotIn") => !is_listed(),
        Some("Exists") => found.is_some(),
        _ => found.is_none(),
    }
}

/// The label changes with which the selector selects an object, in the form of `kubectl label`.
pub(crate) fn wanted_labels(selector: &Value) -> Vec<String> {
    let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let labels = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let expressions = list(selector.get("matchExpressions")).map(|expression| {
        let key = text(expression, "key").unwrap_or_default();
        let first = expression.pointer("/values/0").and_then(Value::as_str).unwrap_or_default();
        match text(expression, "operator") {
            Some("In") => format!("{key}={first}"),
            Some("Exists") => format!("{key}=true"),
            _ => format!("{key}-"),
        }
    });
    labels.chain(expressions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(name: &str, selector: &Value, expected: bool, change: &[&str]) {
        let labels = json!({"release": "a", "app": "scorer"});
        assert_eq!(selects(selector, &labels), expected, "{name}");
        assert_eq!(wanted_labels(selector), change, "{name}");
    }

    #[test]
    fn selectors_match_as_the_api_server_matches() {
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        check("none", &Value::Null, false, &[]);
        check("empty", &json!({}), true, &[]);
        check("label", &json!({"matchLabels": {"release": "a"}}), true, &["release=a"]);
        check("other value", &json!({"matchLabels": {"release": "b"}}), false, &["release=b"]);
        check("in", &expression("release", "In", &["b", "c"]), false, &["release=b"]);
        check("not in", &expression("release", "NotIn", &["a"]), false, &["release-"]);
        check("not in, absent", &expression("team", "NotIn", &["a"]), true, &["team-"]);
        check("exists", &expression("team", "Exists", &[]), false, &["team=true"]);
        check("does not exist", &expression("release", "DoesNotExist", &[]), false, &["release-"]);
    }

    #[test]
    fn service_without_selector_selects_nothing() {
        assert!(!service_selects(&json!({}), &json!({"app": "scorer"})));
        assert!(!service_selects(&Value::Null, &json!({"app": "scorer"})));
        assert!(service_selects(&json!({"app": "scorer"}), &json!({"app": "scorer", "x": "y"})));
    }
}
