//! A cluster that is well, as the API server and Prometheus describe it, and what the doctor says of one.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use scoretap_tests::stack::Folders;
use scoretap_tests::{tools, workspace};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Ended};
use crate::prometheus::{ANSWERS, METRICS, RULES, TARGETS, UP};

const PROXY: &str = "kubectl get --raw /api/v1/namespaces/monitoring/services/prometheus-operated:9090/proxy";
const UNKNOWN_KIND: &str = "error: the server doesn't have a resource type";

/// Lists of objects, and answers of Prometheus. A list that is null is one of a kind that the cluster does not know.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) namespaces: Value,
    pub(crate) pods: Value,
    pub(crate) workloads: Value,
    pub(crate) services: Value,
    pub(crate) network_policies: Value,
    pub(crate) webhooks: Value,
    pub(crate) policies: Value,
    pub(crate) peers: Value,
    pub(crate) prometheuses: Value,
    pub(crate) pod_monitors: Value,
    pub(crate) service_monitors: Value,
    pub(crate) rules: Value,
    pub(crate) targets: Value,
    pub(crate) groups: Value,
    pub(crate) up: Value,
    pub(crate) metrics: Value,
}

fn recorded(name: &str) -> Value {
    let file = workspace::root().join("tests/tests/operate/answers").join(name);
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// The objects of a shipped file, as they are in the cluster once they were applied to this namespace.
fn shipped(file: &str, namespace: Option<&str>) -> Vec<Value> {
    let text = fs::read_to_string(workspace::root().join("k8s").join(file)).unwrap();
    let documents =
        serde_norway::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    documents
        .map(|mut object| {
            if let Some(namespace) = namespace {
                object["metadata"]["namespace"] = namespace.into();
            }
            object
        })
        .collect()
}

/// What k8s/monitors/kube-prometheus-stack adds.
fn released(mut objects: Vec<Value>) -> Vec<Value> {
    for object in &mut objects {
        object["metadata"]["labels"]["release"] = "kube-prometheus-stack".into();
    }
    objects
}

pub(crate) fn list(items: impl IntoIterator<Item = Value>) -> Value {
    let items: Vec<Value> = items.into_iter().collect();
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
}

/// The injector's answer to a pod.
fn inject(pod: &Value) -> Output {
    let folders = Folders::create("operate-inject").unwrap();
    let file = folders.run.join("pod.json");
    fs::write(&file, pod.to_string()).unwrap();
    Command::new(workspace::injector()).args(["inject", "-f"]).arg(&file).output().unwrap()
}

/// The pod with the sidecar, as the injector makes it.
pub(crate) fn injected(pod: &Value) -> Value {
    let output = inject(pod);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_norway::from_slice(&output.stdout).unwrap()
}

/// Why the injector leaves the pod as it is; nothing where it does not.
pub(crate) fn refusal(pod: &Value) -> Option<String> {
    let output = inject(pod);
    (!output.status.success()).then(|| String::from_utf8(output.stderr).unwrap())
}

/// The pod before anybody injected anything, running.
pub(crate) fn bare_pod() -> Value {
    let mut pod = recorded("pod.json");
    pod["status"] = recorded("status.json");
    pod["status"].as_object_mut().unwrap().remove("initContainerStatuses");
    pod
}

impl Snapshot {
    /// Everything is as it should be: one tenant, one pod, the webhook, kube-prometheus-stack.
    pub(crate) fn sound() -> Self {
        static SOUND: LazyLock<Snapshot> = LazyLock::new(Snapshot::record);
        SOUND.clone()
    }

    fn record() -> Self {
        let mut pod = injected(&recorded("pod.json"));
        pod["status"] = recorded("status.json");
        let rules = ["recording", "slo", "calls", "kubernetes", "scoretap"].iter();
        let rules =
            rules.flat_map(|name| shipped(&format!("rules/operator/{name}.yaml"), Some("monitoring")));
        let [targets, groups, up, metrics] = &*ANSWERS;
        Self {
            namespaces: recorded("namespaces.json"),
            pods: list(vec![pod, recorded("prometheus-pod.json")]),
            workloads: recorded("workloads.json"),
            services: recorded("services.json"),
            network_policies: list(
                ["base", "open"].iter().flat_map(|part| {
                    shipped(&format!("tenants/{part}/network-policy.yaml"), Some("tenant-a"))
                }),
            ),
            webhooks: list(shipped("webhook/webhook.yaml", None)),
            policies: Value::Null,
            peers: Value::Null,
            prometheuses: list(vec![recorded("prometheus.json")]),
            pod_monitors: list(released(shipped("monitors/operator/pod-monitor.yaml", Some("monitoring")))),
            service_monitors: list(released(shipped(
                "monitors/operator/service-monitor.yaml",
                Some("monitoring"),
            ))),
            rules: list(rules),
            targets: targets.1.clone(),
            groups: groups.1.clone(),
            up: up.1.clone(),
            metrics: metrics.1.clone(),
        }
    }

    /// The tenant's pod.
    pub(crate) fn pod(&mut self) -> &mut Value {
        &mut self.pods["items"][0]
    }

    /// kubectl before this cluster.
    pub(crate) fn cluster(&self, name: &str) -> Cluster {
        let mut cluster = Cluster::new(name);
        for (asked, answer) in [
            ("namespaces", &self.namespaces),
            ("pods --all-namespaces", &self.pods),
            ("deployments,statefulsets,daemonsets --all-namespaces", &self.workloads),
            ("services --all-namespaces", &self.services),
            ("networkpolicies --all-namespaces", &self.network_policies),
            ("mutatingwebhookconfigurations", &self.webhooks),
            ("mutatingadmissionpolicies", &self.policies),
            ("peerauthentications.security.istio.io --all-namespaces", &self.peers),
            ("prometheuses.monitoring.coreos.com --all-namespaces", &self.prometheuses),
            ("podmonitors.monitoring.coreos.com --all-namespaces", &self.pod_monitors),
            ("servicemonitors.monitoring.coreos.com --all-namespaces", &self.service_monitors),
            ("prometheusrules.monitoring.coreos.com --all-namespaces", &self.rules),
        ] {
            let asked = format!("kubectl get {asked} --output json");
            match answer {
                Value::Null => cluster.refuses(&asked, UNKNOWN_KIND),
                answer => cluster.answers(&asked, &answer.to_string()),
            }
        }
        for (path, answer) in [(TARGETS, &self.targets), (RULES, &self.groups), (UP, &self.up)] {
            cluster.answers(&format!("{PROXY}{path}"), &answer.to_string());
        }
        cluster.answers(&format!("{PROXY}{METRICS}…"), &self.metrics.to_string());
        cluster
    }

    /// What the doctor says, and that it looked and did nothing else.
    #[track_caller]
    pub(crate) fn diagnosis(&self, name: &str) -> Ended {
        let ended = self.cluster(name).run("scoretap.sh", &["doctor"]);
        assert!(ended.asked.iter().all(|asked| asked.starts_with("kubectl get ")), "{:?}", ended.asked);
        ended
    }

    /// The findings, each with its command.
    #[track_caller]
    pub(crate) fn findings(&self, name: &str) -> Vec<(String, String)> {
        let ended = self.diagnosis(name);
        assert_eq!(ended.err, "", "{}", ended.out);
        let findings: Vec<_> = ended
            .out
            .split("\n\n")
            .filter(|block| !block.trim().is_empty() && block.trim() != "All is well.")
            .map(|block| {
                let (what, command) =
                    block.trim_end().split_once("\n   ").unwrap_or_else(|| panic!("{block:?}"));
                (what.to_owned(), command.to_owned())
            })
            .collect();
        assert_eq!(ended.code, i32::from(!findings.is_empty()), "{}", ended.out);
        findings
    }
}

/// What was recorded by hand has the fields that the API server knows, and no others.
#[test]
fn what_was_recorded_is_what_the_schemas_say() {
    let snapshot = Snapshot::sound();
    let of = |list: &Value| list["items"].as_array().unwrap().clone();
    let core = [&snapshot.namespaces, &snapshot.pods, &snapshot.workloads, &snapshot.services];
    let titled = |object: Value| json!({"title": object["kind"], "version": "1.36", "object": object});
    let python = tools::kubernetes_validate().unwrap();
    let script = workspace::python_file("validate.py");
    assert_eq!(
        said(Command::new(python).arg(script), &core.into_iter().flat_map(of).map(titled).collect()),
        json!([])
    );
    let crds = of(&snapshot.prometheuses).into_iter().map(titled).collect();
    let script = workspace::root().join("tests/node/validate.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(tools::kubernetes_models().unwrap());
    assert_eq!(said(&mut node, &crds), json!([]));
}

fn said(checker: &mut Command, cases: &Value) -> Value {
    let mut child = checker.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(cases.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_cluster_that_is_well_gives_no_finding() {
    let ended = Snapshot::sound().diagnosis("sound");
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "All is well.\n", ""));
}

#[test]
fn a_cluster_with_the_policies_in_place_of_the_webhook_is_well() {
    let mut snapshot = Snapshot::sound();
    snapshot.webhooks = list([]);
    snapshot.policies = list(shipped("policy/policy.yaml", None));
    snapshot.workloads["items"].as_array_mut().unwrap().remove(0);
    assert_eq!(snapshot.findings("policies"), []);
    // And it is the policies that are thought of where a pod has no sidecar.
    *snapshot.pod() = bare_pod();
    snapshot.services["items"][2]["spec"]["ports"][0]["targetPort"] = json!(8080);
    let (what, _) = snapshot.findings("policies-late").remove(0);
    assert!(what.contains("older than its annotation"), "{what}");
}

#[test]
fn a_new_cluster_without_a_tenant_is_well() {
    let mut cluster = Snapshot::sound();
    cluster.pods = list(vec![]);
    cluster.targets["data"]["activeTargets"] = json!([]);
    cluster.up["data"]["result"] = json!([]);
    let ours = |name: &str| !name.starts_with("kube_") && !name.starts_with("container_");
    cluster.metrics["data"]["result"]
        .as_array_mut()
        .unwrap()
        .retain(|series| !ours(series["metric"]["__name__"].as_str().unwrap()));
    assert_eq!(cluster.findings("new"), []);
}

#[test]
fn a_cluster_that_cannot_be_reached_is_not_judged() {
    let mut cluster = Cluster::new("unreachable");
    cluster.instead("kubectl get --raw /version", 1, "The connection to the server was refused");
    for command in ["doctor", "check-targets"] {
        let ended = cluster.run("scoretap.sh", &[command]);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""));
        assert!(ended.err.contains("no cluster can be reached"), "{}", ended.err);
    }
}

