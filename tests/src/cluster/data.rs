//! The data of ConfigMaps and Secrets.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::api::Api;

/// The data of a pod's ConfigMap or Secret (`kind` as in paths). Empty if it is optional and missing.
pub(super) fn of(api: Api, pod: &Value, kind: &str, reference: &Value) -> Result<BTreeMap<String, Vec<u8>>> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let name = reference["name"].as_str().or(reference["secretName"].as_str()).unwrap_or_default();
    let object = match api.get(&format!("/api/v1/namespaces/{namespace}/{kind}/{name}")) {
        Ok(object) => object,
        Err(_) if reference["optional"] == true => Value::Null,
        Err(error) => return Err(error),
    };
    let mut data = BTreeMap::new();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let bytes =
            if kind == "secrets" { base64(text).context(key.clone())? } else { text.as_bytes().to_vec() };
        data.insert(key.clone(), bytes);
    }
    for (key, value) in object["binaryData"].as_object().into_iter().flatten() {
        data.insert(key.clone(), base64(value.as_str().unwrap_or_default()).context(key.clone())?);
    }
    Ok(data)
}

/// Base64 with the standard alphabet and padding.
fn base64(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes().filter(|&letter| letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => anyhow::bail!("this is not base64"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_with_and_without_padding() {
        for (text, expected) in
            [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("YWJjZA==", "abcd")]
        {
            assert_eq!(base64(text).unwrap(), expected.as_bytes(), "{text}");
        }
        assert!(base64("Y-").is_err());
    }
}
