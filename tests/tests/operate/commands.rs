//! `scoretap.sh` but for its doctor: what it asks the cluster for, and when it does nothing.

use serde_json::json;

use crate::cluster::Cluster;
use crate::doctor::Snapshot;

const POLICIES: &str = "kubectl get mutatingadmissionpolicies.admissionregistration.k8s.io";
const CERT_MANAGER: &str = "kubectl get crd certificates.cert-manager.io";

pub(crate) fn k8s(path: &str) -> String {
    format!("{}/{path}", crate::faults::k8s())
}

pub(crate) fn of_version(name: &str, minor: &str) -> Cluster {
    let mut cluster = Cluster::new(name);
    cluster.instead(
        "kubectl get --raw /version",
        0,
        &format!("{{\n  \"minor\": \"{minor}\",\n  \"platform\": \"x\"\n}}"),
    );
    for way in ["policy", "webhook"] {
        cluster.answers(&format!("kubectl apply -k {}", k8s(way)), "");
        cluster.answers(&format!("kubectl kustomize {}", k8s(way)), "");
    }
    cluster.answers(
        "kubectl rollout status deployment/scoretap-injector --namespace scoretap-system --timeout 3m",
        "",
    );
    cluster.answers(POLICIES, "");
    cluster.answers(CERT_MANAGER, "");
    cluster
}

fn applied(cluster: &Cluster, arguments: &[&str]) -> Vec<String> {
    let asked = cluster.run("scoretap.sh", arguments).asked.into_iter();
    asked
        .filter(|asked| {
            !["get", "kustomize"].iter().any(|verb| asked.starts_with(&format!("kubectl {verb}")))
        })
        .collect()
}

#[test]
fn deploy_takes_the_way_that_the_clusters_version_allows() {
    let policy = format!("kubectl apply -k {}", k8s("policy"));
    for minor in ["36", "36+", "37"] {
        assert_eq!(
            applied(&of_version("deploy-new", minor), &["deploy"]),
            std::slice::from_ref(&policy),
            "{minor}"
        );
    }
    let webhook = format!("kubectl apply -k {}", k8s("webhook"));
    for minor in ["29", "35+"] {
        let applied = applied(&of_version("deploy-old", minor), &["deploy"]);
        assert_eq!(applied[0], webhook, "{minor}");
        assert!(applied[1].starts_with("kubectl rollout status"), "{minor}");
    }
    assert_eq!(applied(&of_version("deploy-choice", "37"), &["deploy", "webhook"])[0], webhook);
}

#[test]
fn deploy_changes_nothing_where_something_is_missing() {
    let too_old = of_version("deploy-too-old", "28");
    let mut no_cert_manager = of_version("deploy-bare", "31");
    no_cert_manager.instead(CERT_MANAGER, 1, "Error from server (NotFound)");
    let mut no_policies = of_version("deploy-off", "36");
    no_policies.instead(POLICIES, 1, "error: the server doesn't have a resource type");
    for (cluster, words) in [
        (too_old, "SIDECAR to ordinary"),
        (no_cert_manager, "needs cert-manager"),
        (no_policies, "k8s/scoretap.sh deploy webhook"),
    ] {
        let ended = cluster.run("scoretap.sh", &["deploy"]);
        assert_eq!(ended.code, 1, "{words}");
        assert!(ended.err.contains(words), "{}", ended.err);
        assert!(!ended.asked.iter().any(|asked| asked.contains("apply")), "{words}");
    }
}

