//! Policy, webhook and `scoretap inject` store the same pod and give the same warnings, for the whole case table.

use std::sync::LazyLock;

use scoretap_injector::manifest;
use scoretap_injector::settings::Settings;
use scoretap_tests::cluster::{Cluster, Version};
use scoretap_tests::wait::wait_until;
use serde_json::{Value, json};

use crate::cases::{Case, Expected, pods};
use crate::support::{DEADLINE, install, is_injected, with_policies};

/// The ways in which a pod gets the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Policy,
    Webhook,
    Inject,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Policy, Self::Webhook, Self::Inject];

    /// A cluster that injects the sidecar in this way.
    pub(crate) fn cluster(self) -> &'static Cluster {
        static POLICIES: LazyLock<&Cluster> = LazyLock::new(|| {
            let cluster = with_policies();
            wait_until("the policies warn", DEADLINE, || warns(cluster));
            cluster
        });
        static WEBHOOK: LazyLock<Cluster> = LazyLock::new(|| {
            let cluster = Cluster::alone("pods", Version::V1_37);
            install(&cluster, &["--set", "mode=webhook", "--wait", "--timeout=120s"]);
            cluster
        });
        match self {
            Self::Policy | Self::Inject => &POLICIES,
            Self::Webhook => &WEBHOOK,
        }
    }

    /// A namespace for these pods under this level of Pod Security.
    pub(crate) fn namespace(self, level: &str) -> String {
        let injection = if self == Self::Inject { "disabled" } else { "enabled" };
        let labels = [("scoretap.dev/injection", injection), ("pod-security.kubernetes.io/enforce", level)];
        self.cluster().namespace_with(level, &labels)
    }

    /// The pod that the API server would store, and its warnings. For `inject`, includes the command's warnings.
    pub(crate) fn create(self, namespace: &str, pod: &Value) -> Result<(Value, Vec<String>), String> {
        let (pod, mut warnings) = match self {
            Self::Policy | Self::Webhook => (pod.clone(), Vec::new()),
            Self::Inject => injected(pod),
        };
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        let created = self.cluster().api().create_with_warnings(&path, &pod);
        let (stored, more) = created.map_err(|error| format!("{error:#}"))?;
        warnings.extend(more);
        Ok((stored, warnings))
    }
}

/// Whether the cluster warns about a pod and about both kinds of workloads. The API server loads each policy
/// separately.
fn warns(cluster: &Cluster) -> bool {
    let namespace = cluster.namespace_with("warned", &[("scoretap.dev/injection", "enabled")]);
    let container = json!({"name": "app", "image": "app", "ports": [{"containerPort": 8080}]});
    let metadata = json!({"name": "w", "labels": {"w": "w"}, "annotations": {"scoretap.dev/inject": "yes"}});
    let pod = json!({"metadata": metadata, "spec": {"containers": [container], "restartPolicy": "Never"}});
    let job = json!({"spec": {"template": pod}});
    let objects = [
        ("api/v1", "pods", pod.clone()),
        ("apis/batch/v1", "jobs", json!({"metadata": {"name": "w"}, "spec": job["spec"]})),
        (
            "apis/batch/v1",
            "cronjobs",
            json!({"metadata": {"name": "w"}, "spec": {"schedule": "0 0 * * *", "jobTemplate": job}}),
        ),
    ];
    objects.iter().all(|(version, resource, object)| {
        let path = format!("/{version}/namespaces/{namespace}/{resource}?dryRun=All");
        let (_, warnings) = cluster.api().create_with_warnings(&path, object).unwrap();
        warnings.iter().any(|warning| warning.contains("scoretap.dev/inject is"))
    })
}

/// The pod that `scoretap inject` prints, and its messages.
fn injected(pod: &Value) -> (Value, Vec<String>) {
    let mut injected = manifest::inject(&pod.to_string(), &Settings::default()).unwrap();
    let messages = [injected.faults, injected.warnings].concat();
    let messages = messages.iter().map(|message| message.strip_prefix("Pod/scorer: ").unwrap().to_owned());
    (injected.documents.remove(0), messages.collect())
}

