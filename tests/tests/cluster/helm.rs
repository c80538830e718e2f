//! `helm install`, upgrade, rollback and uninstall of the chart.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::MutexGuard;

use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::workspace;
use serde_json::{Value, json};

use crate::chart::{CLUSTER, turn};

const SYSTEM: &str = "scoretap-system";
const WEBHOOK: [&str; 2] = ["--set", "mode=webhook"];
const POLICY: [&str; 2] = ["--set", "mode=policy"];
const TENANT: [&str; 4] = [
    "--set",
    "mode=policy",
    "--set-json",
    r##"tenants=[{"name": "tenant-a", "networkPolicy": "open", "quota": {"pods": 100}, "receiver": {"channel": "#a"}}]"##,
];

/// The release `scoretap`. It is removed at the end even if a test fails.
struct Release {
    _turn: MutexGuard<'static, ()>,
}

impl Release {
    fn none() -> Self {
        Self { _turn: turn() }
    }

    #[track_caller]
    fn install(args: &[&str]) -> Self {
        let release = Self::none();
        release.helm("install", args);
        release
    }

    #[track_caller]
    fn helm(&self, command: &str, args: &[&str]) {
        let chart = workspace::root().join("k8s/chart");
        let all = [&[command, "scoretap", chart.to_str().unwrap(), "-n", SYSTEM], args].concat();
        CLUSTER.helm(&all).unwrap_or_else(|error| panic!("{error:#}"));
    }

    #[track_caller]
    fn uninstall(&self) {
        CLUSTER.helm(&["uninstall", "scoretap", "-n", SYSTEM]).unwrap_or_else(|error| panic!("{error:#}"));
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let _ = CLUSTER.helm(&["uninstall", "scoretap", "-n", SYSTEM, "--ignore-not-found"]);
    }
}

fn get(path: &str) -> Value {
    CLUSTER.api().get(path).unwrap_or_else(|error| panic!("{path}: {error:#}"))
}

fn secret(name: &str) -> Value {
    get(&format!("/api/v1/namespaces/{SYSTEM}/secrets/{name}"))
}

/// Every object of the cluster by kind, namespace and name, except objects that Kubernetes writes for itself.
fn everything() -> BTreeSet<String> {
    let kinds = CLUSTER.kubectl(&["api-resources", "--verbs=list", "-o", "name"]).unwrap();
    let volatile = ["events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses"];
    let kinds: Vec<_> = kinds.lines().filter(|kind| !volatile.contains(kind)).collect();
    let columns = "--output=custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name";
    let listed = CLUSTER.kubectl(&["get", &kinds.join(","), "-A", "--no-headers", columns]).unwrap();
    listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Creates a pod that asks for the sidecar and returns the stored one.
fn pod(name: &str) -> Value {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"scoretap.dev/inject": "true"}},
        "spec": {"containers": [
            {"name": "app", "image": "idle", "ports": [{"name": "http", "containerPort": 8080}]},
        ]},
    });
    CLUSTER
        .kubectl(&["label", "namespace", "tenant-a", "scoretap.dev/injection=enabled", "--overwrite"])
        .unwrap();
    CLUSTER.kubectl_stdin(&["create", "-n", "tenant-a", "-f", "-"], &pod.to_string()).unwrap();
    get(&format!("/api/v1/namespaces/tenant-a/pods/{name}"))
}

fn sidecars(pod: &Value) -> usize {
    let containers = pod["spec"]["initContainers"].as_array().into_iter().flatten();
    containers.filter(|container| container["name"] == "scoretap-envoy").count()
}

fn delete(name: &str) {
    CLUSTER.kubectl(&["delete", "pod", name, "-n", "tenant-a", "--grace-period=0", "--force"]).unwrap();
}

/// Retries until a pod gets the sidecar, because the API server loads new policies and webhooks with a delay.
#[track_caller]
fn wait_for_injection() {
    wait_until("pods get the sidecar", 4 * STARTUP, || {
        let injected = sidecars(&pod("probe")) > 0;
        delete("probe");
        injected
    });
}