/// Each image that is named without a registry, and none that has one.
#[test]
fn deploy_says_which_images_no_node_would_find() {
    let rendered = "env:\n- name: ENVOY_IMAGE\n  value: registry:5000/envoy:1\n- name: EXPORTER_IMAGE\n  value: \
                    team/exporter:1\nimage: localhost/scoretap-injector:1\n---\nimage: \"bare\"\n";
    let mut cluster = of_version("deploy-images", "31");
    cluster.instead(&format!("kubectl kustomize {}", k8s("webhook")), 0, rendered);
    let ended = cluster.run("scoretap.sh", &["deploy"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("without a registry:\nbare\nteam/exporter:1\nBuild them"), "{}", ended.err);
    assert!(ended.err.contains("k8s/operating.md says, step 1"), "{}", ended.err);
    assert!(!ended.asked.iter().any(|asked| asked.contains("apply")), "{:?}", ended.asked);
}

#[test]
fn what_is_no_command_or_flag_gives_the_usage_and_asks_nothing() {
    for arguments in [
        &[][..],
        &["diagnose"],
        &["--verbose"],
        &["doctor", "now"],
        &["doctor", "--verbose"],
        &["status", "--namespace"],
        &["logs", "a", "b", "c"],
        &["logs", "tenant-a", "app"],
        &["deploy", "magic"],
        &["deploy", ""],
        &["cleanup", "--force"],
        &["port-forward", "grafana", "loki"],
    ] {
        let ended = Cluster::new("misuse").run("scoretap.sh", arguments);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ended.err.contains("Usage: k8s/scoretap.sh"), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.asked, [""; 0], "{arguments:?}");
    }
}

