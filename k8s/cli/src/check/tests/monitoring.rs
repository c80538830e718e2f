//! From Prometheus to the pods, and from alerts to people.

use serde_json::{Value, json};

use super::fixture::{RESTART, add, first, patched};
use super::{check, check_sound};
use crate::check::snapshot::{Kind, Snapshot};

const INSTALL: &str = "scoretap install --set monitoring.prometheusRelease=stack";
const LOGS: &str = "kubectl logs scorer-6c9f7d5b84-x2lqp -n tenant-a -c scoretap-exporter";

#[test]
fn cluster_without_prometheus() {
    let change = |snapshot: &mut Snapshot| {
        for kind in [Kind::Prometheuses, Kind::PodMonitors, Kind::Rules] {
            snapshot.lists.remove(&kind);
        }
    };
    check("none", change, "no-prometheus", "no alert fires", "scoretap install --with-prometheus-stack");
}

#[test]
fn monitor_or_rules_missing() {
    let gone = |kind: Kind| move |snapshot: &mut Snapshot| drop(snapshot.lists.remove(&kind));
    check("monitor", gone(Kind::PodMonitors), "no-monitor", "does not know", INSTALL);
    check("rules", gone(Kind::Rules), "no-rules", "no alert can fire", INSTALL);
    let unloaded = |snapshot: &mut Snapshot| snapshot.prometheus.groups = Some(Vec::new());
    check("group", unloaded, "rules-not-loaded", "scoretap.alerts", INSTALL);
    let elsewhere = |snapshot: &mut Snapshot| {
        gone(Kind::Rules)(snapshot);
        first(snapshot, Kind::Prometheuses)["metadata"]["namespace"] = "observe".into();
        add(snapshot, Kind::Namespaces, json!({"metadata": {"name": "observe"}}));
    };
    let command = "scoretap install --set monitoring.prometheusRelease=stack,monitoring.namespace=observe";
    check("other namespace", elsewhere, "no-rules", "observe/prometheus/stack", command);
}

#[test]
fn labels_that_prometheus_does_not_select() {
    let relabel = |kind: Kind| {
        move |snapshot: &mut Snapshot| first(snapshot, kind)["metadata"]["labels"]["release"] = "other".into()
    };
    let label = |kinds: &str| {
        format!(
            "kubectl label {kinds} -n monitoring -l app.kubernetes.io/part-of=scoretap release=stack --overwrite"
        )
    };
    let monitor = relabel(Kind::PodMonitors);
    check("monitor", monitor, "monitor-not-selected", "does not select its labels", &label("podmonitors"));
    let rules = relabel(Kind::Rules);
    check("rules", rules, "rules-not-selected", "does not select its labels", &label("prometheusrules"));
}

#[test]
fn selectors_that_select_nothing() {
    let set = |field: &'static str, value: Value| {
        move |snapshot: &mut Snapshot| first(snapshot, Kind::Prometheuses)["spec"][field] = value
    };
    let patch = |field: &str| {
        format!(
            "kubectl patch prometheus stack -n monitoring --type=merge -p '{{\"spec\":{{\"{field}\":{{}}}}}}'"
        )
    };
    let (id, all) = ("rules-not-selected", "ruleSelector");
    check("none", set(all, Value::Null), id, "selects no prometheusrules", &patch(all));
    let labelled = set("ruleNamespaceSelector", json!({"matchLabels": {"watch": "yes"}}));
    let command = "kubectl label namespace monitoring watch=yes --overwrite";
    check("namespace", labelled, id, "does not select its namespace", command);
    let own = |snapshot: &mut Snapshot| {
        set("ruleNamespaceSelector", Value::Null)(snapshot);
        first(snapshot, Kind::Rules)["metadata"]["namespace"] = "tenant-a".into();
    };
    check("own namespace", own, id, "only its own namespace", &patch("ruleNamespaceSelector"));
}

