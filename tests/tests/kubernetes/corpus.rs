//! Pods of all sorts, and what is to become of each.

use serde_json::{Value, json};

/// What is to become of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The sidecar leads to this port, for this model.
    Injected { port: &'static str, model: &'static str },
    /// Nothing changes, nothing is said.
    Unchanged,
    /// Nothing changes, and a warning says this.
    Refused(&'static str),
}

use Expected::{Injected, Refused, Unchanged};

/// One pod.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) pod: Value,
    pub(crate) expected: Expected,
    /// Whether the policies can tell: they cannot read JSON.
    pub(crate) in_cel: bool,
}

/// A pod with one container under `restricted`, changed as the case wants.
fn case(name: &'static str, expected: Expected, change: impl FnOnce(&mut Value)) -> Case {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "scorer",
            "namespace": "tenant-a",
            "labels": {"app": "scorer"},
            "annotations": {"scoretap.dev/inject": "true"},
        },
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app",
                "image": "registry.example/scorer:1",
                "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    change(&mut pod);
    Case { name, pod, expected, in_cel: true }
}

fn annotate(pod: &mut Value, name: &str, value: &str) {
    pod["metadata"]["annotations"][name] = value.into();
}

fn app(pod: &mut Value) -> &mut Value {
    &mut pod["spec"]["containers"][0]
}

fn second(pod: &mut Value, container: &Value) {
    let mut container = container.clone();
    container["securityContext"] = app(pod)["securityContext"].clone();
    container["image"] = "registry.example/other:1".into();
    if let Some(containers) = pod["spec"]["containers"].as_array_mut() {
        containers.push(container);
    }
}

const SCORER: Expected = Injected { port: "8080", model: "scorer" };

/// All of them.
pub(crate) fn pods() -> Vec<Case> {
    [shapes(), hooks(), ports(), identities(), refused()]
        .into_iter()
        .flatten()
        .chain(misconfigured())
        .collect()
}

fn shapes() -> Vec<Case> {
    vec![
        case("bare", SCORER, |_| {}),
        case("not-asking", Unchanged, |pod| annotate(pod, "scoretap.dev/inject", "false")),
        case("no-annotations", Unchanged, |pod| {
            pod["metadata"]["annotations"].take();
            pod["metadata"].as_object_mut().unwrap().remove("annotations");
        }),
        case("no-labels", Injected { port: "8080", model: "" }, |pod| {
            pod["metadata"].as_object_mut().unwrap().remove("labels");
        }),
        case("init-containers", SCORER, |pod| {
            let mut fetch = app(pod).clone();
            fetch["name"] = "fetch-model".into();
            fetch.as_object_mut().unwrap().remove("ports");
            pod["spec"]["initContainers"] = json!([fetch]);
        }),
        case("volumes", SCORER, |pod| pod["spec"]["volumes"] = json!([{"name": "models", "emptyDir": {}}])),
        case("job", SCORER, |pod| {
            pod["spec"]["restartPolicy"] = "Never".into();
            pod["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "batch", "uid": "u"}]);
        }),
        case("already-injected", Unchanged, |pod| {
            let mut envoy = app(pod).clone();
            envoy["name"] = "scoretap-envoy".into();
            envoy["restartPolicy"] = "Always".into();
            pod["spec"]["initContainers"] = json!([envoy]);
            pod["metadata"]["labels"]["scoretap.dev/injected"] = "true".into();
        }),
        case("already-injected-the-old-way", Unchanged, |pod| {
            second(pod, &json!({"name": "scoretap-exporter"}));
            pod["metadata"]["labels"]["scoretap.dev/injected"] = "true".into();
        }),
        case("label-without-a-sidecar", SCORER, |pod| {
            pod["metadata"]["labels"]["scoretap.dev/injected"] = "true".into();
        }),
    ]
}

fn hooks() -> Vec<Case> {
    vec![
        case("hook-of-its-own", SCORER, |pod| {
            app(pod)["lifecycle"] = json!({"preStop": {"exec": {"command": ["sleep", "3"]}}});
        }),
        case("another-hook", SCORER, |pod| {
            app(pod)["lifecycle"] = json!({"postStart": {"exec": {"command": ["true"]}}});
        }),
        case("no-hook-wanted", SCORER, |pod| annotate(pod, "scoretap.dev/pre-stop", "false")),
        case("hook-wanted", SCORER, |pod| {
            annotate(pod, "scoretap.dev/pre-stop", "true");
            pod["spec"]["terminationGracePeriodSeconds"] = 10.into();
        }),
        case("no-time-for-a-hook", SCORER, |pod| pod["spec"]["terminationGracePeriodSeconds"] = 9.into()),
        case("hook-of-the-second", Injected { port: "9000", model: "scorer" }, |pod| {
            second(pod, &json!({"name": "b", "ports": [{"name": "score", "containerPort": 9000}]}));
            annotate(pod, "scoretap.dev/app-port", "score");
        }),
    ]
}

fn ports() -> Vec<Case> {
    vec![
        case("named-port", Injected { port: "5001", model: "scorer" }, |pod| {
            app(pod)["ports"] =
                json!([{"name": "admin", "containerPort": 8081}, {"name": "http", "containerPort": 5001}]);
            annotate(pod, "scoretap.dev/app-port", "http");
        }),
        case("numbered-port", Injected { port: "5001", model: "scorer" }, |pod| {
            annotate(pod, "scoretap.dev/app-port", "5001");
        }),
        case("undeclared-port", Injected { port: "5001", model: "scorer" }, |pod| {
            app(pod).as_object_mut().unwrap().remove("ports");
            annotate(pod, "scoretap.dev/app-port", "5001");
        }),
        case("https-beside-the-annotated-port", SCORER, |pod| {
            app(pod)["ports"] = json!([{"name": "https", "containerPort": 8443}, {"containerPort": 8080}]);
            annotate(pod, "scoretap.dev/app-port", "8080");
        }),
        case("metrics-come-first", SCORER, |pod| {
            app(pod)["ports"] =
                json!([{"name": "http-metrics", "containerPort": 9090}, {"containerPort": 8080}]);
            second(pod, &json!({"name": "b", "ports": [{"name": "admin", "containerPort": 9000}]}));
        }),
        case("udp-comes-first", SCORER, |pod| {
            app(pod)["ports"] = json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 8080}]);
        }),
        case("port-of-another-container", Injected { port: "9000", model: "second" }, |pod| {
            second(
                pod,
                &json!({"name": "b", "ports": [{"name": "score", "containerPort": 9000}],
                "env": [{"name": "MODEL_NAME", "value": "second"}]}),
            );
            annotate(pod, "scoretap.dev/app-port", "score");
        }),
        case("behind-istio", SCORER, |pod| {
            second(pod, &json!({"name": "istio-proxy", "ports": [{"containerPort": 15090}]}));
            pod["spec"]["containers"].as_array_mut().unwrap().reverse();
        }),
        case("grpc-port", Injected { port: "8033", model: "scorer" }, |pod| {
            app(pod)["ports"] = json!([{"name": "grpc-infer", "containerPort": 8033}]);
        }),
    ]
}

