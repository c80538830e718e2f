//! What Istio's injector adds: the same exporter as our own.

use std::fs;

use scoretap_tests::workspace;
use serde_json::Value;

fn read(file: &str) -> Value {
    serde_norway::from_str(&fs::read_to_string(workspace::root().join(file)).unwrap()).unwrap()
}

#[test]
fn istios_template_has_the_exporter_of_the_one_definition() {
    let values = read("k8s/istio/exporter-template.yaml");
    let template = values["sidecarInjectorWebhook"]["templates"]["scoretap"].as_str().unwrap();
    let template: Value = serde_norway::from_str(template).unwrap();
    let mut ours = read("k8s/sidecar/sidecar.yaml")["initContainers"][2].take();
    let mut theirs = template["spec"]["containers"][0].clone();
    assert_eq!(theirs["args"][1], "http://127.0.0.1:15000");
    // Where the two have to differ: what the one is a native sidecar for, and what each templating language fills in.
    for field in ["image", "args", "restartPolicy", "volumeMounts", "env"] {
        ours.as_object_mut().unwrap().remove(field);
        theirs.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(theirs, ours);
    let labels = &template["metadata"]["labels"];
    assert_eq!(labels["scoretap.dev/injected"], "true", "monitors select by it");
    let plugin = read("k8s/istio/wasm-plugin/wasm-plugin.yaml");
    assert_eq!(
        labels["scoretap.dev/measured"],
        plugin["spec"]["selector"]["matchLabels"]["scoretap.dev/measured"]
    );
}
