//! Reads YAML as Prometheus does: with merge keys, and without keys that are given twice.

use serde::Deserialize;
use serde_json::Value;

/// A document, with its merge keys (`<<`) replaced.
pub(super) fn strict(document: serde_norway::Deserializer<'_>) -> Result<Value, String> {
    let mut value = serde_norway::Value::deserialize(document).map_err(|error| error.to_string())?;
    value.apply_merge().map_err(|error| error.to_string())?;
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// The document with this index, if keys that are given twice are its only fault.
pub(super) fn lenient(text: &str, index: usize) -> Option<Value> {
    Value::deserialize(serde_norway::Deserializer::from_str(text).nth(index)?).ok()
}