#[test]
fn without_jq_it_says_so_and_judges_nothing() {
    let ended = Snapshot::sound().cluster("no-jq").run_on_a_bare_machine("scoretap.sh", "doctor");
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(ended.err.contains("jq is not there"), "{}", ended.err);
}

#[test]
fn what_may_not_be_seen_is_said_and_the_cluster_is_not_called_well() {
    let forbidden =
        "Error from server (Forbidden): pods is forbidden: User \"eve\" cannot list resource \"pods\"";
    let mut cluster = Snapshot::sound().cluster("forbidden");
    cluster.instead("kubectl get pods --all-namespaces --output json", 1, forbidden);
    let ended = cluster.run("scoretap.sh", &["doctor"]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(ended.err.contains("pods is forbidden"), "{}", ended.err);
}

#[test]
fn a_prometheus_that_does_not_answer_leaves_what_was_found_without_it() {
    let mut snapshot = Snapshot::sound();
    let silent = |snapshot: &Snapshot| {
        let mut cluster = snapshot.cluster("silent");
        cluster.instead(
            &format!("{PROXY}…"),
            1,
            "Error from server (ServiceUnavailable): no endpoints available",
        );
        cluster.run("scoretap.sh", &["doctor"])
    };
    let ended = silent(&snapshot);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(ended.err.contains("no endpoints available"), "{}", ended.err);
    snapshot.pod_monitors["items"][0]["metadata"]["labels"]["release"] = "other".into();
    let ended = silent(&snapshot);
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("kubectl label podmonitors"), "{}", ended.out);
}