#[test]
fn status_shows_what_is_there_and_what_is_not() {
    let mut cluster = Cluster::new("status");
    cluster.answers(
        "kubectl get pods --all-namespaces --selector scoretap.dev/injected=true",
        "NAMESPACE NAME\ntenant-a scorer-1",
    );
    cluster.refuses(
        "kubectl get prometheuses --all-namespaces",
        "error: the server doesn't have a resource type",
    );
    cluster.answers("kubectl get …", "");
    let ended = cluster.run("scoretap.sh", &["status"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        ended.out.contains("Pods with the sidecar\n  NAMESPACE NAME\n  tenant-a scorer-1\n"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("Prometheus\n  error: the server doesn't have"), "{}", ended.out);
}

#[test]
fn logs_are_the_injectors_or_those_of_a_namespaces_sidecars() {
    let mut cluster = Cluster::new("logs");
    let injector = "kubectl logs --namespace scoretap-system --selector app.kubernetes.io/name=scoretap-injector --prefix --tail 100";
    let sidecars = |part: &str| {
        format!(
            "kubectl logs --namespace tenant-a --selector scoretap.dev/injected=true --container scoretap-{part} --prefix --tail 100"
        )
    };
    cluster.answers("kubectl logs …", "a line\n");
    for (arguments, asked) in [
        (&["logs"][..], injector.to_owned()),
        (&["logs", "tenant-a"], sidecars("exporter")),
        (&["logs", "tenant-a", "envoy"], sidecars("envoy")),
    ] {
        let ended = cluster.run("scoretap.sh", arguments);
        assert_eq!(
            (ended.code, ended.out.as_str(), &ended.asked[1]),
            (0, "a line\n", &asked),
            "{arguments:?}"
        );
    }
}

const GRAFANA: &str =
    "kubectl get services --namespace watch --selector app.kubernetes.io/name=grafana --output name";

#[test]
fn urls_and_port_forward_find_the_services_and_print_no_password() {
    let mut cluster = Cluster::new("urls");
    cluster.answers(GRAFANA, "service/mon-grafana\n");
    cluster.answers("kubectl get ingresses --namespace watch …", "from outside: grafana.example.com\n");
    cluster.answers("kubectl port-forward …", "");
    let ended = cluster.run("scoretap.sh", &["urls", "--namespace", "watch"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    for words in [
        "http://mon-grafana.watch.svc:80",
        "http://prometheus-operated.watch.svc:9090",
        "grafana.example.com",
    ] {
        assert!(ended.out.contains(words), "{words}: {}", ended.out);
    }
    assert!(
        ended.out.contains("\n\nGrafana's user is admin, and this prints the password:\nkubectl "),
        "{}",
        ended.out
    );
    assert!(!ended.asked.iter().any(|asked| asked.contains("secret")), "{:?}", ended.asked);
    let ended = cluster.run("scoretap.sh", &["--namespace", "watch", "port-forward"]);
    assert_eq!(ended.code, 2, "the command comes first");
    let ended = cluster.run("scoretap.sh", &["port-forward", "--namespace", "watch"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let forward = |service: &str, ports: &str| {
        format!("kubectl port-forward --namespace watch --address 127.0.0.1 {service} {ports}")
    };
    for asked in [
        forward("service/mon-grafana", "3000:80"),
        forward("service/prometheus-operated", "9090:9090"),
        forward("service/alertmanager-operated", "9093:9093"),
    ] {
        assert!(ended.asked.contains(&asked), "{asked}: {:?}", ended.asked);
    }
}

#[test]
fn no_grafana_is_said() {
    let mut cluster = Cluster::new("no-grafana");
    cluster.answers(&GRAFANA.replace("watch", "monitoring"), "");
    let ended = cluster.run("scoretap.sh", &["port-forward", "grafana"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("k8s/install.sh"), "{}", ended.err);
}

#[test]
fn check_targets_prints_each_and_tells_whether_all_are_up() {
    let mut snapshot = Snapshot::sound();
    let ended = snapshot.cluster("targets").run("scoretap.sh", &["check-targets"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.starts_with("up  tenant-a/scorer-6c9f7d5b84-x2lqp  "), "{}", ended.out);
    assert_eq!(ended.out.lines().count(), 1, "other targets are none of ours: {}", ended.out);
    for target in snapshot.targets["data"]["activeTargets"].as_array_mut().unwrap() {
        target["health"] = "down".into();
        target["lastError"] = "connection\nrefused".into();
    }
    let ended = snapshot.cluster("targets-down").run("scoretap.sh", &["check-targets"]);
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("connection refused"), "{}", ended.out);
    snapshot.targets["data"]["activeTargets"] = json!([]);
    assert_eq!(snapshot.cluster("targets-none").run("scoretap.sh", &["check-targets"]).code, 1);
}

/// A cluster with these of ours, by kind. `led` are the ports that lead to the sidecar, as kubectl's template prints
/// them.
fn installed(name: &str, led: &str) -> Cluster {
    let mut cluster = Cluster::new(name);
    cluster.answers("kubectl get services --all-namespaces --output go-template=…", led);
    let ours = |kind: &str| {
        format!("kubectl get {kind} --all-namespaces --selector app.kubernetes.io/part-of=scoretap")
    };
    for (kind, found) in [
        ("mutatingwebhookconfigurations", "mutatingwebhookconfigurations - scoretap-injector\n"),
        ("podmonitors.monitoring.coreos.com", "podmonitors.monitoring.coreos.com monitoring scoretap\n"),
        ("configmaps", "configmaps monitoring scoretap-dashboard-scoretap\n"),
        ("namespaces", "namespaces - scoretap-system\n"),
    ] {
        cluster.answers(&format!("{} --output …", ours(kind)), found);
    }
    cluster.refuses(
        &format!("{}…", ours("wasmplugins.extensions.istio.io")),
        "error: the server doesn't have a resource type",
    );
    cluster.answers("kubectl get …", "");
    cluster.answers("kubectl delete …", "");
    cluster
}

fn deleted(asked: &[String]) -> Vec<&String> {
    asked.iter().filter(|asked| asked.starts_with("kubectl delete")).collect()
}

#[test]
fn cleanup_deletes_what_has_our_label_and_first_what_injects() {
    let ended = installed("cleanup", "").run("scoretap.sh", &["cleanup", "--yes"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(
        deleted(&ended.asked),
        [
            "kubectl delete mutatingwebhookconfigurations scoretap-injector",
            "kubectl delete podmonitors.monitoring.coreos.com scoretap --namespace monitoring",
            "kubectl delete configmaps scoretap-dashboard-scoretap --namespace monitoring",
            "kubectl delete namespaces scoretap-system",
        ]
    );
}

#[test]
fn cleanup_that_nobody_can_confirm_deletes_nothing() {
    let ended = installed("cleanup-unasked", "").run("scoretap.sh", &["cleanup"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("cleanup --yes") && ended.out.contains("scoretap-system"),
        "{}{}",
        ended.out,
        ended.err
    );
    assert_eq!(deleted(&ended.asked), [""; 0]);
}

#[test]
fn cleanup_asks_whoever_sits_at_a_terminal() {
    for (typed, code, count) in [("yes\n", 0, 4), ("y\n", 1, 0), ("\n", 1, 0)] {
        let ended = installed("cleanup-asked", "").run_at_a_terminal("scoretap.sh", "cleanup", typed);
        assert!(ended.out.contains("Delete all of this? Write yes:"), "{typed:?}: {}", ended.out);
        assert_eq!((ended.code, deleted(&ended.asked).len()), (code, count), "{typed:?}: {}", ended.out);
    }
}

#[test]
fn cleanup_that_may_not_see_everything_deletes_nothing() {
    let mut cluster = installed("cleanup-forbidden", "");
    cluster.instead("kubectl get configmaps …", 1, "Error from server (Forbidden): configmaps is forbidden");
    let ended = cluster.run("scoretap.sh", &["cleanup", "--yes"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("configmaps is forbidden"), "{}", ended.err);
    assert_eq!(deleted(&ended.asked), [""; 0]);
}

const INJECTOR: &str = "annotate service scorer -n TENANT scoretap.dev/inject-";

/// The commands that lead a Service's port back where the injector will not.
fn by_hand(position: usize, port: &str) -> Vec<String> {
    let step = format!(r#"{{"op":"replace","path":"/spec/ports/{position}/targetPort","value":{port}}}"#);
    vec![
        format!("{INJECTOR} scoretap.dev/target-port-"),
        format!("patch service scorer -n TENANT --type=json -p '[{step}]'"),
    ]
}

#[test]
fn cleanup_deletes_nothing_while_a_service_leads_to_the_sidecar() {
    for (name, led, commands) in [
        // The injector does it.
        ("asked", "tenant-a scorer 0 \"8080\"", vec![INJECTOR.to_owned()]),
        // Led by hand, or by a text that is no port: nobody knows where it led.
        ("by-hand", "tenant-a scorer 1 \"\"", by_hand(1, "APP_PORT")),
        ("no-port", "tenant-a scorer 0 \"8080'; evil\\nb\"", by_hand(0, "APP_PORT")),
        // In a namespace that is labelled no longer the injector hears of nothing.
        ("unlabelled", "tenant-b scorer 0 \"8080\"", by_hand(0, "8080")),
        ("unlabelled-name", "tenant-b scorer 0 \"http\"", by_hand(0, "\"http\"")),
    ] {
        let mut cluster = installed(&format!("cleanup-led-{name}"), &format!("{led}\n"));
        let labelled = "kubectl get namespaces --selector scoretap.dev/injection=enabled …";
        cluster.instead(labelled, 0, "tenant-a tenant-c");
        let ended = cluster.run("scoretap.sh", &["cleanup", "--yes"]);
        assert_eq!(ended.code, 1, "{name}");
        let printed: Vec<_> = ended.err.lines().filter_map(|line| line.strip_prefix("  kubectl ")).collect();
        let tenant = led.split(' ').next().unwrap();
        let commands: Vec<_> = commands.iter().map(|command| command.replace("TENANT", tenant)).collect();
        assert_eq!(printed, commands, "{name}: {}", ended.err);
        assert_eq!(deleted(&ended.asked), [""; 0]);
    }
}

#[test]
fn without_an_injector_a_service_is_led_back_by_hand() {
    let mut cluster = installed("cleanup-led-late", "tenant-a scorer 0 \"8080\"\n");
    cluster.instead("kubectl get namespaces --selector scoretap.dev/injection=enabled …", 0, "tenant-a");
    for injector in
        ["mutatingwebhookconfigurations scoretap-injector", "mutatingadmissionpolicies scoretap-services"]
    {
        cluster.instead(&format!("kubectl get {injector}"), 1, "Error from server (NotFound)");
    }
    let ended = cluster.run("scoretap.sh", &["cleanup", "--yes"]);
    assert!(ended.err.contains("kubectl patch service scorer -n tenant-a"), "{}", ended.err);
}
