//! A container's variables, and their expansion in its command.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::api::Api;
use super::data;

/// Variables in the order of their definition. If a name is repeated, the last value wins.
pub(super) type Variables = Vec<(String, String)>;

/// Resolves variables like the kubelet: `envFrom`, then `env`, with `valueFrom` and `$(NAME)`.
pub(super) fn resolve(api: Api, pod: &Value, container: &Value) -> Result<Variables> {
    let mut variables = Variables::new();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        variables.extend(all_of(api, pod, source)?);
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().context("a variable has a name")?;
        let value = match (&variable["value"], &variable["valueFrom"]) {
            (Value::String(value), _) => Some(expand(value, &variables)),
            (_, Value::Null) => Some(String::new()),
            (_, source) => {
                from_source(api, pod, container, source).with_context(|| format!("variable {name}"))?
            }
        };
        variables.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(variables)
}

fn all_of(api: Api, pod: &Value, source: &Value) -> Result<BTreeMap<String, String>> {
    let prefix = source["prefix"].as_str().unwrap_or_default();
    let reference =
        if source["configMapRef"].is_null() { &source["secretRef"] } else { &source["configMapRef"] };
    let kind = if source["configMapRef"].is_null() { "secrets" } else { "configmaps" };
    let data = data::of(api, pod, kind, reference)?;
    Ok(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), lossy(&value))).collect())
}

fn from_source(api: Api, pod: &Value, container: &Value, source: &Value) -> Result<Option<String>> {
    if let Some(path) = source["fieldRef"]["fieldPath"].as_str() {
        return field(pod, path).map(Some);
    }
    if let Some(resource) = source["resourceFieldRef"]["resource"].as_str() {
        return resource_field(container, resource).map(Some);
    }
    let (kind, reference) = if source["secretKeyRef"].is_null() {
        ("configmaps", &source["configMapKeyRef"])
    } else {
        ("secrets", &source["secretKeyRef"])
    };
    let key = reference["key"].as_str().context("an unknown source of a variable")?;
    let data = data::of(api, pod, kind, reference)?;
    match data.get(key) {
        Some(value) => Ok(Some(lossy(value))),
        None if reference["optional"] == true => Ok(None),
        None => bail!("{kind} {} has no key {key}", reference["name"]),
    }
}

/// The downward API.
pub(super) fn field(pod: &Value, path: &str) -> Result<String> {
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let pointer = format!("/{}", map.replace('.', "/"));
        let value = pod.pointer(&pointer).and_then(|map| map.get(key));
        return Ok(value.and_then(Value::as_str).unwrap_or_default().to_owned());
    }
    if path == "status.podIPs" {
        return field(pod, "status.podIP");
    }
    let value = pod.pointer(&format!("/{}", path.replace('.', "/")));
    let text = value.and_then(Value::as_str).with_context(|| format!("the pod has no {path}"))?;
    Ok(text.to_owned())
}

/// A quantity in whole cores or bytes, rounded up.
fn resource_field(container: &Value, resource: &str) -> Result<String> {
    let (kind, name) = resource.split_once('.').context("a resource is limits.X or requests.X")?;
    let quantity = container["resources"][kind][name].as_str().unwrap_or("0");
    Ok(super::quantity::parse(quantity)?.ceil().to_string())
}

/// Replaces `$(NAME)` if the variable is known. `$$` stands for `$`.
pub(super) fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            match variables.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => expanded.push_str(value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded + rest
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded_as_the_kubelet_does() {
        let variables = [("PORT".to_owned(), "80".to_owned()), ("PORT".to_owned(), "90".to_owned())];
        let cases = [
            ("--port=$(PORT)", "--port=90"),
            ("$(OTHER) $(PORT)", "$(OTHER) 90"),
            ("$$(PORT)", "$(PORT)"),
            ("$PORT $", "$PORT $"),
            ("$(PORT", "$(PORT"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }
}
