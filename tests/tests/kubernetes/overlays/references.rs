//! What rendered objects name is there: the labels that they select, the ports, the objects, the namespaces.

use std::fs;
use std::sync::LazyLock;

use scoretap_tests::workspace;
use serde_json::{Value, json};

use super::OBJECTS;
use crate::corpus;
use crate::manifests::{documents, yaml_files};
use crate::schema::Titled;
use crate::webhook::WEBHOOK;

/// Namespaces that others make: kube-prometheus-stack, Istio, Kubernetes.
const OF_OTHERS: [&str; 3] = ["monitoring", "istio-system", "kube-system"];

fn of_kind(kind: &str) -> impl Iterator<Item = &'static Value> {
    OBJECTS.iter().map(|(_, object)| object).filter(move |object| object["kind"] == kind)
}

/// Every pod that there would be, as `metadata` and `spec`: those of shipped workloads and of what is laid over
/// workloads, and one with our sidecar.
static PODS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let files = yaml_files(&workspace::root().join("k8s")).into_iter();
    let documents = files.flat_map(|file| documents(&fs::read_to_string(file).unwrap()));
    let mut pods: Vec<_> =
        documents.filter_map(|document| document.pointer("/spec/template").cloned()).collect();
    pods.push(WEBHOOK.review(&corpus::pods().remove(0).pod).patched);
    pods
});

/// What an object selects by labels, and the ports that it names there.
struct Selection<'a> {
    by: &'a str,
    among: Vec<Value>,
    labels: &'a Value,
    ports: Vec<Value>,
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn services() -> Vec<Value> {
    of_kind("Service").cloned().collect()
}

fn selections((by, object): &'static Titled) -> Vec<Selection<'static>> {
    let spec = &object["spec"];
    let each = |items: &'static Value, field: &str| -> Vec<Value> {
        list(items).filter_map(|item| item.get(field)).cloned().collect()
    };
    let of = |among, labels, ports| vec![Selection { by, among, labels, ports }];
    let namespaces =
        || of_kind("Namespace").map(|namespace| json!({"metadata": namespace["metadata"]})).collect();
    match object["kind"].as_str().unwrap() {
        "Service" => of(PODS.clone(), &spec["selector"], each(&spec["ports"], "targetPort")),
        "PodDisruptionBudget" => of(PODS.clone(), &spec["selector"]["matchLabels"], vec![]),
        "Deployment" | "StatefulSet" | "DaemonSet" => {
            of(vec![spec["template"].clone()], &spec["selector"]["matchLabels"], vec![])
        }
        "NetworkPolicy" => {
            let rules = list(&spec["ingress"]).flat_map(|rule| list(&rule["ports"]));
            // The first is the sidecar's, all others are of apps that are not shipped.
            let known = if object["metadata"]["name"] == "scoretap-calls" { 1 } else { usize::MAX };
            let ports = rules.take(known).map(|port| port["port"].clone());
            of(PODS.clone(), &spec["podSelector"]["matchLabels"], ports.collect())
        }
        "PodMonitor" => {
            of(PODS.clone(), &spec["selector"]["matchLabels"], each(&spec["podMetricsEndpoints"], "port"))
        }
        "ServiceMonitor" => {
            of(services(), &spec["selector"]["matchLabels"], each(&spec["endpoints"], "port"))
        }
        "TrafficExtension" | "WasmPlugin" if spec.get("selector").is_some() => {
            of(PODS.clone(), &spec["selector"]["matchLabels"], vec![])
        }
        "EnvoyFilter" if spec.get("workloadSelector").is_some() => {
            of(PODS.clone(), &spec["workloadSelector"]["labels"], vec![])
        }
        "MutatingWebhookConfiguration" => list(&object["webhooks"])
            .flat_map(|webhook| of(namespaces(), &webhook["namespaceSelector"]["matchLabels"], vec![]))
            .collect(),
        "MutatingAdmissionPolicyBinding" | "ValidatingAdmissionPolicyBinding" => {
            of(namespaces(), &spec["matchResources"]["namespaceSelector"]["matchLabels"], vec![])
        }
        _ => vec![],
    }
}

fn has_labels(object: &Value, wanted: &Value) -> bool {
    let wanted = wanted.as_object().filter(|wanted| !wanted.is_empty());
    wanted
        .is_some_and(|wanted| wanted.iter().all(|(name, value)| object["metadata"]["labels"][name] == *value))
}

/// By name or number: a port of a pod's containers, or one of a Service's.
fn declares(object: &Value, port: &Value) -> bool {
    let containers =
        ["initContainers", "containers"].into_iter().flat_map(|field| list(&object["spec"][field]));
    let ports =
        containers.flat_map(|container| list(&container["ports"])).chain(list(&object["spec"]["ports"]));
    ports.into_iter().any(|declared| ["name", "containerPort"].iter().any(|field| declared[*field] == *port))
}