/// Removes fields that differ between creations, and sorts volumes: the API server adds the token's volume before a
/// policy adds the sidecar's, but after `inject` has added them.
pub(crate) fn comparable(pod: &Value) -> Value {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let token =
        volumes.filter_map(|volume| volume["name"].as_str()).find(|name| name.starts_with("kube-api-"));
    let text = match token {
        Some(token) => pod.to_string().replace(token, "kube-api-access"),
        None => pod.to_string(),
    };
    let mut pod: Value = serde_json::from_str(&text).unwrap();
    let metadata = pod["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| ["labels", "annotations", "ownerReferences"].contains(&field.as_str()));
    if let Some(volumes) = pod["spec"]["volumes"].as_array_mut() {
        volumes.sort_by_key(|volume| volume["name"].as_str().map(str::to_owned));
    }
    json!({"metadata": pod["metadata"], "spec": pod["spec"]})
}

/// Our warnings, sorted, without the API server's prefix for warnings of policies.
fn ours(warnings: &[String]) -> Vec<String> {
    let message = |warning: &String| match warning.strip_prefix("Validation failed for ") {
        Some(rest) => rest.split_once("': ").map(|(_, message)| message.to_owned()),
        // The API server's own warnings are about fields.
        None => Some(warning.clone()).filter(|warning| !warning.starts_with("spec.")),
    };
    let mut ours: Vec<_> = warnings.iter().filter_map(message).collect();
    ours.sort();
    ours
}

struct Outcome {
    case: Case,
    way: Way,
    stored: Value,
    warnings: Vec<String>,
}

/// Runs every case in every way that can decide it.
static OUTCOMES: LazyLock<Vec<Outcome>> = LazyLock::new(|| {
    let mut outcomes = Vec::new();
    for way in Way::ALL {
        let restricted = way.namespace("restricted");
        let privileged = way.namespace("privileged");
        for case in pods().into_iter().filter(|case| case.in_cel || way != Way::Policy) {
            let namespace = if case.is_restricted { &restricted } else { &privileged };
            let created = way.create(namespace, &case.pod);
            let (stored, warnings) =
                created.unwrap_or_else(|error| panic!("{}, {way:?}: {error}", case.name));
            outcomes.push(Outcome { case, way, stored: comparable(&stored), warnings: ours(&warnings) });
        }
    }
    outcomes
});

fn of_way(way: Way) -> impl Iterator<Item = &'static Outcome> {
    OUTCOMES.iter().filter(move |outcome| outcome.way == way)
}

fn of_case(way: Way, name: &str) -> Option<&'static Outcome> {
    of_way(way).find(|outcome| outcome.case.name == name)
}

/// Compares the table with the pods that the API server would store.
#[test]
fn stored_pods_are_what_the_table_expects() {
    for Outcome { case, way, stored, warnings } in &*OUTCOMES {
        let title = format!("{}, {way:?}", case.name);
        match &case.expected {
            Expected::Injected { port, model } => {
                assert!(is_injected(stored), "{title}: {warnings:?}");
                assert_eq!(variable(stored, "scoretap-setup", "SCORETAP_APP_PORT"), *port, "{title}");
                let escaped = model.replace('$', "$$");
                assert_eq!(variable(stored, "scoretap-exporter", "MODEL_NAME"), escaped, "{title}");
                assert_eq!(warnings.len(), case.notices.len(), "{title}: {warnings:?}");
            }
            Expected::Unchanged => assert_eq!(*warnings, [""; 0], "{title}"),
            Expected::Refused(words) => {
                assert!(warnings.iter().any(|warning| warning.contains(words)), "{title}: {warnings:?}");
            }
        }
        for notice in &case.notices {
            assert!(warnings.iter().any(|warning| warning.contains(notice)), "{title}: {warnings:?}");
        }
        for (pointer, value) in &case.fields {
            let found = stored.pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(found, value, "{title}: {pointer}");
        }
    }
}

