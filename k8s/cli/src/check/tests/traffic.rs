//! Services, NetworkPolicies and Istio between callers and Envoy.

use serde_json::{Value, json};

use super::fixture::{add, before_injection, first, patched, roll, service, template_of, without_sidecar};
use super::{check, check_sound};
use crate::check::snapshot::{Focus, Kind, Snapshot};

const USE_NAME: &str = r#"kubectl patch service scorer -n tenant-a --type=json -p '[{"op":"replace","path":"/spec/ports/0/targetPort","value":"http"}]'"#;

fn lead(target: Value) -> impl Fn(&mut Snapshot) {
    move |snapshot: &mut Snapshot| {
        first(snapshot, Kind::Services)["spec"]["ports"][0]["targetPort"] = target.clone();
    }
}

#[test]
fn service_by_number() {
    check("injected", lead(8080.into()), "service-by-number", "go past Envoy", USE_NAME);
    let before = |snapshot: &mut Snapshot| {
        before_injection(snapshot);
        lead(8080.into())(snapshot);
    };
    check("before", before, "service-by-number", "tenant-a/service/scorer", USE_NAME);
    check_sound("another port", lead(9090.into()));
    let nobody_asks = |snapshot: &mut Snapshot| {
        template_of(snapshot)["metadata"]["annotations"] = json!({});
        without_sidecar(snapshot);
        lead(8080.into())(snapshot);
    };
    check_sound("nobody asks", nobody_asks);
}

#[test]
fn known_server_is_told_how_to_move() {
    let change = |snapshot: &mut Snapshot| {
        before_injection(snapshot);
        template_of(snapshot)["spec"]["containers"][0]["command"] =
            json!(["uvicorn", "app:app", "--port", "8080"]);
        lead(8080.into())(snapshot);
    };
    check(
        "uvicorn",
        change,
        "service-by-number",
        r#"move uvicorn to another port with scoretap.dev/move-app: "arg --port""#,
        USE_NAME,
    );
}

fn unname(template: &mut Value) {
    template["spec"]["containers"][0]["ports"] = json!([{"containerPort": 8080, "protocol": "TCP"}]);
}

