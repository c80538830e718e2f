//! Injection, and the reasons why it does not happen.

use std::collections::BTreeMap;

use scoretap_injector::settings::Settings;
use serde_json::{Value, json};

use super::fixture::{
    RESTART, add, annotate, bare_pod, before_injection, first, patched, roll, template_of, without_sidecar,
};
use super::{check, check_sound};
use crate::check::resources;
use crate::check::snapshot::{Kind, Snapshot, Trial};

const DESCRIBE_INJECTOR: &str =
    "kubectl describe pods -n scoretap-system -l app.kubernetes.io/name=scoretap-injector";

#[test]
fn nothing_injects() {
    let change = |snapshot: &mut Snapshot| {
        without_sidecar(snapshot);
        snapshot.lists.remove(&Kind::Webhooks);
        snapshot.lists.remove(&Kind::Prometheuses);
    };
    check("no webhook", change, "nothing-injects", "neither", "scoretap install");
    let unseen = |snapshot: &mut Snapshot| {
        change(snapshot);
        snapshot.unseen.insert(Kind::Webhooks, "forbidden".to_owned());
        snapshot.lists.remove(&Kind::Pods);
        snapshot.unseen.insert(Kind::Prometheuses, "forbidden".to_owned());
    };
    check_sound("what may not be seen is taken to be there", unseen);
}

#[test]
fn webhook_beside_policy() {
    let policy = json!({"kind": "MutatingAdmissionPolicy", "metadata": {"name": "scoretap-pods"}});
    let change = |snapshot: &mut Snapshot| add(snapshot, Kind::Policies, policy);
    check("both", change, "webhook-and-policy", "beside", "scoretap install --set mode=policy");
}

#[test]
fn injector_down() {
    let asleep =
        |snapshot: &mut Snapshot| first(snapshot, Kind::Injectors)["status"] = json!({"replicas": 2});
    check("not ready", asleep, "injector-down", "no pod of the injector", DESCRIBE_INJECTOR);
    let gone = |snapshot: &mut Snapshot| drop(snapshot.lists.remove(&Kind::Injectors));
    check("no Deployment", gone, "injector-down", "no Deployment", "scoretap install");
}

#[test]
fn trial_pod_shows_broken_injection() {
    let trial = |seconds: f64, injected: bool| {
        move |snapshot: &mut Snapshot| {
            let images = BTreeMap::new();
            snapshot.trial = Some(Trial { namespace: "tenant-a".to_owned(), seconds, injected, images });
        }
    };
    let logs = "kubectl logs -n scoretap-system -l app.kubernetes.io/name=scoretap-injector --tail=50";
    check("refused", trial(0.1, false), "injection-fails", "trust its certificate", logs);
    let shows = "kubectl get networkpolicies,endpointslices -n scoretap-system -o wide";
    check("black hole", trial(2.1, false), "injection-fails", "get no answer", shows);
    check_sound("slow, and injected", trial(2.1, true));
    let damaged = |snapshot: &mut Snapshot| {
        trial(0.1, false)(snapshot);
        snapshot.lists.remove(&Kind::Webhooks);
        add(snapshot, Kind::Policies, json!({"metadata": {"name": "scoretap-pods"}}));
    };
    check("policy", damaged, "injection-fails", "damaged", "scoretap install");
}

#[test]
fn certificate_that_ends() {
    let ends = |time: &'static str| {
        move |snapshot: &mut Snapshot| {
            let place = "scoretap-system/secret/scoretap-injector-tls".to_owned();
            snapshot.certificate_ends = vec![(place, time.to_owned())];
        }
    };
    check("soon", ends("2026-12-05T00:00:00Z"), "certificate-ends", "ends at", "scoretap install");
    check("over", ends("2026-11-05T00:00:00Z"), "certificate-ends", "ended at", "scoretap install");
    check_sound("in a year", ends("2027-11-05T00:00:00Z"));
    let managed = json!({"kind": "Certificate", "metadata": {"name": "scoretap-injector", "namespace": "scoretap-system"},
        "status": {"notAfter": "2026-11-29T00:00:00Z"}});
    let command = "kubectl describe certificate scoretap-injector -n scoretap-system";
    let change = |snapshot: &mut Snapshot| add(snapshot, Kind::Certificates, managed);
    check("cert-manager", change, "certificate-ends", "ends at 2026-11-29", command);
}

