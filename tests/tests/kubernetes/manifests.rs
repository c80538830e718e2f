//! Every file below `k8s/` that holds Kubernetes objects, as it stands there. Found by walking: what is added is
//! checked. What kustomizations make of them is checked by `overlays`, where there is a kubectl to render it.

use std::fs;
use std::path::{Path, PathBuf};

use scoretap_tests::workspace;
use serde::Deserialize;
use serde_json::Value;

use crate::schema::{self, Titled};

/// Every folder from here on, this one included.
pub(crate) fn folders(from: &Path) -> Vec<PathBuf> {
    let mut found = vec![from.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next) {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut inner: Vec<_> = entries.filter(|path| path.is_dir()).collect();
        inner.sort();
        found.extend(inner);
        next += 1;
    }
    found
}

/// Every YAML file below a folder.
pub(crate) fn yaml_files(from: &Path) -> Vec<PathBuf> {
    let files = folders(from).into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.filter(|file| file.extension().is_some_and(|end| end == "yaml" || end == "yml")).collect()
}

/// The documents of a text.
#[track_caller]
pub(crate) fn documents(text: &str) -> Vec<Value> {
    serde_norway::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// Titled by its kind and where it is.
pub(crate) fn titled(object: Value, place: &Path) -> Titled {
    let place = place.strip_prefix(workspace::root()).unwrap_or(place);
    (format!("{} {} in {}", object["kind"], object["metadata"]["name"], place.display()), object)
}

/// Every object of every file.
fn objects() -> Vec<Titled> {
    let mut found = Vec::new();
    for file in yaml_files(&workspace::root().join("k8s")) {
        let objects = documents(&fs::read_to_string(&file).unwrap()).into_iter();
        // Others are rules, values of Helm charts, configurations. Kustomizations are read by kubectl, strictly.
        let objects = objects.filter(|document| document.get("apiVersion").is_some());
        let objects =
            objects.filter(|object| object["kind"] != "Kustomization" && object["kind"] != "Component");
        found.extend(objects.map(|object| titled(object, &file)));
    }
    found
}

#[test]
fn every_object_that_is_shipped_is_what_its_schema_says() {
    let objects = objects();
    for kind in [
        "PrometheusRule",
        "AlertmanagerConfig",
        "PodMonitor",
        "WasmPlugin",
        "TrafficExtension",
        "Certificate",
    ] {
        assert!(objects.iter().any(|(_, object)| object["kind"] == kind), "no {kind} was found");
    }
    schema::check_each(&objects);
}

/// By its plural and group, as `kubectl get` takes it. What is in the injector's own namespace goes with that.
#[test]
fn cleanup_looks_for_every_kind_that_has_our_label() {
    let script = fs::read_to_string(workspace::root().join("k8s/scoretap.sh")).unwrap();
    let (_, kinds) = script.split_once("\nkinds=\"").unwrap();
    let kinds: Vec<_> = kinds.split('"').next().unwrap().split_whitespace().collect();
    let gone_with_it = ["Deployment", "PodDisruptionBudget", "ServiceAccount"];
    let ours = objects().into_iter().filter(|(title, object)| {
        let labelled = object["metadata"]["labels"]["app.kubernetes.io/part-of"] == "scoretap";
        let kind = object["kind"].as_str().unwrap();
        labelled && !(title.contains("k8s/webhook/") && gone_with_it.contains(&kind))
    });
    let ours: Vec<_> = ours.collect();
    assert!(ours.len() > 20, "{}", ours.len());
    for (title, object) in ours {
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        let plural = kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"));
        let group = object["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
        let named = [plural.clone(), format!("{plural}.{group}")];
        assert!(
            named.iter().any(|name| kinds.contains(&name.as_str())),
            "{title}: add {} to kinds",
            named[1]
        );
    }
}