fn variable<'a>(pod: &'a Value, container: &str, name: &str) -> &'a str {
    let named = |list: &'a Value, name: &str| {
        let found = list.as_array().unwrap().iter().find(|item| item["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {list}"))
    };
    named(&named(&pod["spec"]["initContainers"], container)["env"], name)["value"]
        .as_str()
        .unwrap_or_default()
}

#[test]
fn three_ways_store_the_same_pod() {
    let mut injected = 0;
    for outcome in of_way(Way::Inject) {
        let name = outcome.case.name;
        for way in [Way::Policy, Way::Webhook] {
            if let Some(other) = of_case(way, name) {
                assert_eq!(other.stored, outcome.stored, "{name}: {way:?} and Inject");
            }
        }
        injected += usize::from(is_injected(&outcome.stored));
    }
    assert!(injected > 50, "only {injected} pods were injected");
}

#[test]
fn three_ways_give_the_same_warnings() {
    let mut warned = 0;
    for outcome in of_way(Way::Inject) {
        let name = outcome.case.name;
        for way in [Way::Policy, Way::Webhook] {
            if let Some(other) = of_case(way, name) {
                assert_eq!(other.warnings, outcome.warnings, "{name}: {way:?} and Inject");
            }
        }
        warned += outcome.warnings.len();
    }
    assert!(warned > 30, "only {warned} warnings");
}

#[test]
fn refused_pods_are_stored_unchanged() {
    for way in [Way::Policy, Way::Webhook] {
        let mut refused = 0;
        for outcome in of_way(way).filter(|outcome| matches!(outcome.case.expected, Expected::Refused(_))) {
            let plain = Way::Inject.cluster().namespace("plain");
            let path = format!("/api/v1/namespaces/{plain}/pods?dryRun=All");
            let stored = Way::Inject.cluster().api().create(&path, &outcome.case.pod).unwrap();
            assert_eq!(outcome.stored, comparable(&stored), "{}, {way:?}", outcome.case.name);
            refused += 1;
        }
        assert!(refused > 20, "only {refused} pods were refused");
    }
}

/// Other webhooks make the API server call ours again, and pods from `inject` may come to a cluster that injects.
#[test]
fn second_injection_changes_nothing() {
    for way in [Way::Policy, Way::Webhook] {
        let namespace = way.namespace("privileged");
        for outcome in of_way(Way::Inject).filter(|outcome| is_injected(&outcome.stored)) {
            let (once, _) = injected(&outcome.case.pod);
            let (twice, _) = way.create(&namespace, &once).unwrap();
            assert_eq!(comparable(&twice), outcome.stored, "{}, {way:?}", outcome.case.name);
        }
    }
}

