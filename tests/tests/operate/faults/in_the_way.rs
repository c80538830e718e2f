//! What stands between the sidecar and those who call or measure it: mTLS, network policies.

use serde_json::{Value, json};

use super::{check, down, patched};
use crate::doctor::{Snapshot, bare_pod, injected, list};

fn istio(snapshot: &mut Snapshot, peers: Value) {
    snapshot.pod()["spec"]["initContainers"].as_array_mut().unwrap().insert(
        0,
        json!({"name": "istio-proxy", "image": "istio/proxyv2", "restartPolicy": "Always",
            "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}]}),
    );
    snapshot.peers = peers;
}

fn strict(namespace: &str) -> Value {
    list(vec![json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace}, "spec": {"mtls": {"mode": "STRICT"}},
    })])
}

#[test]
fn mtls_in_the_way() {
    let excluded = patched(r#"{"traffic.sidecar.istio.io/excludeInboundPorts":"15190"}"#);
    for namespace in ["tenant-a", "istio-system"] {
        let change = |snapshot: &mut Snapshot| {
            down(snapshot);
            istio(snapshot, strict(namespace));
        };
        check("mtls", change, "STRICT mTLS", &excluded);
    }
    let others = |snapshot: &mut Snapshot| {
        down(snapshot);
        istio(snapshot, strict("tenant-a"));
        snapshot.pod()["metadata"]["annotations"]["traffic.sidecar.istio.io/excludeInboundPorts"] =
            "15021".into();
    };
    check("mtls-others", others, "STRICT mTLS", &excluded.replace("15190", "15021,15190"));
}

#[test]
fn mtls_that_is_not_in_the_way_is_not_blamed() {
    let logs = "kubectl logs scorer-6c9f7d5b84-x2lqp -n tenant-a -c scoretap-exporter";
    let excluded = |snapshot: &mut Snapshot| {
        down(snapshot);
        istio(snapshot, strict("tenant-a"));
        snapshot.pod()["metadata"]["annotations"]["traffic.sidecar.istio.io/excludeInboundPorts"] =
            "80, 15190".into();
    };
    check("excluded", excluded, "context deadline", logs);
    let permissive = |snapshot: &mut Snapshot| {
        down(snapshot);
        let mut peers = strict("istio-system");
        let own = json!({"metadata": {"name": "own", "namespace": "tenant-a"}, "spec": {
            "selector": {"matchLabels": {"app": "scorer"}}, "mtls": {"mode": "UNSET"},
            "portLevelMtls": {"15190": {"mode": "PERMISSIVE"}}}});
        peers["items"].as_array_mut().unwrap().push(own);
        istio(snapshot, peers);
    };
    check("permissive", permissive, "context deadline", logs);
    let mut works = Snapshot::sound();
    istio(&mut works, strict("tenant-a"));
    assert_eq!(works.findings("works"), [], "a scrape that works needs no cure");
}

#[test]
fn a_network_policy_that_keeps_monitoring_out() {
    let admit = r#"{"from":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"monitoring"}}}],"ports":[{"port":15190,"protocol":"TCP"}]}"#;
    let command = |name: &str, path: &str, value: &str| {
        format!(
            r#"kubectl patch networkpolicy {name} -n tenant-a --type=json -p '[{{"op":"add","path":"{path}","value":{value}}}]'"#
        )
    };
    let elsewhere = |snapshot: &mut Snapshot| {
        down(snapshot);
        let from = &mut snapshot.network_policies["items"][0]["spec"]["ingress"][0]["from"][0];
        from["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] = "observability".into();
    };
    check(
        "elsewhere",
        elsewhere,
        "keeps the namespace monitoring",
        &command("scoretap-metrics", "/spec/ingress/-", admit),
    );
    let deny = |snapshot: &mut Snapshot| {
        down(snapshot);
        snapshot.network_policies = list(vec![
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "deny", "namespace": "tenant-a"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
        ]);
    };
    check(
        "deny",
        deny,
        "keeps the namespace monitoring",
        &command("deny", "/spec/ingress", &format!("[{admit}]")),
    );
}

/// A namespace in which policies of its own decide, in place of what opens the others.
fn closed(policies: Value) -> impl Fn(&mut Snapshot) {
    move |snapshot: &mut Snapshot| {
        let all = snapshot.network_policies["items"].as_array_mut().unwrap();
        all.truncate(1);
        for (number, spec) in policies.as_array().unwrap().iter().enumerate() {
            all.push(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"name": format!("own-{number}"), "namespace": "tenant-a"}, "spec": spec}));
        }
    }
}

