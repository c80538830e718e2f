//! `scoretap-injector inject -f FILE`: the same decision on manifests, for pipelines.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::annotations::INJECT;
use crate::inject::{Decision, Settings, decide};
use crate::pod::name;
use crate::{service, yaml};

/// Manifests, as they came or with the sidecar, and what is to be said about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Injected {
    /// The documents.
    pub documents: Vec<Value>,
    /// What is wrong: `KIND/NAME: what to write`
    pub faults: Vec<String>,
    /// What is hardly meant so, in the same form.
    pub warnings: Vec<String>,
}

/// The kinds that hold a pod or the template of one, and where.
const KINDS: [(&str, &str); 7] = [
    ("Pod", ""),
    ("Deployment", "/spec/template"),
    ("StatefulSet", "/spec/template"),
    ("DaemonSet", "/spec/template"),
    ("ReplicaSet", "/spec/template"),
    ("Job", "/spec/template"),
    ("CronJob", "/spec/jobTemplate/spec/template"),
];

/// The names of all kinds in which something can become of an object.
pub fn kinds() -> String {
    format!("{}, Service and List", KINDS.map(|(name, _)| name).join(", "))
}

/// Where the pod, or the template of one, is in an object of this kind. `None` where it has none.
pub fn pod_at(kind: &str) -> Option<&'static str> {
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, pointer)| *pointer)
}

/// Injects into every document of a YAML or JSON text.
pub fn inject(text: &str, settings: &Settings) -> Result<Injected> {
    let mut injected = Injected::default();
    for (index, document) in serde_norway::Deserializer::from_str(text).enumerate() {
        let mut document =
            Value::deserialize(document).with_context(|| format!("document {} is no YAML", index + 1))?;
        if !document.is_null() {
            inject_object(&mut document, settings, &mut injected);
            injected.documents.push(document);
        }
    }
    Ok(injected)
}

/// The documents as one text.
pub fn write(documents: &[Value]) -> String {
    documents.iter().map(yaml::write).collect::<Vec<_>>().join(
        "---
",
    )
}

fn inject_object(object: &mut Value, settings: &Settings, injected: &mut Injected) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if kind == "List" {
        let items = object.get_mut("items").and_then(Value::as_array_mut);
        return items.into_iter().flatten().for_each(|item| inject_object(item, settings, injected));
    }
    let title = format!("{kind}/{}", object.get("metadata").and_then(name).unwrap_or("?"));
    let titled = |said: String| format!("{title}: {said}");
    injected.warnings.extend(unheard(object, &kind).map(titled));
    let mut faults = unquoted(object, &kind);
    if faults.is_empty() {
        faults = if kind == "Service" { service(object) } else { pod(object, &kind, settings) };
    }
    injected.faults.extend(faults.into_iter().map(titled));
}

/// Annotations of ours that are no strings. No API server takes one; in a manifest they are easily written.
fn unquoted(object: &Value, kind: &str) -> Vec<String> {
    let pointer = if kind == "Service" { Some("") } else { pod_at(kind) };
    let annotations = pointer.and_then(|pointer| object.pointer(pointer)?.pointer("/metadata/annotations"));
    let all = annotations.and_then(Value::as_object).into_iter().flatten();
    let plain = all.filter(|(name, value)| {
        name.starts_with("scoretap.dev/") && (value.is_boolean() || value.is_number())
    });
    plain.map(|(name, value)| format!("{name} is {value} without quotes; write \"{value}\"")).collect()
}

/// Where to ask, if an object asks where nobody looks.
fn unheard(object: &Value, kind: &str) -> Option<String> {
    let said = |pointer: &str| object.pointer(pointer)?.pointer("/metadata/annotations")?.get(INJECT);
    let asks = |pointer: &str| said(pointer).is_some_and(|value| *value != "false" && *value != false);
    match pod_at(kind) {
        Some(template) if !template.is_empty() && asks("") && said(template).is_none() => {
            let place = template.trim_start_matches('/').replace('/', ".");
            Some(format!(
                "{INJECT} is on the {kind} itself, where nobody looks; write it to {place}.metadata.annotations"
            ))
        }
        None if object.pointer("/spec/template/spec/containers").is_some()
            && (asks("") || asks("/spec/template")) =>
        {
            Some(format!("{INJECT} does nothing here, as the kind is not known; known are {}", kinds()))
        }
        Some(_) | None => None,
    }
}

fn service(object: &mut Value) -> Vec<String> {
    match service::decide(object) {
        service::Decision::Unchanged => Vec::new(),
        service::Decision::Refused(faults) => faults,
        service::Decision::Changed(changed) => {
            *object = *changed;
            Vec::new()
        }
    }
}

fn pod(object: &mut Value, kind: &str, settings: &Settings) -> Vec<String> {
    let workload = workload(object, kind);
    let Some(pod) = pod_at(kind).and_then(|pointer| object.pointer_mut(pointer)) else { return Vec::new() };
    match decide(pod, workload.as_deref(), settings) {
        Decision::NotAsked | Decision::Already => Vec::new(),
        Decision::Refused(faults) => faults,
        Decision::Injected(injected) => {
            *pod = *injected;
            Vec::new()
        }
    }
}

/// What the pods' owner will be called: the name that the webhook finds in a pod of the same workload.
fn workload(object: &Value, kind: &str) -> Option<String> {
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => {
            object.get("metadata").and_then(name).map(str::to_owned)
        }
        _ => None,
    }
}

/// What is wrong with the pods that a workload would make. It is told to whoever applies the workload, because the
/// warnings of its pods reach no person.
pub fn advice(object: &Value, kind: &str, settings: &Settings) -> Vec<String> {
    pod(&mut json!(object), kind, settings)
}
