//! `install.sh`: what it checks first, what it runs, and where the password never is.

use std::fs;

use scoretap_tests::workspace;
use serde_json::Value;

use crate::cluster::{Cluster, Ended};

/// A cluster in which everything may be done and nothing was yet.
fn empty(name: &str) -> Cluster {
    let mut cluster = Cluster::new(name);
    cluster.answers("kubectl version", "");
    cluster.answers("kubectl auth can-i …", "yes\n");
    cluster.answers("helm upgrade --help", "      --reset-then-reuse-values   …\n");
    cluster.answers("helm list …", "");
    cluster.answers(
        "kubectl get crd podmonitors.monitoring.coreos.com prometheusrules.monitoring.coreos.com",
        "",
    );
    cluster.refuses("kubectl get namespace …", "Error from server (NotFound)");
    cluster.refuses("kubectl get secret …", "Error from server (NotFound)");
    let rendered = "metadata:\n  labels:\n    release: kube-prometheus-stack\n  name: scoretap\n  namespace: monitoring\n";
    cluster.answers("kubectl kustomize …", rendered);
    for changes in ["kubectl create …", "kubectl apply …", "helm upgrade --install …"] {
        cluster.answers(changes, "");
    }
    cluster
}

fn changes(ended: &Ended) -> Vec<&str> {
    let changing = ["kubectl create ", "kubectl apply ", "helm upgrade --install "];
    let asked = ended.asked.iter().map(String::as_str);
    asked.filter(|asked| changing.iter().any(|start| asked.starts_with(start))).collect()
}

fn password(ended: &Ended) -> &str {
    let (_, rest) = ended.said.split_once("admin-password: \"").unwrap_or_else(|| panic!("{}", ended.said));
    rest.split_once('"').unwrap().0
}

