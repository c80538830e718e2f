//! The tests' own node runs pods by their stored specs.

use std::time::Duration;

use scoretap_tests::cluster::{Cluster, has_users};
use scoretap_tests::http::Call;
use scoretap_tests::wait::wait_until;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(90);

const PODS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: app}
spec:
  selector: {app: app}
  ports: [{port: 80, targetPort: http}]
---
apiVersion: v1
kind: Pod
metadata: {name: app, labels: {app: app}}
spec:
  securityContext:
    runAsUser: 1000
    sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: "80"}]
  initContainers:
  - name: writes
    image: app
    command: [sh, -c, 'echo "$(NAME) of $NAMESPACE" > /shared/who']
    env:
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    volumeMounts: [{name: shared, mountPath: /shared}]
  - name: sidecar
    image: app
    restartPolicy: Always
    args: [--port, "8080"]
    startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 300}
  containers:
  - name: app
    image: app
    command: [sh, -c, 'id -u >> /shared/who; cat /shared/who; exec app --port 81']
    ports: [{name: http, containerPort: 81}]
    readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1}
    volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, emptyDir: {}}]
"#;

#[test]
fn idle_pods_become_ready_and_end() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("harness");
    cluster
        .kubectl(&["create", "deployment", "idle", "--image=idle", "--replicas=2", "-n", &namespace])
        .unwrap();
    cluster.kubectl(&["rollout", "status", "deployment/idle", "--timeout=90s", "-n", &namespace]).unwrap();
    cluster.kubectl(&["delete", "deployment", "idle", "-n", &namespace]).unwrap();
    wait_until("the pods are gone", DEADLINE, || cluster.pods(&namespace).is_empty());
}

#[test]
fn pod_runs_the_processes_of_its_spec() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("harness");
    cluster.kubectl_stdin(&["apply", "-n", &namespace, "-f", "-"], PODS).unwrap();
    cluster
        .kubectl(&["wait", "pod/app", "--for=condition=Ready", "--timeout=90s", "-n", &namespace])
        .unwrap();
    let log = cluster.log(&namespace, "app", "app");
    let user = if has_users() { "1000" } else { "0" };
    assert!(log.starts_with(&format!("app of {namespace}\n{user}\n")), "{log}");
    wait_until("the Service has its backend", DEADLINE, || {
        cluster.backends(&namespace, "app").iter().any(|backend| backend.socket().is_some())
    });
    let answer = cluster.call(&namespace, "app", Call::get("/who")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap()["pod"], "app");
    assert!(cluster.log(&namespace, "app", "app").contains("GET /who"), "{log}");
}

#[test]
fn container_that_crashes_is_restarted_with_backoff() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("harness");
    cluster.kubectl(&["run", "app", "--image=app", "--command", "-n", &namespace, "--", "false"]).unwrap();
    wait_until("it waits in a back-off", DEADLINE, || {
        let pod = &cluster.pods(&namespace)[0];
        let status = &pod["status"]["containerStatuses"][0];
        status["restartCount"].as_u64() > Some(1)
            && status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    });
}
