//! The case table: pods that ask for the sidecar, each with the expected result.

mod moves;

use serde_json::{Value, json};

/// The expected result for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The pod gets the sidecar, for this app port and this model.
    Injected { port: &'static str, model: &'static str },
    /// Nothing changes, without a warning.
    Unchanged,
    /// Nothing changes, and a warning contains this text.
    Refused(&'static str),
}

use Expected::{Injected, Refused, Unchanged};

/// One case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) pod: Value,
    pub(crate) expected: Expected,
    /// Values in the stored pod, by JSON pointer.
    pub(crate) fields: Vec<(&'static str, Value)>,
    /// Parts of the warnings about an injected pod.
    pub(crate) notices: Vec<&'static str>,
    /// Whether the policies make the same decision. They cannot read the filter's configuration.
    pub(crate) in_cel: bool,
    /// Whether Pod Security `restricted` accepts the pod before it is injected.
    pub(crate) is_restricted: bool,
}

impl Case {
    fn with(mut self, pointer: &'static str, value: Value) -> Self {
        self.fields.push((pointer, value));
        self
    }

    fn warns(mut self, notice: &'static str) -> Self {
        self.notices.push(notice);
        self
    }

    fn privileged(mut self) -> Self {
        self.is_restricted = false;
        self
    }
}

/// A pod with one container that `restricted` accepts, with the case's changes.
fn case(name: &'static str, expected: Expected, change: impl FnOnce(&mut Value)) -> Case {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "scorer",
            "labels": {"app": "scorer"},
            "annotations": {"scoretap.dev/inject": "true"},
        },
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app",
                "image": "registry.example/scorer:1",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    change(&mut pod);
    let (fields, notices) = (Vec::new(), Vec::new());
    Case { name, pod, expected, fields, notices, in_cel: true, is_restricted: true }
}