#[test]
fn monitor_that_does_not_fit_the_pods() {
    let port = |snapshot: &mut Snapshot| {
        first(snapshot, Kind::PodMonitors)["spec"]["podMetricsEndpoints"][0]["port"] = "metrics".into();
    };
    let command = r#"kubectl patch podmonitor scoretap -n monitoring --type=json -p '[{"op":"replace","path":"/spec/podMetricsEndpoints/0/port","value":"scoretap-stats"}]'"#;
    check("port", port, "monitor-port", "its port metrics", command);
    let names = |snapshot: &mut Snapshot| {
        first(snapshot, Kind::PodMonitors)["spec"]["namespaceSelector"] = json!({"matchNames": ["tenant-b"]});
    };
    let command = r#"kubectl patch podmonitor scoretap -n monitoring --type=merge -p '{"spec":{"namespaceSelector":{"any":true}}}'"#;
    check("namespaces", names, "pod-not-selected", "does not look into the namespace tenant-a", command);
    let unlabelled = |snapshot: &mut Snapshot| {
        let pod = first(snapshot, Kind::Pods);
        pod["metadata"]["labels"].as_object_mut().expect("labels").remove("scoretap.dev/injected");
    };
    let command =
        "kubectl label pod scorer-6c9f7d5b84-x2lqp -n tenant-a scoretap.dev/injected=true --overwrite";
    check("label", unlabelled, "pod-not-selected", "lacks the label", command);
}

/// The target is down.
fn down(snapshot: &mut Snapshot) {
    let target = &mut snapshot.prometheus.targets.as_mut().expect("targets")[0];
    target["health"] = "down".into();
    target["lastError"] = "context deadline exceeded".into();
}

#[test]
fn target_missing_or_down() {
    let unknown = |snapshot: &mut Snapshot| snapshot.prometheus.targets = Some(Vec::new());
    let operator = "kubectl logs -n monitoring -l app.kubernetes.io/component=prometheus-operator --tail=50";
    check("unknown", unknown, "no-target", "does not know it", operator);
    let young = |snapshot: &mut Snapshot| {
        unknown(snapshot);
        first(snapshot, Kind::Pods)["status"]["startTime"] = "2026-11-28T11:59:30Z".into();
    };
    check_sound("just started", young);
    check("down", down, "not-scraped", "context deadline exceeded", LOGS);
    let crashed = |snapshot: &mut Snapshot| {
        down(snapshot);
        first(snapshot, Kind::Pods)["status"]["initContainerStatuses"][2]["state"] =
            json!({"terminated": {"reason": "Error"}});
    };
    let describe = "kubectl describe pod scorer-6c9f7d5b84-x2lqp -n tenant-a";
    check("ended", crashed, "not-scraped", "(Error)", describe);
}

fn meshed(snapshot: &mut Snapshot, excluded: Option<&str>) {
    down(snapshot);
    let pod = first(snapshot, Kind::Pods);
    let containers = pod["spec"]["initContainers"].as_array_mut().expect("a list");
    // Istio's pods have only the exporter.
    containers.retain(|container| container["name"] == "scoretap-exporter");
    containers.push(json!({"name": "istio-proxy"}));
    if let Some(excluded) = excluded {
        pod["metadata"]["annotations"]["traffic.sidecar.istio.io/excludeInboundPorts"] = excluded.into();
    }
    let annotations = &mut first(snapshot, Kind::Workloads)["spec"]["template"]["metadata"]["annotations"];
    *annotations = json!({});
    let strict = json!({"kind": "PeerAuthentication", "metadata": {"name": "default", "namespace": "istio-system"},
        "spec": {"mtls": {"mode": "STRICT"}}});
    add(snapshot, Kind::PeerAuthentications, strict);
}