#[test]
fn uninstall_leaves_only_pods_with_the_sidecar() {
    let release = Release::none();
    let before = everything();
    assert!(before.contains("Namespace <none> tenant-a"), "{before:?}");
    release.helm("install", &TENANT);
    let installed = everything();
    assert!(installed.iter().any(|object| object.starts_with("MutatingAdmissionPolicy ")), "{installed:?}");
    for object in ["PodMonitor monitoring scoretap", "AlertmanagerConfig tenant-a scoretap"] {
        assert!(installed.contains(object), "{installed:?}");
    }
    wait_for_injection();
    pod("stays");
    release.helm("upgrade", &WEBHOOK);
    let upgraded = everything();
    assert!(upgraded.contains(&format!("Deployment {SYSTEM} scoretap-injector")), "{upgraded:?}");
    assert!(!upgraded.iter().any(|object| object.contains("AdmissionPolicy")), "{upgraded:?}");
    CLUSTER.helm(&["rollback", "scoretap", "1", "-n", SYSTEM]).unwrap();
    // The Deployment's pods and endpoints disappear a moment later. Helm stores releases as Secrets.
    let of_release = |object: &String| !object.contains("sh.helm.release");
    let without_history =
        |objects: BTreeSet<String>| -> BTreeSet<String> { objects.into_iter().filter(of_release).collect() };
    let expected: BTreeSet<_> =
        without_history(installed).into_iter().chain(["Pod tenant-a stays".to_owned()]).collect();
    wait_until("the rollback restores what was installed", 4 * STARTUP, || {
        without_history(everything()) == expected
    });

    CLUSTER
        .kubectl(&["wait", "pod/stays", "-n", "tenant-a", "--for=condition=Ready", "--timeout=120s"])
        .unwrap();
    release.uninstall();
    let expected: BTreeSet<_> = before.into_iter().chain(["Pod tenant-a stays".to_owned()]).collect();
    wait_until("nothing is left but the pod", 4 * STARTUP, || everything() == expected);
    let stays = get("/api/v1/namespaces/tenant-a/pods/stays");
    assert_eq!((sidecars(&stays), &stays["status"]["phase"]), (1, &"Running".into()));
    delete("stays");
}

#[test]
fn mode_follows_the_version_of_the_cluster() {
    let _release = Release::install(&[]);
    let policies = get("/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies");
    assert!(!policies["items"].as_array().unwrap().is_empty());
}

#[test]
fn webhook_and_policies_together_make_one_sidecar() {
    let release = Release::install(&WEBHOOK);
    CLUSTER
        .kubectl(&["rollout", "status", "deployment/scoretap-injector", "-n", SYSTEM, "--timeout=120s"])
        .unwrap();
    wait_for_injection();
    // During an upgrade from one to the other, both exist for a moment. Here both exist for the whole test.
    let chart = workspace::root().join("k8s/chart");
    let policies =
        ["template", "scoretap", chart.to_str().unwrap(), "-n", SYSTEM, "-s", "templates/policy.yaml"];
    let policies = CLUSTER.helm(&[&policies[..], &POLICY].concat()).unwrap();
    CLUSTER.kubectl_stdin(&["create", "-f", "-"], &policies).unwrap();
    wait_until("the policies are in force beside the webhook", 4 * STARTUP, || {
        assert_eq!(sidecars(&pod("both")), 1);
        delete("both");
        let metrics = CLUSTER.kubectl(&["get", "--raw", "/metrics"]).unwrap();
        let checked =
            |line: &str| line.contains("mutating_admission_policy") && line.contains("scoretap-pods");
        metrics.lines().any(checked)
    });
    CLUSTER.kubectl_stdin(&["delete", "-f", "-"], &policies).unwrap();

    release.helm("upgrade", &POLICY);
    wait_for_injection();
    assert_eq!(sidecars(&pod("switched")), 1);
    delete("switched");
}

/// The time in this many days, in the chart's format.
fn in_days(days: u32) -> String {
    let date = ["-u", "-d", &format!("+{days} days"), "+%Y-%m-%dT%H:%M:%SZ"];
    let output = Command::new("date").args(date).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn upgrade_keeps_the_certificate_until_its_last_third() {
    let release = Release::install(&WEBHOOK);
    let (ca, first) = (secret("scoretap-ca"), secret("scoretap-injector-tls"));
    release.helm("upgrade", &WEBHOOK);
    let second = secret("scoretap-injector-tls");
    // Do not print keys.
    assert!(second["data"] == first["data"], "an upgrade changed a fresh certificate");

    for (days, renewed) in [(130, false), (110, true)] {
        let end = in_days(days);
        let mut moved = secret("scoretap-injector-tls");
        moved["metadata"]["annotations"]["scoretap.dev/certificate-end"] = end.as_str().into();
        for field in ["managedFields", "resourceVersion", "uid", "creationTimestamp"] {
            moved["metadata"].as_object_mut().unwrap().remove(field);
        }
        // Helm owns the annotation.
        let args = ["apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-"];
        CLUSTER.kubectl_stdin(&args, &moved.to_string()).unwrap();
        release.helm("upgrade", &WEBHOOK);
        let now = secret("scoretap-injector-tls");
        assert_eq!(now["data"] != first["data"], renewed, "{days} days before the end");
        let annotated = &now["metadata"]["annotations"]["scoretap.dev/certificate-end"];
        assert_eq!(annotated != end.as_str(), renewed, "{annotated}");
    }
    // The same authority signed both, so the API server trusts the old and the new one during a roll-out.
    assert!(secret("scoretap-ca")["data"] == ca["data"], "the authority changed");
    let webhook =
        get("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/scoretap-injector");
    assert_eq!(webhook["webhooks"][0]["clientConfig"]["caBundle"], ca["data"]["tls.crt"]);
    CLUSTER
        .kubectl(&["rollout", "status", "deployment/scoretap-injector", "-n", SYSTEM, "--timeout=120s"])
        .unwrap();
    wait_for_injection();
}