fn annotate(pod: &mut Value, name: &str, value: &str) {
    pod["metadata"]["annotations"][format!("scoretap.dev/{name}")] = value.into();
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

fn port(name: &str, number: u16) -> Value {
    json!({"name": name, "containerPort": number, "protocol": "TCP"})
}

const SCORER: Expected = Injected { port: "8080", model: "scorer" };
/// A moved app.
const MOVED: Expected = Injected { port: "15110", model: "scorer" };
const APP_PORTS: &str = "/spec/containers/0/ports";
const ENVOY_STARTUP: &str = "/spec/initContainers/1/startupProbe/tcpSocket/port";
const ENVOY_READINESS: &str = "/spec/initContainers/1/readinessProbe/tcpSocket/port";

/// All cases.
pub(crate) fn pods() -> Vec<Case> {
    let groups = [
        shapes(),
        hooks(),
        ports(),
        handlers(),
        moves::by_variable(),
        moves::by_argument(),
        moves::refused(),
        resources(),
        identities(),
        refused(),
        misconfigured(),
    ];
    groups.into_iter().flatten().collect()
}

fn shapes() -> Vec<Case> {
    vec![
        case("bare", SCORER, |_| {})
            .with(APP_PORTS, json!([port("http", 15100), port("scoretap-app", 8080)])),
        case("not-asking", Unchanged, |pod| annotate(pod, "inject", "false")),
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
        case("no-hook-wanted", SCORER, |pod| annotate(pod, "pre-stop", "false")),
        case("hook-wanted", SCORER, |pod| {
            annotate(pod, "pre-stop", "true");
            pod["spec"]["terminationGracePeriodSeconds"] = 10.into();
        }),
        case("insight-wanted", SCORER, |pod| annotate(pod, "insight", "true")),
        case("insight-unwanted", SCORER, |pod| annotate(pod, "insight", "false")),
        case("insight-for-some-calls", SCORER, |pod| annotate(pod, "insight-percent", "10")),
        case("insight-switched-wrongly", SCORER, |pod| annotate(pod, "insight-percent", "off"))
            .warns("scoretap.dev/insight-percent is no whole number"),
        case("dialects-wanted", SCORER, |pod| annotate(pod, "dialect", "fastapi,mlflow")),
        case("own-dialect", SCORER, |pod| annotate(pod, "dialect-config", "churn.v2"))
            .with("/spec/initContainers/2/volumeMounts/2/name", "scoretap-dialect".into()),
        case("own-baseline", SCORER, |pod| annotate(pod, "baseline-config", "churn-2026"))
            .with("/spec/initContainers/2/volumeMounts/2/name", "scoretap-baseline".into()),
        case("no-time-for-a-hook", SCORER, |pod| pod["spec"]["terminationGracePeriodSeconds"] = 9.into()),
        case("hook-of-the-second", Injected { port: "9000", model: "scorer" }, |pod| {
            second(pod, &json!({"name": "b", "ports": [{"name": "score", "containerPort": 9000}]}));
            annotate(pod, "app-port", "score");
        }),
    ]
}

fn ports() -> Vec<Case> {
    let unnamed = "the app's port has no name, so Services bypass the sidecar";
    vec![
        case("named-port", Injected { port: "5001", model: "scorer" }, |pod| {
            app(pod)["ports"] = json!([port("admin", 8081), port("http", 5001)]);
            annotate(pod, "app-port", "http");
        })
        .with(APP_PORTS, json!([port("admin", 8081), port("http", 15100), port("scoretap-app", 5001)])),
        case("two-names-for-the-port", SCORER, |pod| {
            app(pod)["ports"] = json!([port("http", 8080), port("api", 8080), port("admin", 9000)]);
            annotate(pod, "app-port", "8080");
        })
        .with(
            APP_PORTS,
            json!([port("http", 15100), port("api", 15100), port("admin", 9000), port("scoretap-app", 8080)]),
        ),
        case("same-number-for-udp", SCORER, |pod| {
            app(pod)["ports"] =
                json!([{"name": "quic", "containerPort": 8080, "protocol": "UDP"}, port("http", 8080)]);
        })
        .with("/spec/containers/0/ports/0/containerPort", json!(8080))
        .with("/spec/containers/0/ports/1", port("http", 15100)),
        case("port-without-a-name", SCORER, |pod| {
            app(pod)["ports"] = json!([{"containerPort": 8080, "protocol": "TCP"}]);
        })
        .with(APP_PORTS, json!([{"containerPort": 8080, "protocol": "TCP"}]))
        .warns(unnamed),
        case("numbered-port", Injected { port: "5001", model: "scorer" }, |pod| {
            annotate(pod, "app-port", "5001");
        })
        .with(APP_PORTS, json!([port("http", 8080)]))
        .warns(unnamed),
        case("undeclared-port", Injected { port: "5001", model: "scorer" }, |pod| {
            app(pod).as_object_mut().unwrap().remove("ports");
            annotate(pod, "app-port", "5001");
        })
        .warns(unnamed),
        case("https-beside-the-annotated-port", SCORER, |pod| {
            app(pod)["ports"] = json!([port("https", 8443), port("http", 8080)]);
            annotate(pod, "app-port", "8080");
        }),
        case("metrics-come-first", SCORER, |pod| {
            app(pod)["ports"] = json!([port("http-metrics", 9090), port("http", 8080)]);
            second(pod, &json!({"name": "b", "ports": [port("admin", 9000)]}));
        }),
        case("udp-comes-first", SCORER, |pod| {
            app(pod)["ports"] = json!([{"containerPort": 53, "protocol": "UDP"}, port("http", 8080)]);
        }),
        case("port-of-another-container", Injected { port: "9000", model: "second" }, |pod| {
            second(
                pod,
                &json!({"name": "b", "ports": [port("score", 9000)],
                "env": [{"name": "MODEL_NAME", "value": "second"}]}),
            );
            annotate(pod, "app-port", "score");
        })
        .with("/spec/containers/1/ports", json!([port("score", 15100), port("scoretap-app", 9000)]))
        .with(APP_PORTS, json!([port("http", 8080)])),
        case("behind-istio", SCORER, |pod| {
            second(pod, &json!({"name": "istio-proxy", "ports": [{"containerPort": 15090}]}));
            pod["spec"]["containers"].as_array_mut().unwrap().reverse();
        }),
        case("grpc-port", Injected { port: "8033", model: "scorer" }, |pod| {
            app(pod)["ports"] = json!([port("grpc-infer", 8033)]);
        }),
        case("name-in-another-container", Refused("another container declares the name"), |pod| {
            second(pod, &json!({"name": "auth", "ports": [port("http", 4180)]}));
            annotate(pod, "app-port", "8080");
        }),
        case("name-in-a-native-sidecar", Refused("rename one of the two"), |pod| {
            let mut auth = app(pod).clone();
            auth["name"] = "auth".into();
            auth["restartPolicy"] = "Always".into();
            auth["ports"] = json!([port("http", 4180)]);
            pod["spec"]["initContainers"] = json!([auth]);
        }),
        case("name-in-an-init-container", SCORER, |pod| {
            let mut fetch = app(pod).clone();
            fetch["name"] = "fetch".into();
            pod["spec"]["initContainers"] = json!([fetch]);
        }),
        case("host-port", Refused("the app's port has a hostPort"), |pod| {
            app(pod)["ports"][0]["hostPort"] = 8080.into();
        })
        .privileged(),
        case("host-port-of-another-port", SCORER, |pod| {
            app(pod)["ports"] =
                json!([port("http", 8080), {"name": "admin", "containerPort": 9000, "hostPort": 9000}]);
        })
        .privileged(),
    ]
}

/// Probes and lifecycle hooks that name the app's port.
fn handlers() -> Vec<Case> {
    let get = |port: Value| json!({"httpGet": {"path": "/health", "port": port}});
    let asked = |pod: &mut Value, port: &Value| {
        app(pod)["startupProbe"] = json!({"tcpSocket": {"port": port}});
        app(pod)["readinessProbe"] = get(port.clone());
        app(pod)["livenessProbe"] = get(port.clone());
        app(pod)["lifecycle"] = json!({"postStart": get(port.clone()), "preStop": get(port.clone())});
    };
    let answered = |case: Case, port: u16| {
        case.with("/spec/containers/0/startupProbe/tcpSocket/port", json!(port))
            .with("/spec/containers/0/readinessProbe/httpGet/port", json!(port))
            .with("/spec/containers/0/livenessProbe/httpGet/port", json!(port))
            .with("/spec/containers/0/lifecycle/postStart/httpGet/port", json!(port))
            .with("/spec/containers/0/lifecycle/preStop/httpGet/port", json!(port))
    };
    vec![
        answered(case("handlers-by-name", SCORER, |pod| asked(pod, &json!("http"))), 8080),
        answered(case("handlers-by-number", SCORER, |pod| asked(pod, &json!(8080))), 8080),
        answered(
            case("moved-handlers-by-name", MOVED, |pod| {
                asked(pod, &json!("http"));
                annotate(pod, "move-app", "env PORT");
            }),
            15110,
        ),
        answered(
            case("moved-handlers-by-number", MOVED, |pod| {
                asked(pod, &json!(8080));
                annotate(pod, "move-app", "env PORT");
            }),
            15110,
        ),
        case("probe-of-another-port", MOVED, |pod| {
            app(pod)["ports"] = json!([port("http", 8080), port("health", 8081)]);
            app(pod)["readinessProbe"] = get(json!("health"));
            app(pod)["livenessProbe"] = get(json!(8081));
            annotate(pod, "move-app", "env PORT");
        })
        .with("/spec/containers/0/readinessProbe/httpGet/port", json!("health"))
        .with("/spec/containers/0/livenessProbe/httpGet/port", json!(8081)),
        case("moved-grpc-probe", MOVED, |pod| {
            app(pod)["readinessProbe"] = json!({"grpc": {"port": 8080}});
            annotate(pod, "move-app", "env PORT");
        })
        .with("/spec/containers/0/readinessProbe/grpc/port", json!(15110)),
        case("probe-of-another-container", SCORER, |pod| {
            second(pod, &json!({"name": "b", "readinessProbe": get(json!(8080))}));
        })
        .with("/spec/containers/1/readinessProbe/httpGet/port", json!(8080)),
    ]
}

fn resources() -> Vec<Case> {
    const SETUP: &str = "/spec/initContainers/0/resources";
    const RESOURCES: &str = "/spec/initContainers/1/resources";
    const EXPORTER: &str = "/spec/initContainers/2/resources";
    let quantity = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    let both = |request: Value, limit: Value| json!({"requests": request, "limits": limit});
    vec![
        case("default-resources", SCORER, |_| {})
            .with(SETUP, both(quantity("10m", "32Mi"), quantity("100m", "64Mi")))
            .with(RESOURCES, both(quantity("40m", "96Mi"), quantity("400m", "256Mi")))
            .with(EXPORTER, both(quantity("10m", "32Mi"), quantity("100m", "64Mi"))),
        case("annotated-resources", SCORER, |pod| {
            annotate(pod, "cpu-request", "0.1");
            annotate(pod, "cpu-limit", "1");
            annotate(pod, "memory-request", "64Mi");
            annotate(pod, "memory-limit", "1Gi");
        })
        .with(SETUP, both(quantity("100m", "64Mi"), quantity("1", "1Gi")))
        .with(EXPORTER, both(quantity("100m", "64Mi"), quantity("1", "1Gi"))),
        case("no-limits", SCORER, |pod| {
            annotate(pod, "cpu-limit", "none");
            annotate(pod, "memory-limit", "none");
        })
        .with(RESOURCES, json!({"requests": quantity("40m", "96Mi")})),
        case("no-cpu-limit", SCORER, |pod| annotate(pod, "cpu-limit", "none"))
            .with(SETUP, both(quantity("10m", "32Mi"), json!({"memory": "64Mi"}))),
        case("resources-of-the-pod", SCORER, |pod| {
            pod["spec"]["resources"] = both(quantity("1", "1Gi"), quantity("1", "1Gi"));
            app(pod)["resources"] = both(quantity("1", "1Gi"), quantity("1", "1Gi"));
        })
        .with(RESOURCES, json!({})),
        case("cpu-that-is-not-a-quantity", Refused("write \"100m\", \"0.5\" or \"2\""), |pod| {
            annotate(pod, "cpu-limit", "2 cores");
        }),
        case("no-cpu-request", Refused("take CPU"), |pod| annotate(pod, "cpu-request", "none")),
        case("memory-that-is-not-a-quantity", Refused("write \"64Mi\" or \"1Gi\""), |pod| {
            annotate(pod, "memory-request", "64MB");
        }),
        case("cpu-request-above-the-limit", Refused("more CPU than its limit"), |pod| {
            annotate(pod, "cpu-request", "2");
        }),
        case("cpu-limit-below-the-request", Refused("more CPU than its limit"), |pod| {
            annotate(pod, "cpu-limit", "20m");
        }),
        case("memory-request-above-the-limit", Refused("more memory than its limit"), |pod| {
            annotate(pod, "memory-request", "1G");
            annotate(pod, "memory-limit", "900Mi");
        }),
    ]
}

fn identities() -> Vec<Case> {
    let env = |name: &str, value: &str| json!({"name": name, "value": value});
    vec![
        case("model-by-annotation", Injected { port: "8080", model: "fraud" }, |pod| {
            annotate(pod, "model-name", "fraud");
            annotate(pod, "model-version", "7");
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
                annotate(pod, "model-name", "a'b\\ \"$(HOSTNAME)\" ${x} é");
                annotate(pod, "config", "{\"error_types\": {\"404\": \"success\"},\n \"max_series\": 20}");
            },
        ),
    ]
}

fn host_network(pod: &mut Value) {
    pod["spec"]["hostNetwork"] = true.into();
}

fn refused() -> Vec<Case> {
    vec![
        case("inject-yes", Refused("write \"true\" or \"false\""), |pod| {
            annotate(pod, "inject", "yes");
        }),
        case("windows", Refused("does not run on Windows"), |pod| {
            pod["spec"]["os"] = json!({"name": "windows"});
            pod["spec"]["securityContext"] = json!({"runAsNonRoot": true});
            app(pod).as_object_mut().unwrap().remove("securityContext");
        }),
        case("windows-by-selector", Refused("does not run on Windows"), |pod| {
            pod["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "windows"});
        }),
        case("host-network", Refused("remove hostNetwork"), host_network).privileged(),
        case("no-port", Refused("declare a containerPort"), |pod| {
            app(pod).as_object_mut().unwrap().remove("ports");
        }),
        case("unknown-port-name", Refused("scoretap.dev/app-port is \"web\"; write a number"), |pod| {
            annotate(pod, "app-port", "web");
        }),
        case("impossible-port", Refused("\"70000\"; write a number from 1 to 65535"), |pod| {
            annotate(pod, "app-port", "70000");
        }),
        case("leading-zero", Refused("\"08080\"; write a number"), |pod| {
            annotate(pod, "app-port", "08080");
        }),
        case("several-ports", Refused("the name or number of the one that takes the calls"), |pod| {
            app(pod)["ports"] = json!([port("grpc", 8500), port("http", 8080)]);
        }),
        case("no-port-for-calls", Refused("declare a containerPort"), |pod| {
            app(pod)["ports"] = json!([port("http-metrics", 9090)]);
        }),
        case("several-containers-with-ports", Refused("the pod declares several TCP ports"), |pod| {
            second(pod, &json!({"name": "b", "ports": [{"name": "score", "containerPort": 9000}]}));
        }),
        case("https-port", Refused("the sidecar speaks plain HTTP to the app"), |pod| {
            app(pod)["ports"] = json!([{"name": "https-score", "containerPort": 8443}]);
        }),
        case("tls-port", Refused("says TLS"), |pod| {
            app(pod)["ports"] =
                json!([{"name": "http", "containerPort": 8080}, {"name": "tls", "containerPort": 8443}]);
            annotate(pod, "app-port", "8443");
        }),
        case("port-of-ours", Refused("choose others for the pod's own containers"), |pod| {
            app(pod)["ports"] = json!([{"containerPort": 15190}]);
        }),
        case("port-name-of-ours", Refused("choose others for the pod's own containers"), |pod| {
            app(pod)["ports"][0]["name"] = "scoretap-stats".into();
        }),
        case("volume-of-ours", Refused("rename the pod's own volume"), |pod| {
            pod["spec"]["volumes"] = json!([{"name": "scoretap", "emptyDir": {}}]);
        }),
        case("container-name-of-ours", Refused("rename the pod's own container"), |pod| {
            app(pod)["name"] = "scoretap-exporter".into();
        }),
        case("container-name-of-ours-before-the-app", Refused("rename the pod's own container"), |pod| {
            let mut init = app(pod).clone();
            init["name"] = "scoretap-envoy".into();
            pod["spec"]["initContainers"] = json!([init]);
            pod["metadata"]["labels"]["scoretap.dev/injected"] = "false".into();
        }),
        case("model-name-with-a-line-end", Refused("write 1 to 256 characters"), |pod| {
            annotate(pod, "model-name", "a\nb");
        }),
        case("hook-maybe", Refused("write \"false\" to add no preStop hook"), |pod| {
            annotate(pod, "pre-stop", "no");
        }),
        case("insight-maybe", Refused("write \"true\" to read the bodies"), |pod| {
            annotate(pod, "insight", "on");
        }),
        case("unknown-dialect", Refused("names an unknown dialect"), |pod| {
            annotate(pod, "dialect", "fastapi, mlflow");
        }),
        case("conflicting-dialects", Refused("remove one of them"), |pod| {
            annotate(pod, "dialect", "prediction,model");
        }),
        case("impossible-dialect-config", Refused("no name of a ConfigMap"), |pod| {
            annotate(pod, "dialect-config", "Churn");
        }),
        case("impossible-baseline-config", Refused("write the name of one in the pod's namespace"), |pod| {
            annotate(pod, "baseline-config", "churn/2026");
        }),
        case("endless-config", Refused("write a shorter configuration"), |pod| {
            annotate(pod, "config", &format!("{{}}{}", " ".repeat(16_384)));
        }),
        case("serverless", Refused("queue-proxy calls the app on loopback"), |pod| {
            second(pod, &json!({"name": "queue-proxy", "ports": [port("queue-port", 8012)]}));
        }),
        case("two-faults", Refused("hostNetwork"), |pod| {
            host_network(pod);
            annotate(pod, "inject", "1");
        })
        .privileged(),
    ]
}

fn misconfigured() -> Vec<Case> {
    let wrong = |name, config, expected| {
        let case = case(name, Refused(expected), |pod| annotate(pod, "config", config));
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
