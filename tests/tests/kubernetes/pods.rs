//! What the webhook makes of pods.

use scoretap_tests::http;
use scoretap_tests::wait::{STARTUP, wait_until};
use serde_json::{Value, json};

use crate::corpus::{Expected, pods};
use crate::restricted::violations;
use crate::schema;
use crate::webhook::{Identity, WEBHOOK, Webhook};

#[test]
fn every_pod_becomes_what_is_expected() {
    for case in pods() {
        let answer = WEBHOOK.review(&case.pod);
        match case.expected {
            Expected::Injected { port, model } => {
                assert_eq!(answer.warnings, [""; 0], "{}", case.name);
                assert_eq!(variable(&answer.patched, 0, "SCORETAP_APP_PORT"), port, "{}", case.name);
                assert_eq!(variable(&answer.patched, 2, "MODEL_NAME"), model, "{}", case.name);
            }
            Expected::Unchanged => {
                assert_eq!((answer.patch, answer.warnings), (None, vec![]), "{}", case.name);
            }
            Expected::Refused(words) => {
                assert_eq!(answer.patch, None, "{}", case.name);
                let said = answer.warnings.iter().any(|warning| warning.contains(words));
                assert!(said, "{}: {:?}", case.name, answer.warnings);
            }
        }
    }
}

/// The value that the container gets, as the kubelet would hand it over.
fn variable(pod: &Value, sidecar: usize, name: &str) -> String {
    let containers = pod["spec"]["initContainers"].as_array().unwrap();
    let container = &containers[containers.len() - 3 + sidecar];
    let entry = container["env"].as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap();
    entry["value"].as_str().unwrap().replace("$$", "$")
}

#[test]
fn each_fault_is_a_warning_that_a_client_shows_whole() {
    for case in pods() {
        for warning in WEBHOOK.review(&case.pod).warnings {
            assert!(warning.chars().count() <= 256, "{}: {warning}", case.name);
            assert!(!warning.contains('\n'), "{}: {warning}", case.name);
            assert!(!warning.contains("StringValue"), "{}: there is none in an annotation", case.name);
        }
    }
    let two = pods().into_iter().find(|case| case.name == "two-faults").unwrap();
    assert_eq!(WEBHOOK.review(&two.pod).warnings.len(), 2, "all faults, not the first");
}

#[test]
fn injected_pods_are_valid_from_1_29_to_1_37() {
    let pods: Vec<_> =
        pods().iter().map(|case| (case.name.to_owned(), WEBHOOK.review(&case.pod).patched)).collect();
    schema::check(&pods, &schema::VERSIONS);
}

#[test]
fn a_restricted_pod_stays_restricted() {
    let mut checked = 0;
    for case in pods().iter().filter(|case| violations(&case.pod).is_empty()) {
        let patched = WEBHOOK.review(&case.pod).patched;
        assert_eq!(violations(&patched), [""; 0], "{}", case.name);
        checked += 1;
    }
    assert!(checked > 20, "only {checked}");
}

#[test]
fn the_sidecar_is_restricted_where_the_pod_is_not() {
    let mut case = pods().remove(0);
    case.pod["spec"].as_object_mut().unwrap().remove("securityContext");
    let of_ours: Vec<_> = violations(&WEBHOOK.review(&case.pod).patched)
        .into_iter()
        .filter(|violation| violation.starts_with("scoretap"))
        .collect();
    assert_eq!(of_ours, [""; 0]);
}

#[test]
fn what_the_pod_had_is_still_there_as_it_was() {
    for case in pods() {
        let patched = WEBHOOK.review(&case.pod).patched;
        assert_eq!(
            without_hooks_of_ours(&patched, &case.pod),
            case.pod["spec"]["containers"],
            "{}",
            case.name
        );
        assert_eq!(patched["metadata"]["annotations"], case.pod["metadata"]["annotations"], "{}", case.name);
        for list in ["volumes", "initContainers"] {
            let before = case.pod["spec"][list].as_array().cloned().unwrap_or_default();
            let after = patched["spec"][list].as_array().cloned().unwrap_or_default();
            assert_eq!(after[..before.len()], before, "{}", case.name);
        }
    }
}

/// The containers as they would be without a hook where there was none.
fn without_hooks_of_ours(patched: &Value, pod: &Value) -> Value {
    let mut containers = patched["spec"]["containers"].clone();
    for (index, container) in containers.as_array_mut().unwrap().iter_mut().enumerate() {
        let before = &pod["spec"]["containers"][index]["lifecycle"];
        if before.get("preStop").is_none() && container.get("lifecycle").is_some() {
            container["lifecycle"].as_object_mut().unwrap().remove("preStop");
        }
        if before.is_null() {
            container.as_object_mut().unwrap().remove("lifecycle");
        }
    }
    containers
}

