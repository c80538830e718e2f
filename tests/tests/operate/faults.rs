//! Each fault, alone, gives its one finding and its one command, and nothing else.

mod in_the_way;

use std::fs;

use scoretap_tests::workspace;
use serde_json::{Value, json};

use crate::doctor::{Snapshot, bare_pod, injected, list, refusal};

/// The finding that a change of the sound cluster gives, and the command that mends it.
#[track_caller]
pub(crate) fn check(name: &str, change: impl FnOnce(&mut Snapshot), what: &str, command: &str) {
    let mut snapshot = Snapshot::sound();
    change(&mut snapshot);
    let findings = snapshot.findings(name);
    let [(found, mends)] = findings.as_slice() else { panic!("{name}: {findings:#?}") };
    assert!(found.contains(what), "{name}: {found}");
    assert_eq!(mends, &command.replace("K8S", &k8s()), "{name}: {found}");
}

pub(crate) fn k8s() -> String {
    workspace::root().join("k8s").display().to_string()
}

fn namespace<'a>(snapshot: &'a mut Snapshot, name: &str) -> &'a mut Value {
    let all = snapshot.namespaces["items"].as_array_mut().unwrap();
    all.iter_mut().find(|namespace| namespace["metadata"]["name"] == name).unwrap()
}

/// The tenant's pod as it was before the sidecar, and no target for it.
fn without_sidecar(snapshot: &mut Snapshot) -> &mut Value {
    snapshot.targets["data"]["activeTargets"] = json!([]);
    snapshot.services["items"][2]["spec"]["ports"][0]["targetPort"] = json!(8080);
    *snapshot.pod() = bare_pod();
    snapshot.pod()
}

/// The target is down, as Prometheus words it.
pub(crate) fn down(snapshot: &mut Snapshot) {
    let targets = snapshot.targets["data"]["activeTargets"].as_array_mut().unwrap();
    let target = targets.iter_mut().find(|target| target["labels"]["namespace"] == "tenant-a").unwrap();
    target["health"] = "down".into();
    target["lastError"] = "Get \"http://10.244.1.23:15190/metrics\": context deadline exceeded".into();
    snapshot.up["data"]["result"] = json!([]);
}

fn value(snapshot: &mut Snapshot, name: &str, value: &str) {
    let series = snapshot.up["data"]["result"].as_array_mut().unwrap();
    let series = series.iter_mut().find(|series| series["metric"]["__name__"] == name).unwrap();
    series["value"][1] = value.into();
}

fn without_metrics(snapshot: &mut Snapshot, prefix: &str) {
    let there = |series: &Value| !series["metric"]["__name__"].as_str().unwrap().starts_with(prefix);
    snapshot.metrics["data"]["result"].as_array_mut().unwrap().retain(there);
}

const RESTART: &str = "kubectl rollout restart deployment scorer -n tenant-a";
const INSTALL: &str = "K8S/install.sh --without-prometheus";

