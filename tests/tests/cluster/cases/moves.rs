//! Cases of `scoretap.dev/move-app`.

use serde_json::{Value, json};

use super::{
    APP_PORTS, Case, ENVOY_READINESS, ENVOY_STARTUP, Expected::Refused, MOVED, annotate, app, case, port,
    second,
};

/// Apps that read their port from a variable.
pub(super) fn by_variable() -> Vec<Case> {
    const ENV: &str = "/spec/containers/0/env";
    let env = |name: &str, value: &str| json!({"name": name, "value": value});
    let moved = |name, before: Value, annotation: &'static str, after: Value| {
        case(name, MOVED, move |pod| {
            if !before.is_null() {
                app(pod)["env"] = before;
            }
            annotate(pod, "move-app", annotation);
        })
        .with(ENV, after)
    };
    let url = env("URL", "http://127.0.0.1:$(PORT)/");
    vec![
        moved("move-new-variable", Value::Null, "env PORT", json!([env("PORT", "15110")]))
            .with(APP_PORTS, json!([port("http", 8080), port("scoretap-app", 15110)]))
            .with(ENVOY_STARTUP, json!(8080))
            .with(ENVOY_READINESS, json!(15110))
            .with("/spec/initContainers/0/env/0/value", json!("8080")),
        moved(
            "move-replaces-a-variable",
            json!([url, env("PORT", "8080")]),
            "env PORT",
            json!([url, env("PORT", "15110")]),
        ),
        moved("move-before-what-expands-it", json!([url]), "env PORT", json!([env("PORT", "15110"), url])),
        moved(
            "move-after-what-it-expands",
            json!([env("HOST", "0.0.0.0")]),
            "env BIND $(HOST):{port}",
            json!([env("HOST", "0.0.0.0"), env("BIND", "$(HOST):15110")]),
        ),
        moved(
            "move-repeated-variable",
            json!([env("PORT", "1"), env("PORT", "8080")]),
            "env PORT",
            json!([env("PORT", "15110"), env("PORT", "15110")]),
        ),
        moved(
            "move-with-a-template",
            json!([env("BIND", "0.0.0.0:8080")]),
            "env BIND 0.0.0.0:{port}",
            json!([env("BIND", "0.0.0.0:15110")]),
        ),
        case("move-low-port", MOVED, |pod| {
            app(pod)["ports"] = json!([port("http", 80)]);
            annotate(pod, "move-app", "env PORT");
        })
        .with(
            "/spec/securityContext/sysctls",
            json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]),
        )
        .with(ENVOY_STARTUP, json!(80)),
        case("move-low-port-with-sysctls", MOVED, |pod| {
            app(pod)["ports"] = json!([port("http", 80)]);
            pod["spec"]["securityContext"]["sysctls"] = json!([
                {"name": "net.ipv4.tcp_syncookies", "value": "1"},
                {"name": "net.ipv4.ip_unprivileged_port_start", "value": "443"},
            ]);
            annotate(pod, "move-app", "env PORT");
        })
        .with("/spec/securityContext/sysctls/1/value", json!("0"))
        .with("/spec/securityContext/sysctls/0/value", json!("1")),
        case("move-low-port-already-open", MOVED, |pod| {
            app(pod)["ports"] = json!([port("http", 80)]);
            pod["spec"]["securityContext"]["sysctls"] =
                json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]);
            annotate(pod, "move-app", "env PORT");
        })
        .with("/spec/securityContext/sysctls/0/value", json!("80")),
        case("move-one-of-several-ports", MOVED, |pod| {
            app(pod)["ports"] = json!([port("grpc", 8500), port("http", 8080), port("metrics", 9090)]);
            annotate(pod, "app-port", "http");
            annotate(pod, "move-app", "env PORT");
        })
        .with(ENVOY_STARTUP, json!(8080))
        .warns("calls to its other ports bypass the sidecar"),
        case("move-undeclared-port", MOVED, |pod| {
            app(pod).as_object_mut().unwrap().remove("ports");
            annotate(pod, "app-port", "5001");
            annotate(pod, "move-app", "env PORT");
        })
        .with(APP_PORTS, json!([port("scoretap-app", 15110)])),
        case("move-despite-the-name-elsewhere", MOVED, |pod| {
            second(pod, &json!({"name": "auth", "ports": [port("http", 4180)]}));
            annotate(pod, "app-port", "8080");
            annotate(pod, "move-app", "env PORT");
        }),
        case("move-with-a-host-port", MOVED, |pod| {
            app(pod)["ports"][0]["hostPort"] = 8080.into();
            annotate(pod, "move-app", "env PORT");
        })
        .with("/spec/containers/0/ports/0/hostPort", json!(8080))
        .privileged(),
    ]
}

