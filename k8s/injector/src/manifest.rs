//! `scoretap inject -f FILE`: makes the same decision for manifests, for pipelines.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::annotations::{ALL, INJECT};
use crate::inject::{Decision, decide, notices};
use crate::pod::name;
use crate::settings::Settings;
use crate::yaml;

/// Manifests with the sidecar in the pods that ask for it, and messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Injected {
    /// The documents.
    pub documents: Vec<Value>,
    /// Reasons why a pod that asks for the sidecar was not injected: `KIND/NAME: what to write`.
    pub faults: Vec<String>,
    /// Other advice, in the same form.
    pub warnings: Vec<String>,
}

/// The kinds that contain a pod or a pod template, and the JSON pointer to it.
const KINDS: [(&str, &str); 7] = [
    ("Pod", ""),
    ("Deployment", "/spec/template"),
    ("StatefulSet", "/spec/template"),
    ("DaemonSet", "/spec/template"),
    ("ReplicaSet", "/spec/template"),
    ("Job", "/spec/template"),
    ("CronJob", "/spec/jobTemplate/spec/template"),
];

/// The names of all kinds that can be injected.
pub fn kinds() -> String {
    format!("{} and List", KINDS.map(|(name, _)| name).join(", "))
}

/// The JSON pointer to the pod or pod template of an object of this kind. `None` if it has none.
pub fn pod_at(kind: &str) -> Option<&'static str> {
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, pointer)| *pointer)
}

/// Injects into every document of a YAML or JSON text.
pub fn inject(text: &str, settings: &Settings) -> Result<Injected> {
    let mut injected = Injected::default();
    for (index, document) in serde_norway::Deserializer::from_str(text).enumerate() {
        let mut document =
            Value::deserialize(document).with_context(|| format!("document {} is not YAML", index + 1))?;
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
    let titled = |message: String| format!("{title}: {message}");
    injected.warnings.extend(misplaced(object, &kind).map(titled));
    injected.warnings.extend(unknown(object, &kind).into_iter().map(titled));
    let mut advice = Advice { faults: unquoted(object, &kind), notices: Vec::new() };
    if advice.faults.is_empty() {
        advice = pod(object, &kind, settings);
    }
    injected.faults.extend(advice.faults.into_iter().map(titled));
    injected.warnings.extend(advice.notices.into_iter().map(titled));
}

/// The annotations of an object's pods that have our prefix.
fn annotations<'a>(object: &'a Value, kind: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let annotations =
        pod_at(kind).and_then(|pointer| object.pointer(pointer)?.pointer("/metadata/annotations"));
    let all = annotations.and_then(Value::as_object).into_iter().flatten();
    all.filter(|(name, _)| name.starts_with("scoretap.dev/"))
}

/// Our annotations that are not strings, an easy mistake in YAML. The API server rejects the object.
fn unquoted(object: &Value, kind: &str) -> Vec<String> {
    let plain = annotations(object, kind).filter(|(_, value)| value.is_boolean() || value.is_number());
    plain.map(|(name, value)| format!("{name} is {value} without quotes; write \"{value}\"")).collect()
}

/// Annotations with our prefix that nothing reads, such as misspelt ones.
fn unknown(object: &Value, kind: &str) -> Vec<String> {
    let unknown = annotations(object, kind).filter(|(name, _)| !ALL.contains(&name.as_str()));
    unknown.map(|(name, _)| format!("{name} has no effect; allowed are {}", ALL.join(", "))).collect()
}

/// The right place for the annotation, if it is where it has no effect.
fn misplaced(object: &Value, kind: &str) -> Option<String> {
    let value = |pointer: &str| object.pointer(pointer)?.pointer("/metadata/annotations")?.get(INJECT);
    let asks = |pointer: &str| value(pointer).is_some_and(|value| *value != "false" && *value != false);
    match pod_at(kind) {
        Some(template) if !template.is_empty() && asks("") && value(template).is_none() => {
            let place = template.trim_start_matches('/').replace('/', ".");
            Some(format!(
                "{INJECT} has no effect on the {kind} itself; write it to {place}.metadata.annotations"
            ))
        }
        None if object.pointer("/spec/template/spec/containers").is_some()
            && (asks("") || asks("/spec/template")) =>
        {
            Some(format!("{INJECT} has no effect here, because only these kinds are known: {}", kinds()))
        }
        Some(_) | None => None,
    }
}

/// The messages about one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// Reasons why its pods are not injected.
    pub faults: Vec<String>,
    /// Notices about its injected pods.
    pub notices: Vec<String>,
}

fn pod(object: &mut Value, kind: &str, settings: &Settings) -> Advice {
    let workload = workload(object, kind);
    let Some(pod) = pod_at(kind).and_then(|pointer| object.pointer_mut(pointer)) else {
        return Advice::default();
    };
    let decision = decide(pod, workload.as_deref(), settings);
    let notices = notices(pod, &decision, settings);
    match decision {
        Decision::NotAsked | Decision::Already => Advice { faults: Vec::new(), notices },
        Decision::Refused(faults) => Advice { faults, notices },
        Decision::Injected(injected) => {
            *pod = *injected;
            Advice { faults: Vec::new(), notices }
        }
    }
}

/// The workload's name as the webhook sees it: in the owner of a pod.
fn workload(object: &Value, kind: &str) -> Option<String> {
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => {
            object.get("metadata").and_then(name).map(str::to_owned)
        }
        _ => None,
    }
}

/// The messages about the pods that a workload would create. They go to the user who applies the workload, because the
/// warnings about its pods go to a controller.
pub fn advice(object: &Value, kind: &str, settings: &Settings) -> Advice {
    pod(&mut json!(object), kind, settings)
}
