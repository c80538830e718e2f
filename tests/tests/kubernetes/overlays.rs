//! Every overlay that is shipped: it renders, each object is what its schema says, and what is named is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scoretap_tests::stack::Folders;
use scoretap_tests::{tools, workspace};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::restricted::violations;
use crate::schema;
use crate::webhook::WEBHOOK;

/// Folders of another issue's, which has tests of its own.
const OTHERS: [&str; 6] = ["rules", "alerts", "alertmanager", "dashboards", "prometheus", "grafana"];

/// Kinds for which there is no published schema: read by eye, and by `kinds_without_a_schema_have_the_fields_of_their_crd`.
const WITHOUT_A_SCHEMA: [&str; 3] = ["Certificate", "Issuer", "TrafficExtension"];

/// Below `k8s/`, each folder with a kustomization.
fn overlays() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![workspace::root().join("k8s")];
    while let Some(folder) = folders.pop() {
        if folder.join("kustomization.yaml").is_file() {
            found.push(folder.clone());
        }
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let ours = |path: &PathBuf| !OTHERS.iter().any(|other| path.ends_with(format!("k8s/{other}")));
        folders.extend(entries.filter(|path| path.is_dir()).filter(ours));
    }
    found.sort();
    assert!(found.len() >= 10, "{found:?}");
    found
}

fn render(folder: &Path) -> Vec<Value> {
    let output = Command::new(tools::kubectl().unwrap()).arg("kustomize").arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", folder.display());
    let text = String::from_utf8(output.stdout).unwrap();
    serde_norway::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
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

/// All objects of all overlays, by where their schema comes from.
fn by_schema() -> BTreeMap<&'static str, Vec<(String, Value)>> {
    let mut sorted: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for folder in overlays() {
        for object in render(&folder) {
            let title = format!("{} in {}", object["kind"], folder.display());
            let group = object["apiVersion"]
                .as_str()
                .unwrap()
                .split_once('/')
                .map_or("", |(group, _)| group)
                .to_owned();
            let source = match group.as_str() {
                _ if WITHOUT_A_SCHEMA.iter().any(|kind| object["kind"] == *kind) => "none",
                "monitoring.coreos.com"
                | "azmonitoring.coreos.com"
                | "extensions.istio.io"
                | "networking.istio.io" => "models",
                _ if object["kind"].as_str().unwrap().contains("AdmissionPolicy") => "1.36",
                _ => "all",
            };
            sorted.entry(source).or_default().push((title, object));
        }
    }
    sorted
}

#[test]
fn every_object_is_what_its_schema_says() {
    let sorted = by_schema();
    schema::check(&sorted["all"], &["1.29", "1.33", "1.37"]);
    schema::check(&sorted["1.36"], &["1.36", "1.37"]);
    let faults = model_faults(&sorted["models"]);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What the CRDs' schemas have against these objects. Azure's group has the same objects under another name.
fn model_faults(objects: &[(String, Value)]) -> Vec<String> {
    let cases: Value = objects
        .iter()
        .map(|(title, object)| {
            let mut object = object.clone();
            let version = object["apiVersion"].as_str().unwrap().replace("azmonitoring", "monitoring");
            object["apiVersion"] = version.into();
            json!({"title": title, "object": object})
        })
        .collect();
    let mut checker = Command::new("node");
    checker.arg(workspace::root().join("tests/node/validate.mjs")).arg(tools::kubernetes_models().unwrap());
    schema::said(&mut checker, &cases)
}

#[test]
fn the_checker_of_crds_sees_an_unknown_field_and_a_wrong_type() {
    for (pointer, value) in [("sampleLimit", json!("many")), ("smapleLimit", json!(1))] {
        let mut monitor = one(&shipped("monitors/operator"), "PodMonitor").clone();
        monitor["spec"][pointer] = value;
        assert_eq!(model_faults(&[("wrong".into(), monitor)]).len(), 1, "{pointer}");
    }
}

#[test]
fn kinds_without_a_schema_have_the_fields_of_their_crd() {
    const EXTENSION: [&str; 5] = ["selector", "phase", "priority", "match", "wasm"];
    const WASM: [&str; 8] = [
        "url",
        "sha256",
        "imagePullPolicy",
        "pluginName",
        "pluginConfig",
        "failStrategy",
        "vmConfig",
        "type",
    ];
    let extension = one(&shipped("istio/traffic-extension"), "TrafficExtension").clone();
    let unknown = |value: &Value, known: &[&str]| -> Vec<String> {
        value.as_object().unwrap().keys().filter(|key| !known.contains(&key.as_str())).cloned().collect()
    };
    assert_eq!(unknown(&extension["spec"], &EXTENSION), [""; 0]);
    assert_eq!(unknown(&extension["spec"]["wasm"], &WASM), [""; 0]);
    assert_eq!(extension["spec"]["wasm"]["failStrategy"], "FAIL_OPEN");
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

#[test]
fn monitors_find_what_was_injected() {
    let pod = WEBHOOK.review(&crate::corpus::pods().remove(0).pod).patched;
    for folder in ["operator", "kube-prometheus-stack", "native", "azure"] {
        let monitor = one(&shipped(&format!("monitors/{folder}")), "PodMonitor").clone();
        let labels = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
        assert!(labels.iter().all(|(name, value)| pod["metadata"]["labels"][name] == *value), "{folder}");
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        let ports = pod["spec"]["initContainers"].as_array().unwrap().iter();
        let mut ports = ports.filter_map(|container| container["ports"].as_array()).flatten();
        assert!(ports.any(|port| port["name"] == endpoint["port"]), "{folder}");
        assert_eq!(endpoint["honorLabels"], false, "{folder}: a tenant could name another");
        assert!(monitor["spec"]["sampleLimit"].as_u64().is_some_and(|limit| limit > 0), "{folder}");
    }
}

#[test]
fn the_webhooks_parts_find_each_other() {
    let objects = shipped("webhook");
    let (deployment, service) = (one(&objects, "Deployment"), one(&objects, "Service"));
    let template = &deployment["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    for selector in [
        &service["spec"]["selector"],
        &one(&objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ] {
        assert!(
            selector.as_object().unwrap().iter().all(|(name, value)| labels[name] == *value),
            "{selector}"
        );
    }
    let ports = template["spec"]["containers"][0]["ports"].as_array().unwrap();
    for port in service["spec"]["ports"].as_array().unwrap() {
        assert!(ports.iter().any(|declared| declared["name"] == port["targetPort"]), "{port}");
    }
    let monitor = one(&shipped("monitors/operator"), "ServiceMonitor").clone();
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][1]["name"]);
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], service["spec"]["selector"]);
    let name =
        format!("{}.{}.svc", service["metadata"]["name"], service["metadata"]["namespace"]).replace('"', "");
    assert_eq!(one(&objects, "Certificate")["spec"]["dnsNames"], json!([name]));
    let secret = &template["spec"]["volumes"][0]["secret"]["secretName"];
    assert_eq!(&one(&objects, "Certificate")["spec"]["secretName"], secret);
    let pod = json!({"spec": template["spec"]});
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
    assert_eq!(policies.inspect(|policy| assert_eq!(policy["spec"]["failurePolicy"], "Ignore")).count(), 4);
    let tenant = one(&shipped("tenants/tenant-a"), "Namespace").clone();
    let wanted = binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"].as_object().unwrap();
    assert!(wanted.iter().all(|(name, value)| tenant["metadata"]["labels"][name] == *value));
}

