//! Every overlay that is shipped: it renders, each object is what its schema says, and what is named is there.

mod certificate;
mod istio;
mod monitors;
mod references;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use scoretap_tests::stack::Folders;
use scoretap_tests::{tools, workspace};
use serde_json::Value;

use crate::manifests::{documents, folders, titled};
use crate::restricted::violations;
use crate::schema::{self, Titled};

/// Below `k8s/`, each folder with a kustomization, and what that says.
fn kustomizations() -> Vec<(PathBuf, Value)> {
    let folders = folders(&workspace::root().join("k8s")).into_iter();
    let read = |folder: PathBuf| Some((fs::read_to_string(folder.join("kustomization.yaml")).ok()?, folder));
    folders.filter_map(read).map(|(text, folder)| (folder, serde_norway::from_str(&text).unwrap())).collect()
}

/// Those that render by themselves.
fn overlays() -> Vec<PathBuf> {
    let overlays =
        kustomizations().into_iter().filter(|(_, kustomization)| kustomization["kind"] != "Component");
    let found: Vec<_> = overlays.map(|(folder, _)| folder).collect();
    assert!(found.len() >= 14, "{found:?}");
    found
}

/// All that is rendered, by whatever overlay.
static OBJECTS: LazyLock<Vec<Titled>> = LazyLock::new(|| {
    let each = |folder: PathBuf| render(&folder).into_iter().map(move |object| titled(object, &folder));
    overlays().into_iter().flat_map(each).collect()
});

#[track_caller]
fn render(folder: &Path) -> Vec<Value> {
    let output = Command::new(tools::kubectl().unwrap()).arg("kustomize").arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", folder.display());
    documents(&String::from_utf8(output.stdout).unwrap())
}

fn shipped(folder: &str) -> Vec<Value> {
    render(&workspace::root().join("k8s").join(folder))
}

#[track_caller]
fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<_> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

/// One that no overlay names would never be rendered.
#[test]
fn every_component_is_a_part_of_some_overlay() {
    let all = kustomizations();
    let named = all.iter().flat_map(|(folder, kustomization)| {
        let components = kustomization["components"].as_array().into_iter().flatten();
        components.map(|path| folder.join(path.as_str().unwrap()).canonicalize().unwrap())
    });
    let named: Vec<_> = named.collect();
    for (folder, _) in all.iter().filter(|(_, kustomization)| kustomization["kind"] == "Component") {
        assert!(named.contains(&folder.canonicalize().unwrap()), "{}", folder.display());
    }
}

#[test]
fn every_object_that_is_rendered_is_what_its_schema_says() {
    schema::check_each(&OBJECTS);
}

/// What is said once for 1.30 and once for the releases before must be the same.
#[test]
fn the_two_ways_into_istio_differ_in_form_alone() {
    let mut old = one(&shipped("istio/wasm-plugin"), "WasmPlugin")["spec"].clone();
    let mut new = one(&shipped("istio/traffic-extension"), "TrafficExtension")["spec"].clone();
    let wasm = new.as_object_mut().unwrap().remove("wasm").unwrap();
    new.as_object_mut().unwrap().extend(wasm.as_object().unwrap().clone());
    assert_eq!(old.take(), new);
}

/// What is scraped can say anything: it is not believed, and not endlessly much of it is stored.
#[test]
fn monitors_believe_no_label_and_have_limits() {
    for (title, monitor) in OBJECTS.iter().filter(|(_, object)| ends_with(object, "Monitor")) {
        let spec = &monitor["spec"];
        let endpoints = spec.get("podMetricsEndpoints").unwrap_or(&spec["endpoints"]).as_array().unwrap();
        assert!(endpoints.iter().all(|endpoint| endpoint["honorLabels"] == false), "{title}");
        assert!(spec["sampleLimit"].as_u64().is_some_and(|limit| limit > 0), "{title}");
    }
}

/// Istio denies all traffic where it cannot fetch a module, unless it is told exactly this.
#[test]
fn a_module_that_cannot_be_fetched_stops_no_traffic() {
    let plugins =
        OBJECTS.iter().filter(|(_, object)| ends_with(object, "Plugin") || ends_with(object, "Extension"));
    let plugins: Vec<_> = plugins.map(|(title, plugin)| (title, &plugin["spec"])).collect();
    assert!(plugins.len() >= 3);
    for (title, spec) in plugins {
        assert_eq!(spec.get("wasm").unwrap_or(spec)["failStrategy"], "FAIL_OPEN", "{title}");
    }
}

fn ends_with(object: &Value, kind: &str) -> bool {
    object["kind"].as_str().is_some_and(|found| found.ends_with(kind))
}

#[test]
fn the_webhook_itself_is_restricted() {
    let pod = one(&shipped("webhook"), "Deployment")["spec"]["template"].clone();
    assert_eq!(violations(&pod), [""; 0]);
}

