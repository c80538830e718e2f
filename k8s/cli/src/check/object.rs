//! Reads Kubernetes objects as JSON.

use serde_json::{Value, json};

use crate::text::{word, words};

/// The label that every object of the chart carries.
pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of";

/// A null value to borrow.
pub(crate) static NULL: Value = Value::Null;

/// The elements of a list; none if it is missing.
pub(crate) fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// The elements of the list at a pointer.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    list(value.pointer(pointer))
}

/// A text field.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

/// The text at a pointer; empty if there is none.
pub(crate) fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    text_at(object, "/metadata/name")
}

/// `metadata.namespace`; empty if it has none.
pub(crate) fn namespace(object: &Value) -> &str {
    text_at(object, "/metadata/namespace")
}

/// `kind`, in lower case.
pub(crate) fn kind(object: &Value) -> String {
    text_at(object, "/kind").to_ascii_lowercase()
}

/// `metadata.labels`.
pub(crate) fn labels(object: &Value) -> &Value {
    object.pointer("/metadata/labels").unwrap_or(&NULL)
}

/// One label.
pub(crate) fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    text(labels(object), name)
}

/// One annotation.
pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    text(object.pointer("/metadata/annotations")?, name)
}

/// Whether the chart created it.
pub(crate) fn is_ours(object: &Value) -> bool {
    label(object, PART_OF) == Some("scoretap")
}

/// `NAMESPACE/KIND/NAME`, without missing parts.
pub(crate) fn place(object: &Value) -> String {
    let kind = kind(object);
    let parts = [namespace(object), &kind, name(object)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// ` -n NAMESPACE`; empty for a cluster-scoped object.
pub(crate) fn in_namespace(namespace: &str) -> String {
    if namespace.is_empty() { String::new() } else { format!(" -n {}", word(namespace)) }
}

/// `kubectl VERB KIND NAME -n NAMESPACE`. Callers may append arguments.
pub(crate) fn kubectl(verb: &str, object: &Value) -> String {
    let kind = kind(object);
    format!("kubectl {verb} {}{}", words([kind.as_str(), name(object)]), in_namespace(namespace(object)))
}

/// `kubectl patch` with a merge patch.
pub(crate) fn patch(object: &Value, patch: &Value) -> String {
    format!("{} --type=merge -p {}", kubectl("patch", object), word(&patch.to_string()))
}

/// `kubectl patch` with one step of a JSON patch.
pub(crate) fn patch_step(object: &Value, operation: &str, path: &str, value: &Value) -> String {
    let step = json!([{"op": operation, "path": path, "value": value}]);
    format!("{} --type=json -p {}", kubectl("patch", object), word(&step.to_string()))
}

/// The owner that controls an object.
pub(crate) fn owner(object: &Value) -> Option<&Value> {
    at(object, "/metadata/ownerReferences").find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// Containers of a pod or template: init containers, then the others.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    at(pod, "/spec/initContainers").chain(at(pod, "/spec/containers"))
}

/// Whether a pod has a container of this name.
pub(crate) fn has_container(pod: &Value, name: &str) -> bool {
    containers(pod).any(|container| text(container, "name") == Some(name))
}

/// Whether a pod exists and is not terminating.
pub(crate) fn is_alive(pod: &Value) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_none()
        && matches!(text_at(pod, "/status/phase"), "Pending" | "Running" | "")
}

/// Statuses of a pod's containers.
pub(crate) fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    at(pod, "/status/initContainerStatuses").chain(at(pod, "/status/containerStatuses"))
}

/// Parses a time such as `2026-11-20T09:14:02Z` to seconds since 1970, without fractions.
pub(crate) fn seconds(time: &str) -> Option<i64> {
    let digits = |range: std::ops::Range<usize>| time.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    // Days since 1970-01-01 of a civil date: https://howardhinnant.github.io/date_algorithms.html
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_seconds_since_1970() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2026-11-20T09:14:02Z"), Some(1_795_166_042));
        assert_eq!(seconds("2024-02-29T23:59:59.123456Z"), Some(1_709_251_199));
        assert_eq!(seconds("soon"), None);
    }

    #[test]
    fn commands_quote_names_and_patches() {
        let object = json!({"kind": "Service", "metadata": {"name": "a'b $(c)", "namespace": "t"}});
        assert_eq!(kubectl("get", &object), r"kubectl get service 'a'\''b $(c)' -n t");
        let step = patch_step(&object, "replace", "/spec/ports/0/targetPort", &json!("http"));
        let expected = r#"kubectl patch service 'a'\''b $(c)' -n t --type=json -p '[{"op":"replace","path":"/spec/ports/0/targetPort","value":"http"}]'"#;
        assert_eq!(step, expected);
    }
}