#[test]
fn labels_that_are_selected_and_ports_that_are_named_are_on_what_is_shipped() {
    let mut faults = Vec::new();
    let selections: Vec<_> = OBJECTS.iter().flat_map(selections).collect();
    for Selection { by, among, labels, ports } in &selections {
        let selected: Vec<_> = among.iter().filter(|object| has_labels(object, labels)).collect();
        if selected.is_empty() {
            faults.push(format!("{by}: nothing has {labels}"));
        }
        let unknown = ports.iter().filter(|port| !selected.iter().any(|object| declares(object, port)));
        faults.extend(unknown.map(|port| format!("{by}: nothing that it selects has a port {port}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(selections.len() > 20, "only {}", selections.len());
}

/// What an object names: kind, namespace, name.
fn names((_, object): &Titled) -> Vec<(&'static str, Value, Value)> {
    let namespace = &object["metadata"]["namespace"];
    let here = |kind, name: &Value| (kind, namespace.clone(), name.clone());
    let spec = &object["spec"];
    match object["kind"].as_str().unwrap() {
        "MutatingWebhookConfiguration" => {
            let services = list(&object["webhooks"]).map(|webhook| &webhook["clientConfig"]["service"]);
            let ca = object["metadata"]["annotations"]["cert-manager.io/inject-ca-from"].as_str().unwrap();
            let (namespace, name) = ca.split_once('/').unwrap();
            services
                .map(|service| ("Service", service["namespace"].clone(), service["name"].clone()))
                .chain([("Certificate", namespace.into(), name.into())])
                .collect()
        }
        "Certificate" => {
            let kind = if spec["issuerRef"]["kind"] == "ClusterIssuer" { "ClusterIssuer" } else { "Issuer" };
            let hosts =
                list(&spec["dnsNames"]).map(|host| host.as_str().unwrap().split('.').collect::<Vec<_>>());
            hosts
                .map(|host| ("Service", host[1].into(), host[0].into()))
                .chain([here(kind, &spec["issuerRef"]["name"])])
                .collect()
        }
        "MutatingAdmissionPolicyBinding" => vec![here("MutatingAdmissionPolicy", &spec["policyName"])],
        "ValidatingAdmissionPolicyBinding" => vec![here("ValidatingAdmissionPolicy", &spec["policyName"])],
        "Deployment" | "StatefulSet" | "DaemonSet" => {
            let pod = &spec["template"]["spec"];
            let of = |kind, pointer: &str| {
                let found = list(&pod["volumes"]).filter_map(|volume| volume.pointer(pointer));
                found.map(|name| here(kind, name)).collect::<Vec<_>>()
            };
            let account = pod.get("serviceAccountName").map(|name| here("ServiceAccount", name));
            let secrets = of("Secret", "/secret/secretName").into_iter();
            secrets.chain(of("ConfigMap", "/configMap/name")).chain(account).collect()
        }
        _ => vec![],
    }
}

/// A Secret is there where a Certificate has it written.
fn is_there(kind: &str, namespace: &Value, name: &Value) -> bool {
    let named =
        |object: &Value| object["metadata"]["namespace"] == *namespace && object["metadata"]["name"] == *name;
    let written = |object: &Value| {
        object["metadata"]["namespace"] == *namespace && object["spec"]["secretName"] == *name
    };
    of_kind(kind).any(named) || (kind == "Secret" && of_kind("Certificate").any(written))
}

#[test]
fn objects_that_are_named_are_shipped() {
    let mut named = 0;
    for object in OBJECTS.iter() {
        for (kind, namespace, name) in names(object) {
            assert!(is_there(kind, &namespace, &name), "{}: there is no {kind} {namespace}/{name}", object.0);
            named += 1;
        }
    }
    assert!(named >= 10, "only {named}");
}

/// The API server calls the webhook by this port of its Service.
#[test]
fn the_webhook_is_called_on_a_port_that_its_service_has() {
    let configurations = of_kind("MutatingWebhookConfiguration");
    for webhook in configurations.flat_map(|configuration| list(&configuration["webhooks"])) {
        let called = &webhook["clientConfig"]["service"];
        let service =
            of_kind("Service").find(|service| service["metadata"]["name"] == called["name"]).unwrap();
        let ports = list(&service["spec"]["ports"]).map(|port| &port["port"]).collect::<Vec<_>>();
        assert!(ports.contains(&&called["port"]), "{}: {called}", webhook["name"]);
    }
}

#[test]
fn namespaces_that_are_named_exist() {
    let shipped = of_kind("Namespace").map(|namespace| namespace["metadata"]["name"].as_str().unwrap());
    let known: Vec<_> = shipped.chain(OF_OTHERS).collect();
    let mut faults = Vec::new();
    for (title, object) in OBJECTS.iter() {
        let selectors = &object["spec"]["namespaceSelector"]["matchNames"];
        let peers = list(&object["spec"]["ingress"]).flat_map(|rule| list(&rule["from"]));
        let peers =
            peers.map(|peer| &peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]);
        let own = &object["metadata"]["namespace"];
        let named = list(selectors).chain(peers).chain([own]).filter_map(Value::as_str);
        faults.extend(named.filter(|name| !known.contains(name)).map(|name| format!("{title}: {name}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