#[test]
fn webhook_and_policies_stop_nothing_and_mean_the_same_namespaces() {
    let webhooks = one(&shipped("webhook"), "MutatingWebhookConfiguration")["webhooks"].clone();
    let bindings = shipped("policy");
    let binding = bindings.iter().find(|object| object["kind"] == "MutatingAdmissionPolicyBinding").unwrap();
    for webhook in webhooks.as_array().unwrap() {
        assert_eq!(webhook["failurePolicy"], "Ignore");
        assert_eq!(webhook["sideEffects"], "None");
        assert_eq!(webhook["namespaceSelector"], binding["spec"]["matchResources"]["namespaceSelector"]);
    }
    let policies = bindings.iter().filter(|object| object["spec"].get("failurePolicy").is_some());
    assert_eq!(policies.inspect(|policy| assert_eq!(policy["spec"]["failurePolicy"], "Ignore")).count(), 6);
    let tenant = one(&shipped("tenants/tenant-a"), "Namespace").clone();
    let wanted = binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"].as_object().unwrap();
    assert!(wanted.iter().all(|(name, value)| tenant["metadata"]["labels"][name] == *value));
}

/// Whether one of the policies lets a packet to this port of an injected pod in, from a namespace of this name.
fn admit(policies: &[&Value], namespace: &str, port: u64) -> bool {
    let from = |rule: &Value| {
        rule["from"].as_array().is_none_or(|peers| {
            peers.iter().any(|peer| {
                peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == namespace
            })
        })
    };
    let to = |rule: &Value| {
        let ports = rule["ports"].as_array().unwrap().iter();
        ports
            .inspect(|port| assert!(port.get("endPort").is_none(), "not every network knows it: {port}"))
            .any(|admitted| *admitted == serde_json::json!({"port": port, "protocol": "TCP"}))
    };
    let rules = policies.iter().flat_map(|policy| policy["spec"]["ingress"].as_array().unwrap());
    rules.into_iter().any(|rule| from(rule) && to(rule))
}

fn policies(objects: &[Value]) -> Vec<&Value> {
    let policies = objects.iter().filter(|object| object["kind"] == "NetworkPolicy");
    policies
        .inspect(|policy| {
            let selected = &policy["spec"]["podSelector"]["matchLabels"];
            assert_eq!(*selected, serde_json::json!({"scoretap.dev/injected": "true"}));
        })
        .collect()
}

#[test]
fn a_tenants_metrics_are_for_the_monitoring_namespace_and_its_calls_for_all() {
    for tenant in ["tenant-a", "tenant-b"] {
        let objects = shipped(&format!("tenants/{tenant}"));
        let policies = policies(&objects);
        assert_eq!(policies.len(), 2);
        assert!(policies.iter().all(|policy| policy["metadata"]["namespace"] == tenant));
        assert_eq!(one(&objects, "Namespace")["metadata"]["name"], tenant);
        assert!(admit(&policies, "monitoring", 15190));
        for namespace in ["tenant-a", "tenant-b", "default"] {
            assert!(!admit(&policies, namespace, 15190), "{namespace}");
            for port in [15_100, 8080, 5001] {
                assert!(admit(&policies, namespace, port), "{namespace} {port}");
            }
        }
    }
}

/// Where a namespace closed a door, what every tenant gets opens none.
#[test]
fn what_every_tenant_gets_opens_nothing_but_the_metrics_to_monitoring() {
    let objects = shipped("tenants/base");
    let policies = policies(&objects);
    let admitted = |namespace: &str| -> Vec<u64> {
        (1..=65_535).filter(|port| admit(&policies, namespace, *port)).collect()
    };
    assert_eq!(admitted("monitoring"), [15190]);
    assert_eq!(admitted("tenant-a"), [0; 0]);
}

/// In the folder of the others, and in one of somebody's own.
#[test]
fn the_overlay_of_the_next_tenant_is_one_that_kubectl_builds() {
    let folders = Folders::create("next-tenant").unwrap();
    let ours = folders.run.join("tenants");
    let tenants = workspace::root().join("k8s/tenants");
    assert!(Command::new("cp").arg("-R").arg(tenants).arg(&ours).status().unwrap().success());
    let own = folders.run.join("own");
    fs::create_dir(&own).unwrap();
    let expected = shipped("tenants/tenant-a").iter().map(Value::to_string).collect::<Vec<_>>();
    for (name, folder) in [("tenant-c", None), ("tenant-d", Some(&own)), ("tenant-e", Some(&own))] {
        let output = Command::new(ours.join("new.sh")).arg(name).args(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let built = render(&folder.unwrap_or(&ours).join(name));
        let built: Vec<_> = built.iter().map(|object| object.to_string().replace(name, "tenant-a")).collect();
        assert_eq!(built, expected, "{name}");
    }
    let open = Command::new(ours.join("new.sh")).arg("open").arg(&folders.run).output().unwrap();
    assert!(!open.status.success(), "a part of every overlay is no tenant");
}