#[test]
fn an_app_without_a_hook_gets_one_that_sleeps_and_no_other_container_does() {
    let sleep = json!({"preStop": {"sleep": {"seconds": 5}}});
    let with_start = json!({"preStop": sleep["preStop"], "postStart": {"exec": {"command": ["true"]}}});
    let own = json!({"preStop": {"exec": {"command": ["sleep", "3"]}}});
    for (name, expected) in [
        ("bare", vec![&sleep]),
        ("hook-of-its-own", vec![&own]),
        ("another-hook", vec![&with_start]),
        ("no-hook-wanted", vec![&Value::Null]),
        ("hook-wanted", vec![&sleep]),
        ("no-time-for-a-hook", vec![&Value::Null]),
        ("hook-of-the-second", vec![&Value::Null, &sleep]),
        ("behind-istio", vec![&Value::Null, &sleep]),
    ] {
        let case = pods().into_iter().find(|case| case.name == name).unwrap();
        let patched = WEBHOOK.review(&case.pod).patched;
        let containers = patched["spec"]["containers"].as_array().unwrap().iter();
        assert_eq!(
            containers.map(|container| &container["lifecycle"]).collect::<Vec<_>>(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn only_the_sidecar_mounts_the_folder_of_the_admin_socket() {
    for case in pods() {
        let patched = WEBHOOK.review(&case.pod).patched;
        // Who mounts what is not there is refused, and stays as it is.
        if patched == case.pod {
            continue;
        }
        for list in ["containers", "initContainers"] {
            for container in patched["spec"][list].as_array().into_iter().flatten() {
                let mounts = container["volumeMounts"].as_array().into_iter().flatten();
                let ours = container["name"].as_str().unwrap().starts_with("scoretap-");
                assert!(mounts.into_iter().all(|mount| mount["name"] != "scoretap" || ours), "{}", case.name);
            }
        }
    }
}

#[test]
fn a_second_review_of_an_injected_pod_changes_nothing() {
    for case in pods() {
        let patched = WEBHOOK.review(&case.pod).patched;
        let again = WEBHOOK.review_as(&patched, &json!({"dryRun": true}));
        assert_eq!(again.patch, None, "{}", case.name);
    }
}

#[test]
fn the_namespaces_of_the_system_and_of_the_injector_are_left_alone() {
    let bare = pods().remove(0).pod;
    for namespace in ["kube-system", "scoretap-system"] {
        let answer = WEBHOOK.review_as(&bare, &json!({"namespace": namespace}));
        assert_eq!((answer.patch, answer.warnings), (None, vec![]), "{namespace}");
    }
}

#[test]
fn a_workload_is_never_changed_but_whoever_applies_it_hears_what_is_wrong() {
    let template = |annotation: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "scorer"}, "spec": {"template": {
            "metadata": {"annotations": {"scoretap.dev/inject": annotation}},
            "spec": {"containers": [{"name": "app", "image": "x", "ports": [{"containerPort": 8080}]}]},
        }}})
    };
    let right = WEBHOOK.review(&template("true"));
    assert_eq!((right.patch, right.warnings), (None, vec![]));
    let wrong = WEBHOOK.review(&template("on"));
    assert_eq!(wrong.patch, None);
    assert_eq!(wrong.warnings, ["scoretap.dev/inject is \"on\"; write \"true\" or \"false\""]);
}

#[test]
fn what_is_no_review_is_refused_and_counted() {
    let webhook = Webhook::start("webhook-metrics", &[]);
    for body in ["", "{", "[]", "{\"kind\": \"AdmissionReview\"}"] {
        let (status, _) = webhook.post(&webhook.identity, body.into()).unwrap();
        assert_eq!(status, 400, "{body}");
    }
    webhook.review(&pods().remove(0).pod);
    let metrics = http::get(&webhook.metrics, "/metrics").unwrap();
    assert!(metrics.contains("scoretap_injector_malformed_requests_total 4\n"), "{metrics}");
    assert!(metrics.contains("reviews_total{kind=\"pod\",decision=\"injected\"} 1\n"), "{metrics}");
}

#[test]
fn a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let webhook = Webhook::start("webhook-certificate", &[]);
    let fresh = Identity::new();
    assert!(webhook.post(&fresh, String::new()).is_err(), "trusted before it was there");
    std::fs::write(webhook.folder.join("tls.crt"), "no certificate").unwrap();
    wait_until("the broken file is seen", STARTUP, || reloads(&webhook, "failure") > 0);
    assert!(webhook.post(&webhook.identity, String::new()).is_ok());
    std::fs::write(webhook.folder.join("tls.key"), &fresh.key).unwrap();
    std::fs::write(webhook.folder.join("tls.crt"), &fresh.certificate).unwrap();
    wait_until("the new certificate is in use", STARTUP, || webhook.post(&fresh, String::new()).is_ok());
    assert!(webhook.post(&webhook.identity, String::new()).is_err());
    assert_eq!(reloads(&webhook, "success"), 1, "{}", webhook.child.diagnosis());
}

fn reloads(webhook: &Webhook, result: &str) -> u64 {
    let metrics = http::get(&webhook.metrics, "/metrics").unwrap();
    let name = format!("certificate_reloads_total{{result=\"{result}\"}} ");
    let (_, after) = metrics.split_once(&name).unwrap();
    after.lines().next().unwrap().parse().unwrap()
}

#[test]
fn before_1_29_the_sidecar_is_ordinary_containers() {
    let webhook = Webhook::start("webhook-ordinary", &["--sidecar", "ordinary"]);
    let bare = pods().remove(0).pod;
    let patched = webhook.review(&bare).patched;
    let names = |list: &str| -> Vec<String> {
        patched["spec"][list]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("initContainers"), ["scoretap-setup"]);
    assert_eq!(names("containers"), ["app", "scoretap-envoy", "scoretap-exporter"]);
    assert!(patched["spec"]["containers"][0].get("lifecycle").is_none(), "these clusters know no such hook");
    assert_eq!(violations(&patched), [""; 0]);
    schema::check(&[("ordinary".into(), patched)], &["1.25", "1.28"]);
    let job = pods().into_iter().find(|case| case.name == "job").unwrap().pod;
    let answer = webhook.review(&job);
    assert_eq!(answer.patch, None);
    assert!(answer.warnings[0].contains("before Kubernetes 1.29"), "{:?}", answer.warnings);
}