#[test]
fn install_keeps_the_namespace_of_the_release() {
    let change = |snapshot: &mut Snapshot| {
        first(snapshot, Kind::Webhooks)["metadata"]["annotations"] =
            json!({"meta.helm.sh/release-namespace": "observe"});
        let place = "observe/secret/scoretap-injector-tls".to_owned();
        snapshot.certificate_ends = vec![(place, "2026-12-05T00:00:00Z".to_owned())];
        // Its routes are those of another namespace.
        snapshot.alertmanager = None;
    };
    check("upgrade", change, "certificate-ends", "ends at", "scoretap install -n observe");
    let both = |snapshot: &mut Snapshot| {
        let metadata = json!({"name": "scoretap-pods", "labels": {"app.kubernetes.io/part-of": "scoretap"},
            "annotations": {"meta.helm.sh/release-namespace": "observe"}});
        add(snapshot, Kind::Policies, json!({"metadata": metadata}));
        snapshot.alertmanager = None;
    };
    let command = "scoretap install -n observe --set mode=policy";
    check("with flags", both, "webhook-and-policy", "beside the admission policy", command);
}

#[test]
fn annotation_on_the_deployment() {
    let change = |snapshot: &mut Snapshot| {
        template_of(snapshot)["metadata"]["annotations"] = json!({});
        without_sidecar(snapshot);
        first(snapshot, Kind::Workloads)["metadata"]["annotations"] = json!({"scoretap.dev/inject": "true"});
    };
    let command = patched(r#"{"scoretap.dev/inject":"true"}"#);
    check("misplaced", change, "annotation-on-workload", "nothing reads it", &command);
}

#[test]
fn namespace_without_label() {
    let change = |snapshot: &mut Snapshot| {
        without_sidecar(snapshot);
        first(snapshot, Kind::Namespaces)["metadata"]["labels"] = json!({});
    };
    let command = "kubectl label namespace tenant-a scoretap.dev/injection=enabled --overwrite";
    check("asked", change, "namespace-not-labelled", "tenant-a/deployment/scorer", command);
    let before = |snapshot: &mut Snapshot| {
        before_injection(snapshot);
        first(snapshot, Kind::Namespaces)["metadata"]["labels"] = json!({});
    };
    check("before", before, "namespace-not-labelled", "no label", command);
}

/// Changes the template. Its pods have no sidecar.
#[track_caller]
fn check_refused(name: &str, change: impl FnOnce(&mut Value), why: &str, annotations: &str) {
    let change = |snapshot: &mut Snapshot| {
        change(template_of(snapshot));
        without_sidecar(snapshot);
        snapshot.lists.remove(&Kind::Services);
    };
    check(name, change, "refused", why, &patched(annotations));
}

#[test]
fn refused_pods_get_the_annotation_that_helps() {
    let set = |name: &'static str, value: &'static str| {
        move |template: &mut Value| template["metadata"]["annotations"][name] = value.into()
    };
    let no = r#"{"scoretap.dev/inject":null}"#;
    let ports = |ports: Value| move |template: &mut Value| template["spec"]["containers"][0]["ports"] = ports;
    let yes = set("scoretap.dev/inject", "yes");
    check_refused("yes", yes, "write \"true\"", r#"{"scoretap.dev/inject":"true"}"#);
    let no_port = r#"{"scoretap.dev/app-port":"8080"}"#;
    check_refused("no port", ports(json!([])), "port is unknown", no_port);
    let two = json!([{"containerPort": 8500, "name": "grpc"}, {"containerPort": 8080, "name": "http"}]);
    check_refused("two ports", ports(two), "several", r#"{"scoretap.dev/app-port":"8500"}"#);
    let wrong = set("scoretap.dev/app-port", "70000");
    check_refused("no such port", wrong, "70000", no_port);
    let config = set("scoretap.dev/config", "{");
    check_refused("config", config, "scoretap.dev/config", r#"{"scoretap.dev/config":null}"#);
    let hook = set("scoretap.dev/pre-stop", "no");
    check_refused("hook", hook, "pre-stop", r#"{"scoretap.dev/pre-stop":null}"#);
    let insight = set("scoretap.dev/insight", "on");
    check_refused("insight", insight, "insight", r#"{"scoretap.dev/insight":null}"#);
    let dialect = set("scoretap.dev/dialect", "mine");
    check_refused("dialect", dialect, "dialect", r#"{"scoretap.dev/dialect":null}"#);
    let host = |template: &mut Value| template["spec"]["hostNetwork"] = true.into();
    check_refused("host network", host, "hostNetwork", no);
}

#[test]
fn ports_for_other_purposes_are_not_proposed() {
    let ports = |ports: Value| move |template: &mut Value| template["spec"]["containers"][0]["ports"] = ports;
    let many = json!([{"containerPort": 9090, "name": "metrics"}, {"containerPort": 8125, "protocol": "UDP"},
        {"containerPort": 8080, "name": "http"}, {"containerPort": 8500, "name": "grpc"}]);
    check_refused("several", ports(many), "several", r#"{"scoretap.dev/app-port":"8080"}"#);
    let proxied = |template: &mut Value| {
        let app = json!({"name": "scorer", "ports": []});
        let proxy = json!({"name": "istio-proxy", "ports": [{"containerPort": 15021}]});
        template["spec"]["containers"] = json!([proxy, app]);
    };
    check_refused("proxy", proxied, "port is unknown", r#"{"scoretap.dev/app-port":"8080"}"#);
}

#[test]
fn app_whose_port_others_reach_has_to_move() {
    let refused = |change: fn(&mut Value)| {
        move |snapshot: &mut Snapshot| {
            change(template_of(snapshot));
            without_sidecar(snapshot);
            snapshot.lists.remove(&Kind::Services);
        }
    };
    let describe = "kubectl describe deployment scorer -n tenant-a";
    let host = |template: &mut Value| {
        let ports = json!([{"containerPort": 8080, "hostPort": 8080, "name": "http"},
            {"containerPort": 9090, "name": "metrics"}]);
        template["spec"]["containers"][0]["ports"] = ports;
    };
    check("hostPort", refused(host), "refused", "hostPort", describe);
    let shared = |template: &mut Value| {
        let second = json!({"name": "second", "ports": [{"containerPort": 9000, "name": "http"}]});
        template["spec"]["containers"].as_array_mut().expect("a list").push(second);
        template["metadata"]["annotations"]["scoretap.dev/app-port"] = "8080".into();
    };
    check("shared name", refused(shared), "refused", "another container", describe);
    let known = |template: &mut Value| {
        template["spec"]["containers"][0]["command"] = json!(["vllm", "serve", "m", "--port", "8080"]);
        template["spec"]["containers"][0]["ports"][0]["hostPort"] = 8080.into();
    };
    let command = patched(r#"{"scoretap.dev/move-app":"arg --port"}"#);
    check("vLLM", refused(known), "refused", "hostPort", &command);
}

#[test]
fn called_port_is_proposed_first() {
    let change = |snapshot: &mut Snapshot| {
        let ports = json!([{"containerPort": 8500, "name": "grpc"}, {"containerPort": 8080, "name": "http"}]);
        template_of(snapshot)["spec"]["containers"][0]["ports"] = ports;
        without_sidecar(snapshot);
    };
    check("Service", change, "refused", "several", &patched(r#"{"scoretap.dev/app-port":"8080"}"#));
}

#[test]
fn serverless_pods_are_left_alone() {
    let change = |snapshot: &mut Snapshot| {
        let containers = template_of(snapshot)["spec"]["containers"].as_array_mut().expect("a list");
        containers.push(json!({"name": "queue-proxy", "ports": [{"containerPort": 8012, "name": "http1"}]}));
        without_sidecar(snapshot);
        snapshot.lists.remove(&Kind::Services);
    };
    check("Knative", change, "serverless", "queue-proxy", &patched(r#"{"scoretap.dev/inject":null}"#));
}

#[test]
fn pods_older_than_their_annotation() {
    check("one", without_sidecar, "pod-without-sidecar", "older than its annotation", RESTART);
    let two = |snapshot: &mut Snapshot| {
        without_sidecar(snapshot);
        let mut second = bare_pod(snapshot);
        second["metadata"]["name"] = "scorer-6c9f7d5b84-zzzzz".into();
        add(snapshot, Kind::Pods, second);
    };
    check("two are one finding", two, "pod-without-sidecar", "x2lqp", RESTART);
    check_sound("before anybody asked", before_injection);
}

#[test]
fn sidecar_older_than_the_installed_one() {
    let change = |snapshot: &mut Snapshot| {
        let trial = snapshot.trial.as_mut().expect("a trial");
        trial.images.insert("scoretap-exporter".to_owned(), "scoretap-exporter:0.2.0".to_owned());
    };
    check("upgraded", change, "sidecar-outdated", "other images", RESTART);
}

#[test]
fn bare_pods_are_recreated_by_their_owner() {
    let owned = |owner: Value| {
        move |snapshot: &mut Snapshot| {
            snapshot.lists.remove(&Kind::Workloads);
            snapshot.prometheus.targets = Some(Vec::new());
            let pod = first(snapshot, Kind::Pods);
            let bare = json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "tenant-a", "labels": {"app": "scorer"},
                "annotations": {"scoretap.dev/inject": "true"}, "ownerReferences": owner},
                "spec": {"containers": [{"name": "a", "ports": [{"name": "http", "containerPort": 8080}]}]},
                "status": {"phase": "Running"}});
            *pod = bare;
        }
    };
    let job = json!([{"controller": true, "kind": "Job", "name": "x"}]);
    let id = "pod-without-sidecar";
    check("of a Job", owned(job), id, "without", "kubectl delete pod p -n tenant-a");
    let alone = "kubectl get pod p -n tenant-a -o yaml | kubectl replace --force -f -";
    check("of nobody", owned(json!([])), id, "without", alone);
}

fn failed(message: &str) -> impl FnOnce(&mut Snapshot) + use<> {
    let event = json!({"kind": "Event", "reason": "FailedCreate", "message": message, "metadata": {"namespace": "tenant-a"},
        "involvedObject": {"kind": "ReplicaSet", "name": "scorer-6c9f7d5b84", "namespace": "tenant-a", "uid": "1"}});
    let set = json!({"kind": "ReplicaSet", "metadata": {"name": "scorer-6c9f7d5b84", "namespace": "tenant-a",
        "ownerReferences": [{"controller": true, "kind": "Deployment", "name": "scorer"}]},
        "spec": {"replicas": 2}, "status": {"replicas": 1}});
    |snapshot: &mut Snapshot| {
        add(snapshot, Kind::Events, event.clone());
        add(snapshot, Kind::Events, event);
        add(snapshot, Kind::ReplicaSets, set);
    }
}

#[test]
fn failed_create_events_are_reported_once() {
    let describe = "kubectl describe deployment scorer -n tenant-a";
    check("two events", failed("pods is forbidden"), "failed-create", "pods is forbidden", describe);
    let over = |snapshot: &mut Snapshot| {
        failed("pods is forbidden")(snapshot);
        first(snapshot, Kind::ReplicaSets)["status"]["replicas"] = 2.into();
    };
    check_sound("the pods are there by now", over);
    let others = |snapshot: &mut Snapshot| {
        failed("pods is forbidden")(snapshot);
        template_of(snapshot)["metadata"]["annotations"] = json!({});
        without_sidecar(snapshot);
    };
    check_sound("nobody asks for the sidecar", others);
}

#[test]
fn image_that_cannot_be_pulled() {
    let change = |snapshot: &mut Snapshot| {
        let pod = first(snapshot, Kind::Pods);
        pod["status"]["phase"] = "Pending".into();
        pod["status"]["initContainerStatuses"][0] = json!({"name": "scoretap-setup", "image": "x/y:1", "state": {"waiting": {"reason": "ImagePullBackOff"}}});
    };
    let command = "kubectl describe pod scorer-6c9f7d5b84-x2lqp -n tenant-a";
    check("setup", change, "image-not-pulled", "x/y:1 cannot be pulled", command);
}

#[test]
fn sidecar_that_crashes() {
    let state = |status: Value| {
        move |snapshot: &mut Snapshot| {
            let envoy = &mut first(snapshot, Kind::Pods)["status"]["initContainerStatuses"][1];
            envoy.as_object_mut().expect("a status").extend(status.as_object().cloned().unwrap_or_default());
        }
    };
    let (id, logs) =
        ("sidecar-crashes", "kubectl logs scorer-6c9f7d5b84-x2lqp -n tenant-a -c scoretap-envoy --previous");
    let crashed = state(json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}}));
    check("crash", crashed, id, "crashes again and again", logs);
    let killed = state(json!({"lastState": {"terminated": {"reason": "OOMKilled"}}}));
    check(
        "memory",
        killed,
        id,
        "killed for its memory",
        &patched(r#"{"scoretap.dev/memory-limit":"512Mi"}"#),
    );
    check_sound("ended once", state(json!({"lastState": {"terminated": {"reason": "Error"}}})));
}

#[test]
fn moved_app_that_does_not_listen() {
    let change = |snapshot: &mut Snapshot| {
        roll(snapshot, |template| {
            template["metadata"]["annotations"]["scoretap.dev/move-app"] = "env PORT".into();
        });
        first(snapshot, Kind::Pods)["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    };
    let command = patched(r#"{"scoretap.dev/move-app":null}"#);
    check("not ready", change, "moved-app-silent", "listen on its old port", &command);
    let young = |snapshot: &mut Snapshot| {
        change(snapshot);
        first(snapshot, Kind::Pods)["status"]["startTime"] = "2026-11-28T11:59:00Z".into();
    };
    check_sound("just started", young);
}

fn limited(limit: Value) -> impl FnOnce(&mut Snapshot) {
    let range = json!({"kind": "LimitRange", "metadata": {"name": "limits", "namespace": "tenant-a"}, "spec": {"limits": [limit]}});
    |snapshot: &mut Snapshot| {
        before_injection(snapshot);
        add(snapshot, Kind::LimitRanges, range);
    }
}

#[test]
fn limit_range_conflicts_name_the_annotation() {
    let id = "limit-range";
    let limit = json!({"type": "Container", "max": {"memory": "200Mi"}});
    let command = patched(r#"{"scoretap.dev/memory-limit":"200Mi"}"#);
    check("max", limited(limit), id, "at most 200Mi", &command);
    let limit = json!({"type": "Container", "min": {"cpu": "100m"}});
    let command = patched(r#"{"scoretap.dev/cpu-request":"100m"}"#);
    check("min", limited(limit), id, "at least 100m", &command);
    let generous = json!({"type": "Container", "max": {"cpu": "4", "memory": "4Gi"}});
    check_sound("room enough", limited(generous));
}

#[test]
fn installed_resources_decide_the_conflicts() {
    let larger = |snapshot: &mut Snapshot| {
        let mut pod = first(snapshot, Kind::Pods).clone();
        let containers = pod["spec"]["initContainers"].as_array_mut().unwrap();
        let envoy = containers.iter_mut().find(|container| container["name"] == "scoretap-envoy").unwrap();
        envoy["resources"]["limits"]["memory"] = "512Mi".into();
        snapshot.settings = resources::settings(&pod);
    };
    let limit = || json!({"type": "Container", "max": {"memory": "400Mi"}});
    check_sound("defaults", limited(limit()));
    let change = |snapshot: &mut Snapshot| {
        larger(snapshot);
        limited(limit())(snapshot);
    };
    let command = patched(r#"{"scoretap.dev/memory-limit":"400Mi"}"#);
    check("larger Envoy", change, "limit-range", "512Mi, at most 400Mi", &command);
    let plain = json!({"spec": {"containers": [{"name": "app"}]}});
    assert_eq!(resources::settings(&plain), Settings::default());
}

fn quota(hard: Value, used: Value) -> impl FnOnce(&mut Snapshot) {
    let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "compute", "namespace": "tenant-a"},
        "status": {"hard": hard, "used": used}});
    |snapshot: &mut Snapshot| {
        before_injection(snapshot);
        add(snapshot, Kind::Quotas, quota);
    }
}

#[test]
fn quota_conflicts_name_what_is_missing() {
    let full = quota(json!({"requests.memory": "1Gi"}), json!({"requests.memory": "1Gi"}));
    let edit = "kubectl edit resourcequota compute -n tenant-a";
    check("full", full, "quota", "1Gi of 1Gi requests.memory are used", edit);
    check_sound("empty", quota(json!({"limits.cpu": "10"}), json!({"limits.cpu": "0"})));
    check_sound("of pods alone", quota(json!({"pods": "1"}), json!({"pods": "1"})));
}

#[test]
fn hostile_values_break_neither_shell_nor_screen() {
    let hostile = "'; touch /tmp/x; $(id) `id`\n\u{1b}[2J";
    let change = |snapshot: &mut Snapshot| {
        annotate(snapshot, "scoretap.dev/inject", hostile);
        annotate(snapshot, "other", hostile);
        without_sidecar(snapshot);
    };
    let command = patched(r#"{"scoretap.dev/inject":"true"}"#);
    check("annotation", change, "refused", "scoretap.dev/inject is", &command);
}
