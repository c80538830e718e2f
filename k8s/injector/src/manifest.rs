//! `scoretap-injector inject -f FILE`: the same decision on manifests, for pipelines.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::inject::{Decision, Settings, decide};
use crate::pod::name;
use crate::{service, yaml};

/// Manifests, as they came or with the sidecar, and what is to be said about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Injected {
    /// The documents.
    pub documents: Vec<Value>,
    /// `KIND/NAME: what to write`
    pub faults: Vec<String>,
}

/// Where the pod, or the template of one, is in an object of this kind. `None` where it has none.
pub fn pod_at(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some(""),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => Some("/spec/template"),
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

/// Injects into every document of a YAML or JSON text.
pub fn inject(text: &str, settings: &Settings) -> Result<Injected> {
    let mut injected = Injected::default();
    for (index, document) in serde_norway::Deserializer::from_str(text).enumerate() {
        let mut document =
            Value::deserialize(document).with_context(|| format!("document {} is no YAML", index + 1))?;
        if !document.is_null() {
            inject_object(&mut document, settings, &mut injected.faults);
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

fn inject_object(object: &mut Value, settings: &Settings, faults: &mut Vec<String>) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if kind == "List" {
        let items = object.get_mut("items").and_then(Value::as_array_mut);
        return items.into_iter().flatten().for_each(|item| inject_object(item, settings, faults));
    }
    let title = format!("{kind}/{}", object.get("metadata").and_then(name).unwrap_or("?"));
    let found = if kind == "Service" { service(object) } else { pod(object, &kind, settings) };
    faults.extend(found.into_iter().map(|fault| format!("{title}: {fault}")));
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