#[test]
fn a_network_policy_that_admits_callers_to_the_app_and_not_to_the_sidecar() {
    let frontend = json!([{"podSelector": {"matchLabels": {"app": "frontend"}}}]);
    let metrics = json!({"ports": [{"port": 9090, "protocol": "TCP"}]});
    let what = "tenant-a/own-1: it admits callers to the app's port 8080, and not to the sidecar's";
    let command = r#"kubectl patch networkpolicy own-1 -n tenant-a --type=json -p '[{"op":"add","path":"/spec/ingress/1/ports/-","value":{"port":15100,"protocol":"TCP"}}]'"#;
    for port in [
        json!({"port": 8080}),
        json!({"port": "http", "protocol": "TCP"}),
        json!({"port": 8000, "endPort": 9000}),
    ] {
        let rule = json!({"from": frontend, "ports": [port]});
        let deny = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
        check(
            "no-way",
            closed(json!([deny, {"podSelector": {}, "ingress": [metrics, rule]}])),
            what,
            command,
        );
    }
    let app = json!({"from": frontend, "ports": [{"port": 8080}]});
    let sidecar = |from: &Value| json!({"from": from, "ports": [{"port": 15100}]});
    for (name, policies) in [
        ("in-the-same", json!([{"podSelector": {}, "ingress": [app, sidecar(&frontend)]}])),
        (
            "in-another",
            json!([{"podSelector": {}, "ingress": [app]}, {"podSelector": {}, "ingress": [sidecar(&frontend)]}]),
        ),
        (
            "to-all",
            json!([{"podSelector": {}, "ingress": [app]}, {"podSelector": {}, "ingress": [sidecar(&json!([]))]}]),
        ),
        ("any-port", json!([{"podSelector": {}, "ingress": [{"from": frontend}]}])),
        ("nobody", json!([{"podSelector": {}, "policyTypes": ["Ingress"]}])),
        (
            "of-others",
            json!([{"podSelector": {}}, {"podSelector": {"matchLabels": {"app": "x"}}, "ingress": [app]}]),
        ),
        (
            "outwards",
            json!([{"podSelector": {}}, {"podSelector": {}, "policyTypes": ["Egress"], "ingress": [app]}]),
        ),
    ] {
        let mut snapshot = Snapshot::sound();
        closed(policies)(&mut snapshot);
        assert_eq!(snapshot.findings(name), [], "{name}");
    }
}

#[test]
fn our_own_network_policies_that_shut_callers_out() {
    check(
        "alone",
        closed(json!([])),
        "tenant-a/scoretap-metrics: no other policy selects the pods, so it closes them to every caller",
        "kubectl apply -n tenant-a -k K8S/tenants/open",
    );
    let unusual = |snapshot: &mut Snapshot| {
        let mut pod = bare_pod();
        pod["spec"]["containers"][0]["ports"][0]["containerPort"] = 5123.into();
        let status = snapshot.pod()["status"].clone();
        *snapshot.pod() = injected(&pod);
        snapshot.pod()["status"] = status;
        snapshot.services["items"][2]["metadata"]["annotations"]["scoretap.dev/target-port"] = "5123".into();
    };
    let command = r#"kubectl patch networkpolicy scoretap-calls -n tenant-a --type=json -p '[{"op":"add","path":"/spec/ingress/0/ports/-","value":{"port":5123,"protocol":"TCP"}}]'"#;
    check("unusual", unusual, "tenant-a/scoretap-calls: it closes the app's port 5123", command);
}
