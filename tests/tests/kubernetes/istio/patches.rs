//! Istio's injection template and the patches, applied by kubectl.

use std::fs;
use std::process::Command;

use scoretap_tests::stack::Folders;
use scoretap_tests::{rendered, tools};
use serde_json::{Value, json};

use super::{MEASURED, istio, template};

/// The template, for a pod. The engine is the one that Istio uses, Go's, which is in kubectl too; the fields have other
/// names there.
fn rendered(folders: &Folders, pod: &Value) -> Value {
    let file = folders.run.join("template");
    let text = template().replace(".ObjectMeta.Annotations", ".metadata.annotations");
    let text = text.replace(".ObjectMeta.Labels", ".metadata.labels");
    fs::write(&file, text.replace("{{ .DeploymentMeta.Name }}", "scorer")).unwrap();
    let output = format!("go-template-file={}", file.display());
    // Any command that prints an object without asking a cluster.
    local(folders, pod, &["annotate", "example.com/rendered=true", "--output", &output])
}

/// As an API server, and Istio's injector, lay one object over another.
fn laid_over(folders: &Folders, object: &Value, patch: &Value) -> Value {
    local(
        folders,
        object,
        &["patch", "--type", "strategic", "--patch", &patch.to_string(), "--output", "json"],
    )
}

/// Applies a patch to one object as kubectl does.
#[track_caller]
fn local(folders: &Folders, object: &Value, args: &[&str]) -> Value {
    let file = folders.run.join("object.json");
    fs::write(&file, object.to_string()).unwrap();
    let mut kubectl = Command::new(tools::kubectl().unwrap());
    let output = kubectl.args(args).args(["--local", "--filename"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_norway::from_slice(&output.stdout).unwrap()
}

#[test]
fn injection_template_survives_hostile_model_names() {
    let folders = Folders::create("istio-template").unwrap();
    let fields = |annotations: Value, labels: Value| {
        let metadata = json!({"name": "scorer-1", "annotations": annotations, "labels": labels});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata});
        let env = rendered(&folders, &pod)["spec"]["initContainers"][0]["env"].take();
        ["MODEL_NAME", "MODEL_VERSION"].map(|name| {
            let variable = env.as_array().unwrap().iter().find(|variable| variable["name"] == name);
            variable.unwrap()["valueFrom"]["fieldRef"]["fieldPath"].as_str().unwrap().to_owned()
        })
    };
    let hostile = "it's \"mine\"\n- }}: {{";
    let annotations = json!({"scoretap.dev/model-name": hostile, "scoretap.dev/model-version": hostile});
    assert_eq!(
        fields(annotations, json!({"app": "scorer"})),
        [
            "metadata.annotations['scoretap.dev/model-name']",
            "metadata.annotations['scoretap.dev/model-version']"
        ]
    );
    let labels =
        json!({"app": "scorer", "app.kubernetes.io/name": "churn", "app.kubernetes.io/version": "7"});
    assert_eq!(
        fields(json!({}), labels),
        ["metadata.labels['app.kubernetes.io/name']", "metadata.labels['app.kubernetes.io/version']"]
    );
    assert_eq!(fields(json!({}), json!({})), ["metadata.labels['app']", "metadata.labels['version']"]);
}

/// A Deployment that was patched, its pods with the proxy that Istio's own template brought, and the exporter laid
/// over.
#[test]
fn exporter_leaves_istios_proxy_unchanged() {
    let folders = Folders::create("istio-measured").unwrap();
    let app = json!({"name": "app", "image": "app", "ports": [{"containerPort": 8080}]});
    let proxy = json!({"name": "istio-proxy", "image": "proxyv2", "restartPolicy": "Always", "args": ["proxy", "sidecar"]});
    let template = json!({
        "metadata": {"labels": {"app": "scorer"}, "annotations": {"mine": "stays"}},
        "spec": {"containers": [app]},
    });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "scorer"},
        "spec": {"selector": {"matchLabels": {"app": "scorer"}}, "template": template},
    });
    for file in MEASURED {
        let mut pod = laid_over(&folders, &deployment, &istio(file))["spec"]["template"].take();
        let metadata = pod["metadata"].clone();
        assert_eq!(
            [&metadata["labels"]["app"], &metadata["annotations"]["mine"]],
            ["scorer", "stays"],
            "{file}"
        );
        assert!(metadata["labels"]["scoretap.dev/measured"].is_string(), "{file}");

        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = "scorer-1".into();
        pod["spec"]["initContainers"] = json!([proxy]);
        let pod = laid_over(&folders, &pod, &rendered(&folders, &pod));
        let added = pod["spec"]["initContainers"].as_array().unwrap();
        let names: Vec<_> = added.iter().map(|container| container["name"].as_str().unwrap()).collect();
        let [istios, ours] = ["istio-proxy", "scoretap-exporter"]
            .map(|name| &added[names.iter().position(|other| *other == name).unwrap()]);
        for (field, value) in proxy.as_object().unwrap() {
            assert_eq!(&istios[field], value, "{file}");
        }
        assert_eq!(ours["ports"][0]["name"], "scoretap-stats", "{file}");
        assert_eq!(pod["spec"]["containers"][0]["name"], "app", "{file}");
        assert_eq!(pod["metadata"]["labels"]["scoretap.dev/injected"], "true", "{file}");
    }
}

#[test]
fn waypoint_has_the_exporter_beside_its_proxy() {
    let folders = Folders::create("istio-waypoint-deployment").unwrap();
    let labels = json!({"gateway.networking.k8s.io/gateway-name": "waypoint"});
    let proxy = json!({"name": "istio-proxy", "image": "proxyv2"});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "waypoint"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [proxy]}},
        },
    });
    let patch = rendered::file("istio", "scoretap-waypoint", "deployment").unwrap();
    let patch: Value = serde_norway::from_str(&patch).unwrap();
    let waypoint = laid_over(&folders, &deployment, &patch);
    let pod = &waypoint["spec"]["template"];
    assert_eq!(pod["spec"]["containers"], json!([proxy]));
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "scoretap-exporter");
    assert_eq!(pod["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"], "waypoint");
}
