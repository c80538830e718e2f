//! The manifests that the Helm chart makes for common cases, as committed in `k8s/rendered`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace;

/// Every case: the file's name without its end.
pub const CASES: [&str; 9] = [
    "azure",
    "istio",
    "istio-envoy-filter",
    "istio-wasm-plugin",
    "plain",
    "policy",
    "services",
    "tenants",
    "webhook",
];

/// Where a case is.
pub fn path(case: &str) -> PathBuf {
    workspace::root().join(format!("k8s/rendered/{case}.yaml"))
}

/// The objects of a case.
pub fn objects(case: &str) -> Result<Vec<Value>> {
    let file = path(case);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    documents(&text)
}

/// The documents of a YAML text, without empty ones.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let document: Value = serde::Deserialize::deserialize(document)?;
        if !document.is_null() {
            documents.push(document);
        }
    }
    Ok(documents)
}

/// The one object of a kind and a name.
pub fn object(case: &str, kind: &str, name: &str) -> Result<Value> {
    let mut found = objects(case)?;
    found.retain(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    anyhow::ensure!(found.len() == 1, "{case}: {} objects are {kind} {name}", found.len());
    Ok(found.remove(0))
}

/// A file in a ConfigMap.
pub fn file(case: &str, config_map: &str, key: &str) -> Result<String> {
    let object = object(case, "ConfigMap", config_map)?;
    let text = object["data"][key].as_str().with_context(|| format!("{config_map} has no {key}"))?;
    Ok(text.to_owned())
}