/// Whether the policy lets a packet to this port of an injected pod in, from a namespace of this name.
fn admits(policy: &Value, namespace: &str, port: u64) -> bool {
    let from = |rule: &Value| {
        rule["from"].as_array().is_none_or(|peers| {
            peers.iter().any(|peer| {
                peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == namespace
            })
        })
    };
    let to = |rule: &Value| {
        rule["ports"].as_array().unwrap().iter().any(|range| {
            let first = range["port"].as_u64().unwrap();
            range["protocol"] == "TCP" && (first..=range["endPort"].as_u64().unwrap_or(first)).contains(&port)
        })
    };
    policy["spec"]["ingress"].as_array().unwrap().iter().any(|rule| from(rule) && to(rule))
}

#[test]
fn a_tenants_metrics_are_for_the_monitoring_namespace_and_its_other_ports_for_all() {
    for tenant in ["tenant-a", "tenant-b"] {
        let objects = shipped(&format!("tenants/{tenant}"));
        let policy = one(&objects, "NetworkPolicy");
        assert_eq!(policy["metadata"]["namespace"], tenant);
        assert_eq!(one(&objects, "Namespace")["metadata"]["name"], tenant);
        assert_eq!(policy["spec"]["podSelector"]["matchLabels"]["scoretap.dev/injected"], "true");
        assert!(admits(policy, "monitoring", 9464));
        for namespace in ["tenant-a", "tenant-b", "default"] {
            assert!(!admits(policy, namespace, 9464), "{namespace}");
            for port in [1, 8080, 9463, 9465, 15100, 65535] {
                assert!(admits(policy, namespace, port), "{namespace} {port}");
            }
        }
    }
}

#[test]
fn one_line_makes_the_next_tenant() {
    let folders = Folders::create("new-tenant").unwrap();
    let script = workspace::root().join("k8s/tenants/new.sh");
    let new = |name: &str| Command::new(&script).arg(name).arg(&folders.run).output().unwrap();
    assert!(new("tenant-c").status.success());
    let text = fs::read_to_string(folders.run.join("tenant-c/kustomization.yaml")).unwrap();
    let shipped =
        fs::read_to_string(workspace::root().join("k8s/tenants/tenant-a/kustomization.yaml")).unwrap();
    assert_eq!(text, shipped.replace("tenant-a", "tenant-c"));
    for refused in ["tenant-c", "base", "", "Tenant", "a/b", "x\ny"] {
        let output = new(refused);
        assert!(!output.status.success(), "{refused}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("new.sh: "), "{refused}");
    }
}

#[test]
fn scripts_are_clean() {
    let scripts =
        Command::new("find").arg(workspace::root().join("k8s")).args(["-name", "*.sh"]).output().unwrap();
    let scripts = String::from_utf8(scripts.stdout).unwrap();
    assert!(scripts.lines().count() > 0);
    let output = Command::new(tools::shellcheck().unwrap()).args(scripts.lines()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