fn identities() -> Vec<Case> {
    let env = |name: &str, value: &str| json!({"name": name, "value": value});
    vec![
        case("model-by-annotation", Injected { port: "8080", model: "fraud" }, |pod| {
            annotate(pod, "scoretap.dev/model-name", "fraud");
            annotate(pod, "scoretap.dev/model-version", "7");
            app(pod)["env"] = json!([env("MODEL_NAME", "other"), env("MODEL_FRAMEWORK", "sklearn")]);
        }),
        case("model-by-environment", Injected { port: "8080", model: "churn" }, |pod| {
            app(pod)["env"] =
                json!([env("MODEL_NAME", "first"), env("MODEL_NAME", "churn"), env("MODEL_VERSION", "2")]);
        }),
        case("model-from-a-secret", SCORER, |pod| {
            app(pod)["env"] = json!([{"name": "MODEL_NAME",
                "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}, env("MODEL_VERSION", "$(OTHER)")]);
        }),
        case("model-by-label", Injected { port: "8080", model: "iris" }, |pod| {
            pod["metadata"]["labels"] = json!({"app": "x", "app.kubernetes.io/name": "iris",
                "app.kubernetes.io/version": "3", "app.kubernetes.io/instance": "iris-blue"});
        }),
        case("of-a-deployment", SCORER, |pod| {
            pod["metadata"]["labels"]["pod-template-hash"] = "7d9f8".into();
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "scorer-blue-7d9f8", "uid": "u"}]);
        }),
        case("of-a-stateful-set", SCORER, |pod| {
            pod["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "scorers", "uid": "u"}]);
        }),
        case(
            "text-that-looks-like-code",
            Injected { port: "8080", model: "a'b\\ \"$(HOSTNAME)\" ${x} é" },
            |pod| {
                annotate(pod, "scoretap.dev/model-name", "a'b\\ \"$(HOSTNAME)\" ${x} é");
                annotate(
                    pod,
                    "scoretap.dev/config",
                    "{\"error_types\": {\"404\": \"success\"},\n \"max_series\": 20}",
                );
            },
        ),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        case("inject-yes", Refused("write \"true\" or \"false\""), |pod| {
            annotate(pod, "scoretap.dev/inject", "yes");
        }),
        case("windows", Refused("is for Windows"), |pod| {
            pod["spec"]["os"] = json!({"name": "windows"});
            pod["spec"]["securityContext"] = json!({"runAsNonRoot": true});
        }),
        case("windows-by-selector", Refused("is for Windows"), |pod| {
            pod["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "windows"});
        }),
        case("host-network", Refused("remove hostNetwork"), |pod| pod["spec"]["hostNetwork"] = true.into()),
        case("no-port", Refused("declare a containerPort"), |pod| {
            app(pod).as_object_mut().unwrap().remove("ports");
        }),
        case("unknown-port-name", Refused("scoretap.dev/app-port is \"web\"; write a number"), |pod| {
            annotate(pod, "scoretap.dev/app-port", "web");
        }),
        case("impossible-port", Refused("\"70000\"; write a number from 1 to 65535"), |pod| {
            annotate(pod, "scoretap.dev/app-port", "70000");
        }),
        case("leading-zero", Refused("\"08080\"; write a number"), |pod| {
            annotate(pod, "scoretap.dev/app-port", "08080");
        }),
        case("several-ports", Refused("write its name or number as scoretap.dev/app-port"), |pod| {
            app(pod)["ports"] =
                json!([{"name": "grpc", "containerPort": 8500}, {"name": "http", "containerPort": 8080}]);
        }),
        case("no-port-for-calls", Refused("declare a containerPort"), |pod| {
            app(pod)["ports"] = json!([{"name": "http-metrics", "containerPort": 9090}]);
        }),
        case("several-containers-with-ports", Refused("the pod declares several TCP ports"), |pod| {
            second(pod, &json!({"name": "b", "ports": [{"name": "score", "containerPort": 9000}]}));
        }),
        case("https-port", Refused("the sidecar speaks plain HTTP to the app"), |pod| {
            app(pod)["ports"] = json!([{"name": "https-score", "containerPort": 8443}]);
        }),
        case("tls-port", Refused("named as one of TLS"), |pod| {
            app(pod)["ports"] =
                json!([{"name": "http", "containerPort": 8080}, {"name": "tls", "containerPort": 8443}]);
            annotate(pod, "scoretap.dev/app-port", "8443");
        }),
        case("port-of-ours", Refused("use others in the pod's own containers"), |pod| {
            app(pod)["ports"] = json!([{"containerPort": 15190}]);
        }),
        case("port-name-of-ours", Refused("use others in the pod's own containers"), |pod| {
            app(pod)["ports"][0]["name"] = "scoretap-http".into();
        }),
        case("volume-of-ours", Refused("give the pod's own volume, and its mounts, another"), |pod| {
            pod["spec"]["volumes"] = json!([{"name": "scoretap", "emptyDir": {}}]);
        }),
        case("mount-of-ours", Refused("and its mounts, another"), |pod| {
            app(pod)["volumeMounts"] = json!([{"name": "scoretap", "mountPath": "/admin"}]);
        }),
        case("container-name-of-ours", Refused("give the pod's own container another"), |pod| {
            app(pod)["name"] = "scoretap-exporter".into();
        }),
        case("container-name-of-ours-before-the-app", Refused("own container another"), |pod| {
            let mut init = app(pod).clone();
            init["name"] = "scoretap-envoy".into();
            pod["spec"]["initContainers"] = json!([init]);
            pod["metadata"]["labels"]["scoretap.dev/injected"] = "false".into();
        }),
        case("mount-of-ours-before-the-app", Refused("and its mounts, another"), |pod| {
            let mut init = app(pod).clone();
            init["name"] = "init".into();
            init["volumeMounts"] = json!([{"name": "scoretap", "mountPath": "/admin"}]);
            pod["spec"]["initContainers"] = json!([init]);
        }),
        case("model-name-with-a-line-end", Refused("write 1 to 256 characters"), |pod| {
            annotate(pod, "scoretap.dev/model-name", "a\nb");
        }),
        case("hook-maybe", Refused("write \"false\" to have no preStop hook"), |pod| {
            annotate(pod, "scoretap.dev/pre-stop", "no");
        }),
        case("endless-config", Refused("write a shorter configuration"), |pod| {
            annotate(pod, "scoretap.dev/config", &format!("{{}}{}", " ".repeat(16_384)));
        }),
        case("two-faults", Refused("hostNetwork"), |pod| {
            pod["spec"]["hostNetwork"] = true.into();
            annotate(pod, "scoretap.dev/inject", "1");
        }),
    ]
}

fn misconfigured() -> Vec<Case> {
    let wrong = |name, config, expected| {
        let case = case(name, Refused(expected), |pod| annotate(pod, "scoretap.dev/config", config));
        Case { in_cel: false, ..case }
    };
    vec![
        wrong(
            "config-that-is-no-json",
            "max_series=3",
            "is not JSON: expected value at line 1 column 1; write an object such as {\"max_series\": 200}",
        ),
        wrong(
            "config-with-a-wrong-field",
            r#"{"max_serie": 3}"#,
            "scoretap.dev/config: max_serie: is not a field",
        ),
        wrong(
            "config-with-two-faults",
            r#"{"max_series": 0, "extra": ["x"]}"#,
            "scoretap.dev/config: max_series: is 0; write a whole number",
        ),
    ]
}
