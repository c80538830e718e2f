//! Three commands to the first number, as a new user runs them: the packaged command, the packaged chart, a cluster
//! with nothing on it.

use scoretap_tests::cluster::{Cluster, Version};
use scoretap_tests::http::Call;
use scoretap_tests::wait::wait_until;
use scoretap_tests::workspace;
use serde_json::Value;

use crate::scoretap::{DEADLINE, prints, run, shell};

const APP: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: scorer}
spec:
  selector: {matchLabels: {app: scorer}}
  template:
    metadata: {labels: {app: scorer}}
    spec:
      containers:
      - name: scorer
        image: app
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: scorer}
spec:
  selector: {app: scorer}
  ports: [{port: 80, targetPort: http}]
";

const CALLS: usize = 20;

/// Prints a command and runs it.
#[track_caller]
fn user(cluster: &Cluster, line: &str) {
    println!("$ {line}");
    shell(cluster, line);
}

#[test]
fn three_commands_lead_to_the_first_number() {
    let cluster = &Cluster::alone("first-number", Version::V1_37);
    cluster.kubectl(&["create", "namespace", "tenant-a"]).unwrap();
    cluster.kubectl_stdin(&["apply", "-n", "tenant-a", "-f", "-"], APP).unwrap();

    println!("$ scoretap install\n{}", prints(cluster, &["install"], 0));
    user(cluster, "kubectl label namespace tenant-a scoretap.dev/injection=enabled");
    let ask = r#"{"spec": {"template": {"metadata": {"annotations": {"scoretap.dev/inject": "true"}}}}}"#;
    user(cluster, &format!("kubectl patch deployment scorer -n tenant-a -p '{ask}'"));
    user(cluster, "kubectl rollout status deployment/scorer -n tenant-a --timeout=180s");
    for _ in 0..CALLS {
        let answer = cluster.call("tenant-a", "scorer", Call::post("/score", "{}")).unwrap();
        assert_eq!(answer.status, 200);
    }
    let shown = prints(cluster, &["top", "-n", "tenant-a", "--once"], 0);
    println!("$ scoretap top -n tenant-a --once\n{shown}");
    assert!(shown.contains("P99"), "{shown}");
    let readme = std::fs::read_to_string(workspace::root().join("README.md")).unwrap();
    // Widths depend on the values.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let shows = |line: &str| readme.lines().any(|known| words(known) == words(line));
    assert!(shown.lines().take(2).all(shows), "the README shows other columns: {shown}");
    measured(cluster);
    empties(cluster);
}

/// Every call is counted exactly once.
fn measured(cluster: &Cluster) {
    let shown = prints(cluster, &["top", "deployment/scorer", "-n", "tenant-a", "-o", "json"], 0);
    let answer: Value = serde_json::from_str(&shown).unwrap();
    let models = answer["models"].as_array().unwrap();
    let calls: f64 = models.iter().filter_map(|model| model["outcomes"]["success"].as_f64()).sum();
    assert_eq!(calls, CALLS as f64, "{answer:#}");
    assert!(models.iter().any(|model| model["seconds"]["p99"].as_f64().is_some()), "{answer:#}");
}

/// Only the tenant's namespace and its pods remain.
fn empties(cluster: &Cluster) {
    println!("$ scoretap uninstall --yes\n{}", prints(cluster, &["uninstall", "--yes"], 0));
    for kind in
        ["mutatingadmissionpolicies", "mutatingwebhookconfigurations", "configmaps,secrets,networkpolicies"]
    {
        let left =
            cluster.kubectl(&["get", kind, "-A", "-l", "app.kubernetes.io/part-of=scoretap", "-o", "name"]);
        assert_eq!(left.unwrap(), "", "{kind}");
    }
    wait_until("the namespace of the installation is gone", DEADLINE, || {
        cluster.kubectl(&["get", "namespace", "scoretap-system"]).is_err()
    });
    let pods = cluster.pods("tenant-a");
    assert!(pods.iter().any(|pod| pod["metadata"]["labels"]["scoretap.dev/injected"] == "true"), "{pods:#?}");
    assert_eq!(
        run(cluster, &["top", "-n", "tenant-a", "--once"]).status.code(),
        Some(0),
        "pods go on measuring"
    );
}