#[test]
fn strict_mtls_keeps_prometheus_out() {
    let command =
        |ports: &str| patched(&format!(r#"{{"traffic.sidecar.istio.io/excludeInboundPorts":"{ports}"}}"#));
    check("mesh", |snapshot| meshed(snapshot, None), "not-scraped", "STRICT mTLS", &command("15190"));
    let others = |snapshot: &mut Snapshot| meshed(snapshot, Some("15021"));
    check("others excluded", others, "not-scraped", "STRICT mTLS", &command("15021,15190"));
    let excluded = |snapshot: &mut Snapshot| meshed(snapshot, Some("80, 15190"));
    check("excluded", excluded, "not-scraped", "context deadline", LOGS);
    let permissive = |snapshot: &mut Snapshot| {
        meshed(snapshot, None);
        let own = json!({"metadata": {"name": "own", "namespace": "tenant-a"}, "spec": {
            "selector": {"matchLabels": {"app": "scorer"}}, "mtls": {"mode": "UNSET"},
            "portLevelMtls": {"15190": {"mode": "PERMISSIVE"}}}});
        add(snapshot, Kind::PeerAuthentications, own);
    };
    check("permissive port", permissive, "not-scraped", "context deadline", LOGS);
}

#[test]
fn policy_keeps_prometheus_out() {
    let change = |snapshot: &mut Snapshot| {
        down(snapshot);
        let policy = json!({"kind": "NetworkPolicy", "metadata": {"name": "own", "namespace": "tenant-a"},
            "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 15100}]}]}});
        add(snapshot, Kind::NetworkPolicies, policy);
    };
    let command = r#"kubectl patch networkpolicy own -n tenant-a --type=json -p '[{"op":"add","path":"/spec/ingress/-","value":{"from":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"monitoring"}}}],"ports":[{"port":15190,"protocol":"TCP"}]}}]'"#;
    check("metrics port", change, "not-scraped", "keeps Prometheus", command);
}

fn says(metric: &'static str, value: Option<&'static str>) -> impl FnOnce(&mut Snapshot) {
    move |snapshot: &mut Snapshot| {
        let series = snapshot.prometheus.up.as_mut().expect("series");
        series.retain(|series| value.is_some() || series["metric"]["__name__"] != metric);
        for series in series.iter_mut().filter(|series| series["metric"]["__name__"] == metric) {
            series["value"][1] = value.unwrap_or_default().into();
        }
    }
}

#[test]
fn target_that_is_up_and_says_nothing() {
    let raw =
        "kubectl get --raw /api/v1/namespaces/tenant-a/pods/scorer-6c9f7d5b84-x2lqp:15190/proxy/metrics";
    let id = "reads-nothing";
    check("no series", says("scoretap_up", None), id, "something else answers", raw);
    check("no Envoy", says("scoretap_up", Some("0")), id, "cannot read Envoy", RESTART);
    let logs =
        "kubectl logs scorer-6c9f7d5b84-x2lqp -n tenant-a -c scoretap-envoy | grep 'scoretap configuration'";
    check("configuration", says("scoretap_config_valid", Some("0")), id, "is invalid", logs);
    let logs = "kubectl logs scorer-6c9f7d5b84-x2lqp -n tenant-a -c scoretap-exporter | grep DIALECT_FILE";
    check("dialect", says("scoretap_dialect_valid", Some("0")), id, "its metrics are missing", logs);
    let logs = "kubectl logs scorer-6c9f7d5b84-x2lqp -n tenant-a -c scoretap-exporter | grep BASELINE_FILE";
    check("baseline", says("scoretap_baseline_valid", Some("0")), id, "the week before", logs);
}

#[test]
fn alert_without_data() {
    let lost = |metric: &'static str| {
        move |snapshot: &mut Snapshot| {
            snapshot.prometheus.metrics.as_mut().expect("metrics").remove(metric);
        }
    };
    let command = "kubectl get servicemonitors --all-namespaces -l app.kubernetes.io/name=kube-state-metrics";
    check(
        "Kubernetes' own",
        lost("kube_pod_status_ready"),
        "alert-without-data",
        "ScoretapModelServerDown: loaded",
        command,
    );
    let command = "kubectl get podmonitors --all-namespaces -o yaml";
    check(
        "recorded",
        lost("prediction_requests_total"),
        "alert-without-data",
        "no series of prediction_requests_total",
        command,
    );
}

#[test]
fn receivers_that_reach_nobody() {
    let change = |snapshot: &mut Snapshot| {
        let entry = ("tenant-a".to_owned(), "scoretap-alerts".to_owned(), "chat-url".to_owned());
        snapshot.missing_secrets.insert(entry);
    };
    check(
        "Secret",
        change,
        "alert-receiver",
        "chat-url",
        "kubectl create secret generic scoretap-alerts -n tenant-a --from-literal=chat-url=…",
    );
    let example = |snapshot: &mut Snapshot| {
        let rule = first(snapshot, Kind::Rules);
        rule["spec"]["groups"][0]["rules"][0]["annotations"] =
            json!({"runbook_url": "https://docs.example.com/r"});
    };
    let command = "scoretap install --set monitoring.runbookUrl=https://…";
    check("runbook", example, "alert-receiver", "docs.example.com", command);
}

/// Changes one field of Alertmanager's configuration.
fn configured(pointer: &'static str, value: Value) -> impl FnOnce(&mut Snapshot) {
    move |snapshot: &mut Snapshot| {
        let config = snapshot.alertmanager.as_mut().expect("a configuration");
        *config.pointer_mut(pointer).expect("the field") = value;
    }
}

#[test]
fn alerts_that_no_receiver_gets() {
    let id = "alert-reaches-nobody";
    let install = "scoretap install --set monitoring.receiver.channel=…";
    let show = "kubectl get alertmanagerconfigs --all-namespaces";
    let other = json!(["namespace=\"other\""]);
    check("platform", configured("/route/routes/1/matchers", other.clone()), id, "Scoretap itself", install);
    check("tenant", configured("/route/routes/2/matchers", other), id, "critical and warning", show);
    let split = json!([{"matchers": ["severity=critical"], "receiver": "null"}]);
    let critical = |snapshot: &mut Snapshot| {
        snapshot.alertmanager.as_mut().expect("a configuration")["route"]["routes"][2]["routes"] = split;
    };
    check("severity", critical, id, "gets its critical alerts", show);
    let empty = configured("/receivers/2/slack_configs", json!([]));
    check("empty receiver", empty, id, "namespace/tenant-a", show);
    let address = json!([{"api_url": "https://chat.example.com/hook"}]);
    let placeholder = configured("/receivers/1/slack_configs", address);
    check("placeholder", placeholder, id, "platform sends to https://chat.example.com/hook", show);
}

#[test]
fn alerts_that_a_default_receiver_gets() {
    check_sound("default receiver", |snapshot| {
        configured("/route/routes", json!([]))(snapshot);
        configured("/route/receiver", "platform".into())(snapshot);
    });
    // A regular expression is not evaluated.
    let pattern = json!(["namespace=~\"tenant-.*\""]);
    check_sound("pattern", configured("/route/routes/2/matchers", pattern));
    check_sound("not seen", |snapshot| snapshot.alertmanager = None);
}

#[test]
fn tenant_pods_belong_to_their_own_monitor() {
    let own = |snapshot: &mut Snapshot| {
        let mut monitor = first(snapshot, Kind::PodMonitors).clone();
        monitor["metadata"]["name"] = "scoretap-tenant-a".into();
        monitor["spec"]["namespaceSelector"] = json!({"matchNames": ["tenant-a"]});
        add(snapshot, Kind::PodMonitors, monitor);
    };
    check_sound("scraped by it", |snapshot| {
        own(snapshot);
        let targets = snapshot.prometheus.targets.as_mut().expect("targets");
        targets[0]["scrapePool"] = "podMonitor/monitoring/scoretap-tenant-a/0".into();
    });
    let operator = "kubectl logs -n monitoring -l app.kubernetes.io/component=prometheus-operator --tail=50";
    check("scraped by the other", own, "no-target", "does not know it", operator);
}