fn patched(annotations: &str) -> String {
    let patch = format!(r#"{{"spec":{{"template":{{"metadata":{{"annotations":{annotations}}}}}}}}}"#);
    format!("kubectl patch deployment scorer -n tenant-a -p '{patch}'")
}

#[test]
fn a_namespace_that_is_not_labelled() {
    let change = |snapshot: &mut Snapshot| {
        without_sidecar(snapshot);
        namespace(snapshot, "tenant-a")["metadata"]["labels"]
            .as_object_mut()
            .unwrap()
            .remove("scoretap.dev/injection");
    };
    check(
        "unlabelled",
        change,
        "not labelled",
        "kubectl label namespace tenant-a scoretap.dev/injection=enabled --overwrite",
    );
}

#[test]
fn a_pod_that_was_made_before_it_was_asked_for() {
    let change = |snapshot: &mut Snapshot| {
        without_sidecar(snapshot);
    };
    check("earlier", change, "tenant-a/scorer-6c9f7d5b84-x2lqp: no sidecar", RESTART);
}

#[test]
fn many_pods_of_one_deployment_are_one_finding() {
    let change = |snapshot: &mut Snapshot| {
        let mut second = without_sidecar(snapshot).clone();
        second["metadata"]["name"] = "scorer-6c9f7d5b84-zzzzz".into();
        snapshot.pods["items"].as_array_mut().unwrap().push(second);
    };
    check("many", change, "x2lqp and 1 more: no sidecar", RESTART);
}

#[test]
fn a_pod_is_made_anew_by_whoever_made_it() {
    let owned = |owner: Value| {
        move |snapshot: &mut Snapshot| {
            let pod = without_sidecar(snapshot);
            pod["metadata"]["name"] = "p".into();
            pod["metadata"]["ownerReferences"] = owner;
        }
    };
    let by =
        |kind: &str| json!([{"apiVersion": "v1", "controller": true, "kind": kind, "name": "x", "uid": "1"}]);
    let what = "no sidecar";
    check("of-a-set", owned(by("StatefulSet")), what, "kubectl rollout restart statefulset x -n tenant-a");
    check("of-a-job", owned(by("Job")), what, "kubectl delete pod p -n tenant-a");
    check(
        "of-nobody",
        owned(json!([])),
        what,
        "kubectl get pod p -n tenant-a -o yaml | kubectl replace --force -f -",
    );
}

#[test]
fn an_annotation_on_the_deployment_in_place_of_its_pods() {
    let change = |snapshot: &mut Snapshot| {
        without_sidecar(snapshot)["metadata"]["annotations"] = json!({});
        let deployment = &mut snapshot.workloads["items"][1];
        deployment["metadata"]["annotations"]["scoretap.dev/inject"] = "true".into();
        deployment["spec"]["template"]["metadata"]["annotations"] = json!({});
    };
    check("misplaced", change, "on the Deployment", &patched(r#"{"scoretap.dev/inject":"true"}"#));
}

/// What the injector refuses, the doctor explains, and says the right annotations. What the injector said.
#[track_caller]
fn check_refused(name: &str, change: impl Fn(&mut Value), what: &str, annotations: &str) -> String {
    let mut pod = bare_pod();
    change(&mut pod);
    let said = refusal(&pod).unwrap_or_else(|| panic!("{name}: the injector takes it"));
    check(name, |snapshot| *without_sidecar(snapshot) = pod, what, &patched(annotations));
    said
}

#[test]
fn a_pod_that_the_injector_refuses() {
    let annotate = |name: &'static str, value: &str| {
        let value = Value::from(value);
        move |pod: &mut Value| pod["metadata"]["annotations"][name] = value.clone()
    };
    let without = r#"{"scoretap.dev/inject":null}"#;
    let port = r#"{"scoretap.dev/app-port":"8080"}"#;
    let names = r#"{"scoretap.dev/model-name":null,"scoretap.dev/model-version":null}"#;
    let config = r#"{"scoretap.dev/config":null}"#;
    let yes = annotate("scoretap.dev/inject", "yes");
    let hook = annotate("scoretap.dev/pre-stop", "no");
    let no_port = |pod: &mut Value| pod["spec"]["containers"][0]["ports"] = json!([]);
    let host = |pod: &mut Value| pod["spec"]["hostNetwork"] = true.into();
    let windows = |pod: &mut Value| pod["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "windows"});
    let ports = |pod: &mut Value| pod["spec"]["containers"][0]["ports"][0]["containerPort"] = 15_100.into();
    // The Service leads to the second.
    let several = |pod: &mut Value| {
        pod["spec"]["containers"][0]["ports"] =
            json!([{"containerPort": 8500, "name": "grpc"}, {"containerPort": 8080, "name": "http"}]);
    };
    let metrics = |pod: &mut Value| pod["spec"]["containers"][0]["ports"][0]["name"] = "http-metrics".into();
    let tls = |pod: &mut Value| pod["spec"]["containers"][0]["ports"][0]["name"] = "https".into();
    let volume = |pod: &mut Value| pod["spec"]["volumes"][0]["name"] = "scoretap".into();
    let mounts = json!([{"name": "scoretap", "mountPath": "/admin"}]);
    let container =
        |name: &'static str| move |pod: &mut Value| pod["spec"]["containers"][0]["name"] = name.into();
    let mount = |pod: &mut Value| pod["spec"]["containers"][0]["volumeMounts"] = mounts.clone();
    let long = format!("{{\"routes\":[]{}}}", " ".repeat(16_384));
    let mut said = vec![
        check_refused("yes", yes, r#"is "yes""#, r#"{"scoretap.dev/inject":"true"}"#),
        check_refused("hook", hook, "pre-stop", r#"{"scoretap.dev/pre-stop":null}"#),
        check_refused("no-port", no_port, "port is not known", port),
        check_refused("host", host, "hostNetwork", without),
        check_refused("windows", windows, "Windows", without),
        check_refused("metrics-alone", metrics, "port is not known", port),
        check_refused("several", several, "several TCP ports", port),
        check_refused("tls", tls, "named as one of TLS", without),
        check_refused("ports", ports, "15100", without),
        check_refused("volume", volume, "volume", without),
        check_refused("mount", mount, "volume", without),
        check_refused("container", container("scoretap-exporter"), "has a name of the sidecar's", without),
        check_refused("container", container("scoretap-envoy"), "has a name of the sidecar's", without),
        check_refused("name", annotate("scoretap.dev/model-name", "a\nb"), "cannot be a label", names),
        check_refused("config", annotate("scoretap.dev/config", "{"), "no JSON", config),
        check_refused("long", annotate("scoretap.dev/config", &long), "no JSON", config),
    ];
    for wrong in ["web", "0", "70000", "080"] {
        said.push(check_refused("port", annotate("scoretap.dev/app-port", wrong), "port is not known", port));
    }
    // Ports that are none for calls are left out by both.
    let mut pod = bare_pod();
    several(&mut pod);
    pod["spec"]["containers"][0]["ports"][0]["name"] = "admin".into();
    assert_eq!(refusal(&pod), None);
    check("one-for-calls", |snapshot| *without_sidecar(snapshot) = pod, "older than its annotation", RESTART);
    // A fault that the injector learns is one that the doctor has to learn.
    let faults = workspace::root().join("k8s/injector/src/faults.rs");
    let faults = fs::read_to_string(faults).unwrap();
    let messages: Vec<_> = faults.split("message: \"").skip(1).collect();
    assert!(messages.len() >= 10);
    for message in messages {
        let start = message.split(['\\', '{', '"']).next().unwrap();
        assert!(said.iter().any(|said| said.contains(start)), "the doctor does not know: {start}");
    }
}

#[test]
fn nothing_puts_the_sidecar_into_pods() {
    let change = |snapshot: &mut Snapshot| {
        without_sidecar(snapshot);
        snapshot.webhooks = list(vec![]);
    };
    check("none", change, "nothing puts it there", "K8S/scoretap.sh deploy");
}

#[test]
fn an_injector_that_is_down() {
    let change = |snapshot: &mut Snapshot| {
        without_sidecar(snapshot);
        snapshot.workloads["items"][0]["status"] = json!({"replicas": 2, "unavailableReplicas": 2});
    };
    let command = "kubectl describe pods -n scoretap-system -l app.kubernetes.io/name=scoretap-injector";
    check("asleep", change, "no pod of the injector is ready", command);
}

#[test]
fn a_service_that_leads_past_the_sidecar() {
    let past = |snapshot: &mut Snapshot, ports: Value| snapshot.services["items"][2]["spec"]["ports"] = ports;
    check(
        "past",
        |snapshot| past(snapshot, json!([{"port": 80, "protocol": "TCP", "targetPort": 8080}])),
        "tenant-a/scorer: its pods have the sidecar, and it leads past it",
        r#"kubectl patch service scorer -n tenant-a -p '{"metadata":{"annotations":{"scoretap.dev/inject":"true"}}}'"#,
    );
    let two = json!([{"name": "admin", "port": 81, "protocol": "TCP", "targetPort": 8081},
        {"name": "score", "port": 80, "protocol": "TCP", "targetPort": 8080}]);
    let command = r#"kubectl patch service scorer -n tenant-a -p '{"metadata":{"annotations":{"scoretap.dev/inject":"true","scoretap.dev/app-port":"score"}}}'"#;
    let of_another = |snapshot: &mut Snapshot| {
        let mut admin = snapshot.services["items"][2].clone();
        admin["metadata"]["name"] = "admin".into();
        admin["spec"]["ports"] = json!([{"port": 81, "protocol": "TCP", "targetPort": 8081}]);
        snapshot.services["items"].as_array_mut().unwrap().push(admin);
    };
    let mut admin = Snapshot::sound();
    of_another(&mut admin);
    assert_eq!(admin.findings("admin"), [], "what does not lead to the app leads past nothing");
    check("past-of-two", |snapshot| past(snapshot, two), "leads past it", command);
}

/// Calls would reach another port of the app than before.
#[test]
fn a_service_that_led_elsewhere_than_the_sidecar_leads() {
    let led = |before: &'static str| {
        move |snapshot: &mut Snapshot| {
            let mut pod = bare_pod();
            pod["metadata"]["annotations"]["scoretap.dev/app-port"] = "8081".into();
            pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 8081, "name": "metrics"},
                {"containerPort": 8080, "name": "http"}, {"containerPort": 8081, "name": "again"}]);
            let status = snapshot.pod()["status"].clone();
            *snapshot.pod() = injected(&pod);
            snapshot.pod()["status"] = status;
            snapshot.services["items"][2]["metadata"]["annotations"]["scoretap.dev/target-port"] =
                before.into();
        }
    };
    for before in ["8080", "http"] {
        check(
            "astray",
            led(before),
            &format!("tenant-a/scorer: it led to {before}, and the sidecar of its pods leads to 8081"),
            &patched(&format!(r#"{{"scoretap.dev/app-port":"{before}"}}"#)),
        );
    }
    for same in ["8081", "metrics", "again", "nobody-declares-it"] {
        let mut snapshot = Snapshot::sound();
        led(same)(&mut snapshot);
        assert_eq!(snapshot.findings("not-astray"), [], "{same}");
    }
}

#[test]
fn a_service_that_leads_to_a_sidecar_that_is_not_there() {
    let change = |snapshot: &mut Snapshot| {
        without_sidecar(snapshot)["metadata"]["annotations"] = json!({});
        snapshot.services["items"][2]["spec"]["ports"][0]["targetPort"] = "scoretap-http".into();
    };
    check(
        "nowhere",
        change,
        "calls find nobody",
        "kubectl annotate service scorer -n tenant-a scoretap.dev/inject-",
    );
    // Where the injector does not look, or does not know where the port led, by hand: to the app's own port.
    let by_hand = "kubectl annotate service scorer -n tenant-a scoretap.dev/inject- scoretap.dev/target-port- && kubectl patch \
        service scorer -n tenant-a --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/ports/0/targetPort\",\"value\":8080}]'";
    let of_hand = |snapshot: &mut Snapshot| {
        change(snapshot);
        snapshot.services["items"][2]["metadata"]["annotations"] = json!({});
    };
    check("nowhere-by-hand", of_hand, "calls find nobody", by_hand);
    let unlabelled = |snapshot: &mut Snapshot| {
        change(snapshot);
        namespace(snapshot, "tenant-a")["metadata"]["labels"] = json!({});
    };
    check("nowhere-unlabelled", unlabelled, "calls find nobody", by_hand);
}

#[test]
fn a_cluster_without_prometheus_or_without_our_objects() {
    let none = |snapshot: &mut Snapshot| {
        for kind in [
            &mut snapshot.prometheuses,
            &mut snapshot.pod_monitors,
            &mut snapshot.service_monitors,
            &mut snapshot.rules,
        ] {
            *kind = Value::Null;
        }
    };
    check("no-prometheus", none, "no Prometheus", "K8S/install.sh");
    check("no-monitor", |snapshot| snapshot.pod_monitors = list(vec![]), "no PodMonitor", INSTALL);
    let no_rule = |snapshot: &mut Snapshot| drop(snapshot.rules["items"].as_array_mut().unwrap().remove(0));
    check("no-rule", no_rule, "scoretap-recording: these rules are not in the cluster", INSTALL);
}

#[test]
fn a_label_that_the_operator_does_not_select() {
    let label = |object: &mut Value| object["metadata"]["labels"]["release"] = "monitoring".into();
    let command = |kind: &str| {
        format!(
            "kubectl label {kind} -n monitoring -l app.kubernetes.io/part-of=scoretap release=kube-prometheus-stack --overwrite"
        )
    };
    let what = "not those by which Prometheus kube-prometheus-stack-prometheus selects";
    let finding = format!("1. monitoring/scoretap: its labels are {what}\n   {}\n", command("podmonitors"));
    let document = workspace::root().join("k8s/operating.md");
    assert!(fs::read_to_string(document).unwrap().contains(&finding), "the document shows another");
    check("label", |snapshot| label(&mut snapshot.pod_monitors["items"][0]), what, &command("podmonitors"));
    let service = |snapshot: &mut Snapshot| label(&mut snapshot.service_monitors["items"][0]);
    check("label-service", service, what, &command("servicemonitors"));
    let rules =
        |snapshot: &mut Snapshot| snapshot.rules["items"].as_array_mut().unwrap().iter_mut().for_each(label);
    check("label-rules", rules, what, &command("prometheusrules"));
}

#[test]
fn selectors_are_read_as_the_api_server_reads_them() {
    let select = |selector: Value| {
        move |snapshot: &mut Snapshot| {
            snapshot.prometheuses["items"][0]["spec"]["podMonitorSelector"] = selector;
        }
    };
    let label = |change: &str| {
        format!(
            "kubectl label podmonitors -n monitoring -l app.kubernetes.io/part-of=scoretap {change} --overwrite"
        )
    };
    let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    let what = "its labels";
    check("in", select(expression("team", "In", json!(["a", "b"]))), what, &label("team=a"));
    check("exists", select(expression("team", "Exists", Value::Null)), what, &label("team=true"));
    check("absent", select(expression("release", "DoesNotExist", Value::Null)), what, &label("release-"));
    check(
        "not-in",
        select(expression("release", "NotIn", json!(["kube-prometheus-stack"]))),
        what,
        &label("release-"),
    );
    for sound in
        [json!({}), expression("team", "NotIn", json!(["a"])), expression("release", "Exists", Value::Null)]
    {
        let mut snapshot = Snapshot::sound();
        select(sound.clone())(&mut snapshot);
        assert_eq!(snapshot.findings("selects"), [], "{sound}");
    }
    let patch = |field: &str| {
        format!(
            "kubectl patch prometheus kube-prometheus-stack-prometheus -n monitoring --type=merge -p '{{\"spec\":{{\"{field}\":{{}}}}}}'"
        )
    };
    check("nothing", select(Value::Null), "selects no podmonitors at all", &patch("podMonitorSelector"));
    let elsewhere = |snapshot: &mut Snapshot| {
        snapshot.pod_monitors["items"][0]["metadata"]["namespace"] = "tenant-a".into();
        snapshot.prometheuses["items"][0]["spec"]["podMonitorNamespaceSelector"] = Value::Null;
        snapshot.targets["data"]["activeTargets"][0]["scrapePool"] = "podMonitor/tenant-a/scoretap/0".into();
    };
    check("own-namespace", elsewhere, "own namespace alone", &patch("podMonitorNamespaceSelector"));
    let labelled = |snapshot: &mut Snapshot| {
        snapshot.prometheuses["items"][0]["spec"]["ruleNamespaceSelector"] =
            json!({"matchLabels": {"watch": "yes"}});
    };
    check(
        "namespace",
        labelled,
        "none in which Prometheus",
        "kubectl label namespace monitoring watch=yes --overwrite",
    );
}

#[test]
fn a_monitor_that_does_not_fit_the_pods() {
    let patch = "kubectl patch podmonitor scoretap -n monitoring";
    let port = |snapshot: &mut Snapshot| {
        snapshot.pod_monitors["items"][0]["spec"]["podMetricsEndpoints"][0]["port"] = "metrics".into();
    };
    let command = format!(
        r#"{patch} --type=json -p '[{{"op":"replace","path":"/spec/podMetricsEndpoints/0/port","value":"scoretap-stats"}}]'"#
    );
    check("port", port, "monitoring/scoretap: its port metrics is none of the pods'", &command);
    let names = |snapshot: &mut Snapshot| {
        snapshot.pod_monitors["items"][0]["spec"]["namespaceSelector"] = json!({"matchNames": ["tenant-b"]});
    };
    let command = format!(r#"{patch} --type=merge -p '{{"spec":{{"namespaceSelector":{{"any":true}}}}}}'"#);
    check("namespaces", names, "does not look into namespaces", &command);
    let unlabelled = |snapshot: &mut Snapshot| {
        snapshot.pod()["metadata"]["labels"].as_object_mut().unwrap().remove("scoretap.dev/injected");
    };
    let command =
        "kubectl label pod scorer-6c9f7d5b84-x2lqp -n tenant-a scoretap.dev/injected=true --overwrite";
    check("unlabelled-pod", unlabelled, "by which the PodMonitor selects", command);
}

#[test]
fn a_target_that_is_down() {
    let logs = "kubectl logs scorer-6c9f7d5b84-x2lqp -n tenant-a -c scoretap-exporter";
    check("down", down, "context deadline exceeded", logs);
    let waiting = |snapshot: &mut Snapshot| {
        down(snapshot);
        snapshot.pod()["status"]["initContainerStatuses"][2]["state"] =
            json!({"waiting": {"reason": "CrashLoopBackOff"}});
    };
    check("waiting", waiting, "does not run (CrashLoopBackOff)", DESCRIBE);
    let unknown = |snapshot: &mut Snapshot| {
        snapshot.targets["data"]["activeTargets"] = json!([]);
        snapshot.up["data"]["result"] = json!([]);
    };
    let operator = "kubectl logs -n monitoring -l app.kubernetes.io/component=prometheus-operator --tail=50";
    check("no-target", unknown, "does not know of it", operator);
}

const DESCRIBE: &str = "kubectl describe pod scorer-6c9f7d5b84-x2lqp -n tenant-a";

#[test]
fn an_image_of_the_sidecars_that_cannot_be_pulled() {
    for (phase, container) in [("Pending", 0), ("Running", 2)] {
        let change = |snapshot: &mut Snapshot| {
            down(snapshot);
            let status = &mut snapshot.pod()["status"];
            status["phase"] = phase.into();
            let status = &mut status["initContainerStatuses"][container];
            status["image"] = "scoretap-exporter:0.1.0".into();
            status["state"] = json!({"waiting": {"reason": "ImagePullBackOff"}});
        };
        check("unpulled", change, "the sidecar's image scoretap-exporter:0.1.0 cannot be pulled", DESCRIBE);
    }
}

#[test]
fn metrics_that_are_empty() {
    let nothing = |snapshot: &mut Snapshot| snapshot.up["data"]["result"] = json!([]);
    let raw =
        "kubectl get --raw /api/v1/namespaces/tenant-a/pods/scorer-6c9f7d5b84-x2lqp:15190/proxy/metrics";
    check("nothing", nothing, "no series of Scoretap's", raw);
    check("blind", |snapshot| value(snapshot, "scoretap_up", "0"), "cannot read Envoy", RESTART);
    let logs =
        "kubectl logs scorer-6c9f7d5b84-x2lqp -n tenant-a -c scoretap-envoy | grep 'scoretap configuration'";
    check(
        "config",
        |snapshot| value(snapshot, "scoretap_config_valid", "0"),
        "configuration is not valid",
        logs,
    );
}

#[test]
fn a_group_of_rules_that_is_not_loaded() {
    let change = |snapshot: &mut Snapshot| {
        let groups = snapshot.groups["data"]["groups"].as_array_mut().unwrap();
        groups.retain(|group| group["name"] != "scoretap.alerts.self");
    };
    check(
        "group",
        change,
        "scoretap-scoretap: Prometheus has not loaded its group scoretap.alerts.self",
        INSTALL,
    );
}

#[test]
fn an_alert_without_data() {
    let no_kubernetes = |snapshot: &mut Snapshot| without_metrics(snapshot, "kube_pod_status_ready");
    check(
        "no-kube",
        no_kubernetes,
        "ScoretapPodNotReady: loaded, but without data, as there is no series of kube_pod_status_ready",
        "K8S/install.sh",
    );
    let what = "ScoretapPodHighCPU, ScoretapPodHighMemory: loaded, but without data";
    check("no-cadvisor", |snapshot| without_metrics(snapshot, "container_"), what, "K8S/install.sh");
    let calls = |snapshot: &mut Snapshot| without_metrics(snapshot, "prediction_duration_seconds_bucket");
    check("no-calls", calls, "prediction_duration_seconds_bucket", INSTALL);
}

#[test]
fn commands_name_the_release_that_is_there() {
    let change = |snapshot: &mut Snapshot| {
        snapshot.prometheuses["items"][0]["metadata"]["labels"]["release"] = "mon".into();
        snapshot.rules["items"].as_array_mut().unwrap().remove(0);
    };
    check("release", change, "not in the cluster", "K8S/install.sh --without-prometheus --release mon");
}

#[test]
fn hostile_names_and_values_break_neither_the_shell_nor_the_screen() {
    let hostile = "'; touch /tmp/pwned; $(touch /tmp/pwned) `id`\n\u{1b}[2J\"\\";
    let change = |snapshot: &mut Snapshot| {
        let pod = without_sidecar(snapshot);
        pod["metadata"]["annotations"]["scoretap.dev/inject"] = hostile.into();
        pod["metadata"]["annotations"]["other"] = hostile.into();
    };
    let mut snapshot = Snapshot::sound();
    change(&mut snapshot);
    let ended = snapshot.diagnosis("hostile");
    assert!(!ended.out.contains('\u{1b}'), "{}", ended.out);
    check(
        "hostile-annotation",
        change,
        "scoretap.dev/inject is",
        &patched(r#"{"scoretap.dev/inject":"true"}"#),
    );
    let error = |snapshot: &mut Snapshot| {
        down(snapshot);
        let targets = snapshot.targets["data"]["activeTargets"].as_array_mut().unwrap();
        targets.iter_mut().for_each(|target| target["lastError"] = hostile.into());
    };
    let logs = "kubectl logs scorer-6c9f7d5b84-x2lqp -n tenant-a -c scoretap-exporter";
    check("hostile-error", error, "cannot read the exporter", logs);
    // A cluster allows no such names. If one did, they would be one word of the command still.
    let named = |snapshot: &mut Snapshot| {
        let mut service = snapshot.services["items"][2].clone();
        service["metadata"]["name"] = "a'b $(c)".into();
        service["spec"]["ports"][0]["targetPort"] = json!(8080);
        snapshot.services["items"].as_array_mut().unwrap().push(service);
    };
    let command = r#"kubectl patch service 'a'\''b $(c)' -n tenant-a -p '{"metadata":{"annotations":{"scoretap.dev/inject":"true"}}}'"#;
    check("hostile-name", named, "leads past it", command);
}

/// A pod that is just being made is none without a target.
#[test]
fn a_pod_that_has_just_started_is_given_time() {
    let mut snapshot = Snapshot::sound();
    let mut young = injected(&bare_pod());
    young["metadata"]["name"] = "young".into();
    young["status"]["phase"] = "Pending".into();
    snapshot.pods["items"].as_array_mut().unwrap().push(young);
    assert_eq!(snapshot.findings("young"), []);
}
