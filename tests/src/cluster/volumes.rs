//! A pod's volumes as folders of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::api::Api;
use super::{data, environment};

type Files = BTreeMap<String, Vec<u8>>;

/// Creates all volumes of a pod below `folder` and returns their paths by name.
pub(super) fn create(api: Api, pod: &Value, folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut volumes = BTreeMap::new();
    for volume in all(pod) {
        let name = volume["name"].as_str().unwrap_or_default();
        let path = folder.join(name);
        fs::create_dir_all(&path)?;
        // Containers run as other users.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        for (file, content) in files(api, pod, volume).with_context(|| format!("volume {name}"))? {
            write(&path.join(file), &content)?;
        }
        volumes.insert(name.to_owned(), path);
    }
    Ok(volumes)
}

/// Whether the pod has volumes whose content follows an object.
pub(super) fn follow_objects(pod: &Value) -> bool {
    all(pod).any(|volume| volume["secret"].is_object() || volume["configMap"].is_object())
}

/// Writes changes of ConfigMaps and Secrets. The kubelet does so within about a minute.
pub(super) fn refresh(api: Api, pod: &Value, volumes: &BTreeMap<String, PathBuf>) -> Result<()> {
    for volume in all(pod).filter(|volume| volume["secret"].is_object() || volume["configMap"].is_object()) {
        let Some(path) = volume["name"].as_str().and_then(|name| volumes.get(name)) else { continue };
        for (file, content) in files(api, pod, volume)? {
            let file = path.join(file);
            if fs::read(&file).ok().as_ref() != Some(&content) {
                write(&file, &content)?;
            }
        }
    }
    Ok(())
}

fn all(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["volumes"].as_array().into_iter().flatten()
}

/// Replaces a file by renaming, so that nobody reads half of it.
fn write(file: &Path, content: &[u8]) -> Result<()> {
    let folder = file.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder)?;
    let draft = folder.join(".draft");
    fs::write(&draft, content)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o644))?;
    fs::rename(&draft, file).with_context(|| format!("cannot write {}", file.display()))
}

/// The content of a volume when the pod starts. An `emptyDir` is empty, and so is every unsupported kind.
fn files(api: Api, pod: &Value, volume: &Value) -> Result<Files> {
    if let Some(sources) = volume["projected"]["sources"].as_array() {
        let parts =
            sources.iter().map(|source| source_files(api, pod, source)).collect::<Result<Vec<_>>>()?;
        return Ok(parts.into_iter().flatten().collect());
    }
    source_files(api, pod, volume)
}

fn source_files(api: Api, pod: &Value, source: &Value) -> Result<Files> {
    for (field, kind) in [("configMap", "configmaps"), ("secret", "secrets")] {
        if source[field].is_object() {
            return Ok(selected(data::of(api, pod, kind, &source[field])?, &source[field]["items"]));
        }
    }
    if source["downwardAPI"].is_object() {
        let items = source["downwardAPI"]["items"].as_array().into_iter().flatten();
        return items
            .map(|item| {
                let path = item["path"].as_str().unwrap_or_default().to_owned();
                let field = item["fieldRef"]["fieldPath"].as_str().unwrap_or_default();
                Ok((path, environment::field(pod, field)?.into_bytes()))
            })
            .collect();
    }
    if source["serviceAccountToken"].is_object() {
        return token(api, pod, &source["serviceAccountToken"]);
    }
    Ok(Files::new())
}

/// All keys, or the keys in `items` with their paths.
fn selected(data: Files, items: &Value) -> Files {
    let Some(items) = items.as_array() else { return data };
    let pair = |item: &Value| {
        let content = data.get(item["key"].as_str()?)?;
        Some((item["path"].as_str()?.to_owned(), content.clone()))
    };
    items.iter().filter_map(pair).collect()
}

fn token(api: Api, pod: &Value, source: &Value) -> Result<Files> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let answer = api.create(
        &path,
        &json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}),
    )?;
    let token = answer["status"]["token"].as_str().context("the API server gave no token")?;
    let file = source["path"].as_str().unwrap_or("token");
    Ok(Files::from([(file.to_owned(), token.as_bytes().to_vec())]))
}