#[test]
fn everything_is_installed_in_order_and_the_password_is_on_standard_input_alone() {
    let ended = empty("install").run("install.sh", &[]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let values = format!("{}/values", crate::faults::k8s());
    let apply = "kubectl apply --namespace monitoring --filename -";
    let helm = format!(
        "helm upgrade --install kube-prometheus-stack kube-prometheus-stack --repo \
         https://prometheus-community.github.io/helm-charts --version 92.1.0 --namespace monitoring \
         --reset-then-reuse-values --values {values}/kube-prometheus-stack.yaml --values {values}/new-release.yaml --wait \
         --timeout 10m"
    );
    let expected = [
        "kubectl create namespace monitoring",
        "kubectl create --namespace monitoring --filename -",
        &helm,
        apply,
        apply,
        apply,
    ];
    assert_eq!(changes(&ended), expected);
    assert!(ended.out.ends_with("\n\nNext: k8s/scoretap.sh deploy puts the injector there, k8s/scoretap.sh doctor looks whether all is well.\n"));
    let password = password(&ended);
    assert!(password.len() == 32 && password.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{password}");
    let everything = format!("{}{}{}", ended.out, ended.err, ended.asked.join("\n"));
    assert!(!everything.contains(password), "{everything}");
    let again = empty("install-elsewhere").run("install.sh", &[]);
    assert_ne!(self::password(&again), password);
}

#[test]
fn a_second_time_the_password_and_the_namespace_stay() {
    let mut cluster = empty("install-again");
    cluster.instead("kubectl get namespace monitoring", 0, "");
    cluster.instead("kubectl get secret scoretap-grafana --namespace monitoring", 0, "");
    let ended = cluster.run("install.sh", &[]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(!changes(&ended).iter().any(|change| change.starts_with("kubectl create")), "{:?}", ended.asked);
    assert!(ended.out.contains("is there already, and stays"), "{}", ended.out);
}

/// Helm lets a file of values win over what was set before: with a smaller size Prometheus would delete its history.
#[test]
fn what_was_set_of_a_release_that_is_there_stays() {
    let mut cluster = empty("install-upgrade");
    cluster.instead("helm list --namespace watch --filter ^mon$ --short", 0, "mon\n");
    for (release, begins) in [("mon", false), ("monitor", true)] {
        let ended = cluster.run("install.sh", &["--release", release, "--namespace", "watch"]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        let helm = changes(&ended).into_iter().find(|change| change.starts_with("helm ")).unwrap();
        assert_eq!(helm.contains("new-release.yaml"), begins, "{helm}");
        assert!(helm.contains("/kube-prometheus-stack.yaml "), "{helm}");
    }
    let values = fs::read_to_string(workspace::root().join("k8s/values/kube-prometheus-stack.yaml")).unwrap();
    let values: Value = serde_norway::from_str(&values).unwrap();
    for field in ["retention", "retentionSize", "resources", "storageSpec"] {
        assert!(values["prometheus"]["prometheusSpec"].get(field).is_none(), "{field}");
    }
}

#[test]
fn release_namespace_and_storage_reach_helm_and_our_own_objects() {
    let ended = empty("install-named")
        .run("install.sh", &["--release", "mon", "--namespace", "watch", "--storage", "50Gi"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let helm = ended.asked.iter().find(|asked| asked.starts_with("helm upgrade --install mon ")).unwrap();
    for argument in [
        "--namespace watch",
        "--set prometheus.prometheusSpec.storageSpec.volumeClaimTemplate.spec.accessModes[0]=ReadWriteOnce",
        "--set prometheus.prometheusSpec.storageSpec.volumeClaimTemplate.spec.resources.requests.storage=50Gi",
        "--set prometheus.prometheusSpec.retentionSize=46080MiB",
    ] {
        assert!(helm.contains(argument), "{argument}: {helm}");
    }
    assert!(
        ended.said.contains("    release: mon\n") && ended.said.contains("  namespace: watch\n"),
        "{}",
        ended.said
    );
    assert!(!ended.said.contains("kube-prometheus-stack"), "{}", ended.said);
}

#[test]
fn without_prometheus_helm_is_not_needed_and_no_password_is_made() {
    let ended = empty("install-ours").run("install.sh", &["--without-prometheus"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(changes(&ended), ["kubectl apply --namespace monitoring --filename -"; 3]);
    assert!(!ended.asked.iter().any(|asked| asked.starts_with("helm")), "{:?}", ended.asked);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_would_be_done() {
    let ended = empty("install-dry").run("install.sh", &["--dry-run"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(changes(&ended), [""; 0]);
    assert_eq!(ended.out.matches("would run: ").count(), 6, "{}", ended.out);
}

#[test]
fn what_is_missing_is_said_before_anything_is_changed() {
    let mut unreachable = empty("install-unreachable");
    unreachable.instead("kubectl version", 1, "refused");
    let mut no_right = empty("install-no-right");
    no_right.instead("kubectl auth can-i create secrets --namespace monitoring", 1, "no\n");
    let mut old = empty("install-old-helm");
    old.instead("helm upgrade --help", 0, "--reuse-values\n");
    let mut no_releases = empty("install-no-releases");
    no_releases.instead("helm list …", 1, "Error: secrets is forbidden");
    for (cluster, words) in [
        (no_releases, "helm cannot say whether the release is there"),
        (unreachable, "no cluster can be reached"),
        (no_right, "you may not create secrets --namespace monitoring; ask"),
        (old, "install 3.14 or later"),
    ] {
        let ended = cluster.run("install.sh", &[]);
        assert_eq!(ended.code, 1, "{words}");
        assert!(ended.err.contains(words), "{}", ended.err);
        assert_eq!(changes(&ended), [""; 0], "{words}");
    }
    let mut no_operator = empty("install-no-operator");
    no_operator.instead("kubectl get crd …", 1, "Error from server (NotFound)");
    let ended = no_operator.run("install.sh", &["--without-prometheus"]);
    assert!(ended.code == 1 && ended.err.contains("knows no PodMonitor"), "{}", ended.err);
}

#[test]
fn what_is_no_flag_name_or_size_gives_the_usage_and_asks_nothing() {
    for arguments in [
        &["--force"][..],
        &["install"],
        &["--release"],
        &["--release", "a b"],
        &["--namespace", "x;id"],
        &["--namespace", ""],
        &["--storage", "50"],
        &["--storage", "0Gi"],
        &["--storage", "5Gi,x=y"],
    ] {
        let ended = empty("install-misuse").run("install.sh", arguments);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ended.err.contains("Usage: k8s/install.sh"), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.asked, [""; 0], "{arguments:?}");
    }
    let help = empty("install-help").run("install.sh", &["--help"]);
    assert!(
        help.code == 0 && help.asked.is_empty() && help.out.starts_with("Usage: k8s/install.sh"),
        "{}",
        help.err
    );
}