/// Warnings about pods that a workload creates go to a controller, so the workload has to warn itself.
#[test]
fn workloads_warn_as_their_pods_do() {
    let template = |pod: &Value, policy: &str| {
        let mut template = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
        let metadata = template["metadata"].as_object_mut().unwrap();
        metadata.retain(|field, _| ["labels", "annotations"].contains(&field.as_str()));
        template["metadata"]["labels"]["workload"] = "w".into();
        template["spec"]["restartPolicy"] = policy.into();
        template
    };
    let selector = json!({"matchLabels": {"workload": "w"}});
    type Spec<'a> = &'a dyn Fn(&Value) -> Value;
    let kinds: [(&str, Spec<'_>); 3] = [
        (
            "apps/v1/namespaces/{}/deployments",
            &|pod| json!({"selector": selector, "template": template(pod, "Always")}),
        ),
        ("batch/v1/namespaces/{}/jobs", &|pod| json!({"template": template(pod, "Never")})),
        (
            "batch/v1/namespaces/{}/cronjobs",
            &|pod| json!({"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template(pod, "Never")}}}),
        ),
    ];
    for way in [Way::Policy, Way::Webhook] {
        let namespace = way.namespace("privileged");
        for (path, spec) in kinds {
            let path = format!("/apis/{}?dryRun=All", path.replace("{}", &namespace));
            let mut warned = 0;
            for outcome in of_way(way) {
                let workload = json!({"metadata": {"name": "w"}, "spec": spec(&outcome.case.pod)});
                let created = way.cluster().api().create_with_warnings(&path, &workload);
                let (stored, warnings) =
                    created.unwrap_or_else(|error| panic!("{}, {path}: {error:#}", outcome.case.name));
                let labels = ["/spec/template", "/spec/jobTemplate/spec/template"]
                    .map(|template| stored.pointer(&format!("{template}/metadata/labels")));
                let changed = |labels: &Value| labels.get("scoretap.dev/injected").is_some();
                let was = outcome.case.pod.pointer("/metadata/labels").is_some_and(changed);
                assert_eq!(labels.into_iter().flatten().any(changed), was, "{}, {path}", outcome.case.name);
                assert_eq!(workload_warnings(&warnings), outcome.warnings, "{}, {path}", outcome.case.name);
                warned += outcome.warnings.len();
            }
            assert!(warned > 30, "{path}: only {warned} warnings");
        }
    }
}

/// Our warnings, without the API server's own about fields and Pod Security.
fn workload_warnings(warnings: &[String]) -> Vec<String> {
    let own = |warning: &String| warning.starts_with("would violate PodSecurity");
    ours(&warnings.iter().filter(|warning| !own(warning)).cloned().collect::<Vec<_>>())
}

/// Injection would add the volume, and the app could open Envoy's admin socket.
#[test]
fn mount_of_our_volume_is_never_made_valid() {
    for way in Way::ALL {
        let namespace = way.namespace("restricted");
        for (list, index) in [("containers", 0), ("initContainers", 0)] {
            let mut pod = pods().remove(0).pod;
            if list == "initContainers" {
                let mut init = pod["spec"]["containers"][0].clone();
                init["name"] = "init".into();
                pod["spec"][list] = json!([init]);
            }
            pod["spec"][list][index]["volumeMounts"] = json!([{"name": "scoretap", "mountPath": "/admin"}]);
            let error = way.create(&namespace, &pod).unwrap_err();
            assert!(error.contains("Not found: \"scoretap\""), "{way:?}: {error}");
        }
    }
}

/// CEL has a cost budget. If a pod exceeds it, the API server stores the pod without a sidecar.
#[test]
fn large_pod_fits_the_policys_budget() {
    let mut pod = pods().remove(0).pod;
    let app = pod["spec"]["containers"][0].clone();
    let many = |count: usize, item: &dyn Fn(usize) -> Value| (0..count).map(item).collect::<Value>();
    let others = many(40, &|container| {
        let mut other = app.clone();
        other["name"] = format!("other-{container}").into();
        other["ports"] = many(
            40,
            &|port| json!({"name": format!("p-{container}-{port}"), "containerPort": 20_000 + port}),
        );
        other
    });
    pod["spec"]["containers"].as_array_mut().unwrap().extend(others.as_array().unwrap().clone());
    pod["spec"]["containers"][0]["env"] =
        many(1000, &|number| json!({"name": format!("V{number}"), "value": "x".repeat(20)}));
    pod["spec"]["containers"][0]["args"] = many(300, &|number| json!(format!("--flag-{number}={number}")));
    pod["metadata"]["annotations"]["scoretap.dev/app-port"] = "8080".into();
    pod["metadata"]["annotations"]["scoretap.dev/move-app"] = "arg --port".into();
    pod["metadata"]["annotations"]["scoretap.dev/config"] = format!("{{}}{}", " ".repeat(16_000)).into();
    let (stored, warnings) = Way::Policy.create(&Way::Policy.namespace("restricted"), &pod).unwrap();
    assert!(is_injected(&stored), "{warnings:?}");
    let (expected, _) = Way::Inject.create(&Way::Inject.namespace("restricted"), &pod).unwrap();
    assert_eq!(comparable(&stored), comparable(&expected));
}