/// Apps that read their port from the command line.
pub(super) fn by_argument() -> Vec<Case> {
    let moved = |name, before: Value, annotation: &'static str, after: Value| {
        let case = case(name, MOVED, |pod| {
            let fields = before.as_object().unwrap().clone();
            app(pod).as_object_mut().unwrap().extend(fields);
            annotate(pod, "move-app", annotation);
        });
        let field = |name: &str| after.get(name).cloned().unwrap_or_default();
        case.with("/spec/containers/0/command", field("command"))
            .with("/spec/containers/0/args", field("args"))
    };
    vec![
        moved(
            "move-joined-argument",
            json!({"args": ["serve", "--http_port=8080", "--http_port_extra=1"]}),
            "arg --http_port",
            json!({"args": ["serve", "--http_port=15110", "--http_port_extra=1"]}),
        ),
        moved(
            "move-separate-argument",
            json!({"command": ["serve", "--port", "8080"], "args": ["--x", "1"]}),
            "arg --port",
            json!({"command": ["serve", "--port", "15110"], "args": ["--x", "1"]}),
        ),
        moved(
            "move-argument-between-command-and-args",
            json!({"command": ["serve", "-p"], "args": ["8080"]}),
            "arg -p",
            json!({"command": ["serve", "-p"], "args": ["15110"]}),
        ),
        moved(
            "move-new-long-argument",
            json!({"command": ["serve"]}),
            "arg --port",
            json!({"command": ["serve"], "args": ["--port=15110"]}),
        ),
        moved(
            "move-new-short-argument",
            json!({"args": ["serve"]}),
            "arg -p",
            json!({"args": ["serve", "-p", "15110"]}),
        ),
        moved(
            "move-argument-with-a-template",
            json!({"args": ["--bind", "0.0.0.0:8080", "--bind=[::]:8080"]}),
            "arg --bind 0.0.0.0:{port}",
            json!({"args": ["--bind", "0.0.0.0:15110", "--bind=0.0.0.0:15110"]}),
        ),
        moved(
            "move-argument-beside-a-config-flag",
            json!({"command": ["gunicorn", "-c", "conf.py", "app:app"]}),
            "arg --bind :{port}",
            json!({"command": ["gunicorn", "-c", "conf.py", "app:app"], "args": ["--bind=:15110"]}),
        ),
    ]
}

pub(super) fn refused() -> Vec<Case> {
    let refused = |name, expected, annotation: &'static str, fields: Value| {
        case(name, Refused(expected), move |pod| {
            app(pod).as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            annotate(pod, "move-app", annotation);
        })
    };
    let script = "the command is a shell script";
    let plain = json!({"args": ["serve"]});
    let from_field = json!({"env": [{"name": "PORT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['port']"}}}]});
    vec![
        refused("move-in-other-words", "write how the app is told its port", "PORT", plain.clone()),
        refused("move-with-an-empty-value", "scoretap.dev/move-app is \"\"", "", plain.clone()),
        refused(
            "move-without-the-port",
            "\"arg --bind 0.0.0.0:8080\"",
            "arg --bind 0.0.0.0:8080",
            plain.clone(),
        ),
        refused("move-by-file", "\"file /etc/port\"", "file /etc/port", plain),
        refused("move-variable-from-a-field", "comes from valueFrom", "env PORT", from_field),
        refused("move-argument-of-the-image", "no command or args", "arg --port", json!({})),
        refused(
            "move-argument-in-a-script",
            script,
            "arg --port",
            json!({"command": ["sh", "-c", "serve --port 1"]}),
        ),
        refused(
            "move-argument-in-a-script-of-bash",
            script,
            "arg --port",
            json!({"command": ["/bin/bash"], "args": ["-ec", "serve"]}),
        ),
        refused(
            "move-argument-in-a-script-of-the-image",
            script,
            "arg --port",
            json!({"args": ["-c", "serve --port 8080"]}),
        ),
        refused("move-argument-without-a-value", "has no value", "arg --port", json!({"args": ["--port"]})),
        refused(
            "move-argument-before-another",
            "has no value",
            "arg --port",
            json!({"args": ["--port", "--x"]}),
        ),
        refused(
            "move-more-than-a-number",
            "add its form",
            "arg --bind",
            json!({"args": ["--bind=0.0.0.0:8080"]}),
        ),
        refused(
            "move-variable-that-is-more-than-a-number",
            "more than a port number",
            "env BIND",
            json!({"env": [{"name": "BIND", "value": "0.0.0.0:8080"}]}),
        ),
    ]
}