#[test]
fn port_without_name() {
    let change = |snapshot: &mut Snapshot| {
        before_injection(snapshot);
        unname(template_of(snapshot));
        lead(8080.into())(snapshot);
    };
    let command = r#"kubectl patch deployment scorer -n tenant-a -p '{"spec":{"template":{"spec":{"containers":[{"name":"scorer","ports":[{"containerPort":8080,"name":"http","protocol":"TCP"}]}]}}}}'"#;
    check("unknown server", change, "port-without-name", "8080 has no name", command);
    let known = |snapshot: &mut Snapshot| {
        change(snapshot);
        template_of(snapshot)["spec"]["containers"][0]["command"] =
            json!(["vllm", "serve", "m", "--port", "8080"]);
    };
    let command = patched(r#"{"scoretap.dev/move-app":"arg --port"}"#);
    check("vLLM", known, "port-without-name", "vLLM can move", &command);
}

#[test]
fn taken_port_name_is_not_proposed() {
    let change = |snapshot: &mut Snapshot| {
        before_injection(snapshot);
        unname(template_of(snapshot));
        let proxy = json!({"name": "istio-proxy", "ports": [{"name": "http", "containerPort": 15021}]});
        template_of(snapshot)["spec"]["containers"].as_array_mut().expect("a list").push(proxy);
        lead(8080.into())(snapshot);
    };
    let mut snapshot = super::sound();
    change(&mut snapshot);
    let findings = super::find(&super::View::new(&snapshot));
    let found = findings.iter().find(|finding| finding.check == "port-without-name").expect("a finding");
    assert!(found.command.contains(r#""name":"http-2""#), "{found:?}");
}

#[test]
fn port_of_ownerless_pod_is_named_by_recreation() {
    let change = |snapshot: &mut Snapshot| {
        snapshot.lists.remove(&Kind::Workloads);
        let pod = first(snapshot, Kind::Pods);
        let (labels, annotations) = (json!({"app": "scorer"}), json!({"scoretap.dev/inject": "true"}));
        *pod = json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "tenant-a", "labels": labels,
            "annotations": annotations}, "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 8080}]}]}});
        snapshot.focus = Some(Focus { namespace: "tenant-a".into(), kind: "pod".into(), name: "p".into() });
        snapshot.prometheus.targets = Some(Vec::new());
        lead(8080.into())(snapshot);
    };
    let command = "kubectl get pod p -n tenant-a -o yaml | kubectl patch --local -f - -o yaml -p \
        '{\"spec\":{\"containers\":[{\"name\":\"a\",\"ports\":[{\"containerPort\":8080,\"name\":\"http\",\
        \"protocol\":\"TCP\"}]}]}}' | kubectl replace --force -f -";
    check("bare", change, "port-without-name", "8080 has no name", command);
}

#[test]
fn headless_service() {
    let headless =
        |snapshot: &mut Snapshot| first(snapshot, Kind::Services)["spec"]["clusterIP"] = "None".into();
    let command = patched(r#"{"scoretap.dev/move-app":"env PORT"}"#);
    check("alone", headless, "headless-service", "it is headless", &command);
    let beside = |snapshot: &mut Snapshot| {
        headless(snapshot);
        add(snapshot, Kind::Services, service("calls", "http".into()));
    };
    check_sound("beside one that is not", beside);
}

#[test]
fn moved_app_needs_nothing_else() {
    let change = |snapshot: &mut Snapshot| {
        roll(snapshot, |template| {
            template["metadata"]["annotations"]["scoretap.dev/move-app"] = "env PORT".into();
        });
        lead(8080.into())(snapshot);
        policy(json!([{"ports": [{"port": 8080}]}, {"ports": [{"port": 15190}]}]))(snapshot);
    };
    check_sound("moved", change);
}

fn policy(ingress: Value) -> impl Fn(&mut Snapshot) {
    move |snapshot: &mut Snapshot| {
        let policy = json!({"kind": "NetworkPolicy", "metadata": {"name": "own", "namespace": "tenant-a"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress}});
        add(snapshot, Kind::NetworkPolicies, policy);
    }
}

fn admit(port: u16) -> String {
    format!(
        r#"kubectl patch networkpolicy own -n tenant-a --type=json -p '[{{"op":"add","path":"/spec/ingress/0/ports/-","value":{{"port":{port},"protocol":"TCP"}}}}]'"#
    )
}

#[test]
fn policy_by_number_shuts_envoy_out() {
    let metrics = json!({"ports": [{"port": 15190}]});
    let id = "policy-shuts-envoy-out";
    for (name, port) in [("one", json!({"port": 8080})), ("a range", json!({"port": 8000, "endPort": 9000}))]
    {
        check(name, policy(json!([{"ports": [port]}, metrics])), id, "would be dropped", &admit(15_100));
    }
    let before = |snapshot: &mut Snapshot| {
        before_injection(snapshot);
        policy(json!([{"ports": [{"port": 8080}]}, metrics]))(snapshot);
    };
    check("before", before, id, "tenant-a/networkpolicy/own", &admit(15_100));
}

#[test]
fn policies_that_let_callers_through_are_sound() {
    let frontend = json!([{"podSelector": {"matchLabels": {"app": "frontend"}}}]);
    let metrics = json!({"ports": [{"port": 15190}]});
    let app = json!({"from": frontend, "ports": [{"port": 8080}]});
    let sidecar = |from: Value| json!({"from": from, "ports": [{"port": 15100}]});
    check_sound("by name", policy(json!([{"ports": [{"port": "http"}]}, metrics])));
    check_sound("any port", policy(json!([{"from": frontend}, metrics])));
    check_sound("the same callers", policy(json!([app, sidecar(frontend.clone()), metrics])));
    check_sound("all callers", policy(json!([app, sidecar(json!([])), metrics])));
    let outwards = |snapshot: &mut Snapshot| {
        policy(json!([app]))(snapshot);
        first(snapshot, Kind::NetworkPolicies)["spec"]["policyTypes"] = json!(["Egress"]);
    };
    check_sound("outwards", outwards);
}

#[test]
fn policy_by_name_shuts_app_out() {
    let change = |snapshot: &mut Snapshot| {
        before_injection(snapshot);
        // The headless Service has callers by number, but beside the Service by name it is no finding.
        let mut headless = service("headless", 8080.into());
        headless["spec"]["clusterIP"] = "None".into();
        add(snapshot, Kind::Services, headless);
        policy(json!([{"ports": [{"port": "http"}]}, {"ports": [{"port": 15190}]}]))(snapshot);
    };
    check("by name", change, "policy-shuts-app-out", "by the port's name", &admit(8080));
}

#[test]
fn our_policy_alone_closes_pods() {
    let change = |snapshot: &mut Snapshot| {
        policy(json!([{"ports": [{"port": 15190}]}]))(snapshot);
        let policy = first(snapshot, Kind::NetworkPolicies);
        policy["metadata"]["labels"] = json!({"app.kubernetes.io/part-of": "scoretap"});
    };
    let command = r#"kubectl patch networkpolicy own -n tenant-a --type=json -p '[{"op":"add","path":"/spec/ingress/-","value":{"ports":[{"port":15100,"protocol":"TCP"},{"port":8080,"protocol":"TCP"}]}}]'"#;
    check("alone", change, "policy-closes-pods", "closes them to every caller", command);
}

#[test]
fn pods_with_two_envoys() {
    let change = |snapshot: &mut Snapshot| {
        let pod = first(snapshot, Kind::Pods);
        let proxy = json!({"name": "istio-proxy", "image": "istio/proxyv2"});
        pod["spec"]["initContainers"].as_array_mut().expect("a list").push(proxy);
    };
    check("both", change, "two-envoys", "two Envoys", &patched(r#"{"scoretap.dev/inject":null}"#));
}

#[test]
fn wasm_plugin_beside_traffic_extension() {
    let object = |kind: &str, namespace: &str| {
        json!({"kind": kind, "metadata": {"name": "scoretap", "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "scoretap"}}})
    };
    let both = |namespace: &'static str| {
        move |snapshot: &mut Snapshot| {
            add(snapshot, Kind::WasmPlugins, object("WasmPlugin", "tenant-a"));
            add(snapshot, Kind::TrafficExtensions, object("TrafficExtension", namespace));
        }
    };
    let command = "kubectl delete wasmplugin scoretap -n tenant-a";
    check("same namespace", both("tenant-a"), "counted-twice", "counted twice", command);
    check("mesh-wide", both("istio-system"), "counted-twice", "counted twice", command);
    check_sound("elsewhere", both("tenant-b"));
}
