//! What must be true of any object and any manifest, tried on random ones: nothing of a tenant's is ever lost, what is
//! injected is whole, and who is refused is told why.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;
use proptest::{collection, option, sample};
use scoretap_injector::annotations::{
    APP_PORT, CONFIG, CONTAINERS, HTTP_PORT_NAME, INJECT, MODEL_NAME, MODEL_VERSION, TARGET_PORT, VOLUME,
};
use scoretap_injector::inject::{Decision, Settings, decide};
use scoretap_injector::review::{Exempt, answer};
use scoretap_injector::sidecar::Kind;
use scoretap_injector::{manifest, service, yaml};
use serde_json::{Map, Value, json};

/// So many inputs are tried each time, or as many as `PROPTEST_CASES` says. What fails is for whoever reads it to write
/// down as a test of its own.
fn cases(few: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { few };
    Config { cases, ..config }
}

fn settings(sidecar: Kind) -> Settings {
    Settings { envoy_image: "envoy:1".into(), exporter_image: "exporter:1".into(), sidecar }
}

/// Text, and what YAML may take for something else or for the end of it.
fn texts() -> impl Strategy<Value = String> {
    let special = "[ab \\t\\n\\r\"'\\\\:#&*!|>%@`,{}?\\[\\]~-]{0,6}";
    let odd = "[a\\n\u{7f}\u{80}\u{85}\u{9f}\u{a0}\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}\u{1f600}]{0,6}";
    let words = vec![
        "yes",
        "null",
        "1e3",
        "0x1f",
        "012",
        "---",
        "...",
        "<<",
        "=",
        "true",
        "one\ntwo",
        "$(A)",
        "${config}",
    ];
    prop_oneof![
        3 => sample::select(words).prop_map(str::to_owned),
        2 => special,
        2 => odd,
        1 => any::<String>(),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let object = collection::btree_map(texts(), inner.clone(), 0..4);
        let object = object.prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()));
        prop_oneof![collection::vec(inner, 0..4).prop_map(Value::Array), object]
    })
}

/// A field that may be missing.
fn maybe(of: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Option<Value>> {
    option::weighted(0.4, of)
}

/// An object of the fields that are there.
fn object(fields: Vec<(&str, Option<Value>)>) -> Value {
    let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect())
}

fn one_of(values: &[Value]) -> impl Strategy<Value = Value> + use<> {
    sample::select(values.to_vec())
}

fn annotations() -> impl Strategy<Value = Value> {
    let inject =
        option::weighted(0.9, prop_oneof![8 => Just(json!("true")), 1 => texts().prop_map(Value::from)]);
    let port =
        maybe(one_of(&[json!("8080"), json!("http"), json!("0"), json!("65536"), json!(8080), json!("")]));
    let config = one_of(&[
        json!("{}"),
        json!("{\"max_series\": 7}"),
        json!("{\"max_series\": 0, \"x\": 1}"),
        json!("{"),
    ]);
    let name = || maybe(texts().prop_map(Value::from));
    (inject, port, maybe(config), name(), name()).prop_map(|(inject, port, config, model, version)| {
        object(vec![
            (INJECT, inject),
            (APP_PORT, port),
            (CONFIG, config),
            (MODEL_NAME, model),
            (MODEL_VERSION, version),
        ])
    })
}

fn containers() -> impl Strategy<Value = Value> {
    let name = one_of(&[json!("app"), json!("istio-proxy"), json!("b"), json!(CONTAINERS[1]), Value::Null]);
    let number = one_of(&[json!(8080), json!(5001), json!(15_100), json!(-1), json!("x")]);
    let port = (
        number,
        maybe(one_of(&[json!("http"), json!("grpc"), json!(HTTP_PORT_NAME)])),
        maybe(one_of(&[json!("TCP"), json!("UDP")])),
    );
    let port = port.prop_map(|(number, name, protocol)| {
        object(vec![("containerPort", Some(number)), ("name", name), ("protocol", protocol)])
    });
    let env = (one_of(&[json!("MODEL_NAME"), json!("MODEL_VERSION")]), maybe(texts().prop_map(Value::from)));
    let env = env.prop_map(|(name, value)| object(vec![("name", Some(name)), ("value", value)]));
    let list =
        |of: proptest::strategy::BoxedStrategy<Value>| maybe(collection::vec(of, 0..3).prop_map(Value::from));
    let hook = json!({"preStop": {"exec": {"command": ["true"]}}});
    let lifecycle = maybe(one_of(&[json!({}), hook, json!({"preStop": null}), json!("x"), Value::Null]));
    let container =
        (name, list(port.boxed()), list(env.boxed()), lifecycle).prop_map(|(name, ports, env, lifecycle)| {
            object(vec![("name", Some(name)), ("ports", ports), ("env", env), ("lifecycle", lifecycle)])
        });
    collection::vec(prop_oneof![20 => container, 1 => values()], 0..4).prop_map(Value::from)
}

/// Pods as people write them, with something in them now and then that belongs in no pod.
fn pods() -> impl Strategy<Value = Value> {
    let odd = |of: proptest::strategy::BoxedStrategy<Value>| prop_oneof![30 => of, 1 => values()];
    let labels =
        one_of(&[json!({"app": "iris", "pod-template-hash": "5"}), json!({"version": "3"}), json!({})]);
    let owners = one_of(&[
        json!([{"kind": "ReplicaSet", "name": "iris-5"}]),
        json!([{"kind": "Job", "name": "j"}, {}]),
        json!([{}]),
    ]);
    let metadata = (odd(annotations().boxed()), maybe(odd(labels.boxed())), maybe(odd(owners.boxed())))
        .prop_map(|(annotations, labels, owners)| {
            object(vec![("annotations", Some(annotations)), ("labels", labels), ("ownerReferences", owners)])
        });
    let volumes = one_of(&[json!([]), json!([{"name": "v"}]), json!([{"name": VOLUME}]), Value::Null]);
    let init = one_of(&[json!([{"name": "init"}]), json!([{"name": CONTAINERS[0]}]), Value::Null]);
    let time = one_of(&[json!(0), json!(9), json!(30), json!("30")]);
    let spec = (
        odd(containers().boxed()),
        maybe(odd(init.boxed())),
        maybe(odd(volumes.boxed())),
        option::weighted(0.1, one_of(&[json!(true), json!(false)])),
        option::weighted(0.1, one_of(&[json!({"name": "windows"}), json!({"name": "linux"})])),
        maybe(one_of(&[json!("Always"), json!("Never")])),
        maybe(time),
    );
    let spec = spec.prop_map(|(containers, init, volumes, host, os, policy, time)| {
        object(vec![
            ("containers", Some(containers)),
            ("initContainers", init),
            ("volumes", volumes),
            ("hostNetwork", host),
            ("os", os),
            ("restartPolicy", policy),
            ("terminationGracePeriodSeconds", time),
        ])
    });
    (odd(metadata.boxed()), odd(spec.boxed())).prop_map(
        |(metadata, spec)| json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
    )
}

/// Whether all of `before` is still in `after`: fields by their names, list entries where they were. Only what was null
/// may have become something.
fn is_kept(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Null, _) => true,
        (Value::Object(before), Value::Object(after)) => {
            before.iter().all(|(name, value)| after.get(name).is_some_and(|after| is_kept(value, after)))
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() <= after.len()
                && before.iter().zip(after).all(|(before, after)| is_kept(before, after))
        }
        (before, after) => before == after,
    }
}

fn names_at<'v>(pod: &'v Value, pointer: &str) -> Vec<&'v str> {
    let items = pod.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.get("name")?.as_str()).collect()
}

#[track_caller]
fn check_whole(pod: &Value) {
    let containers = [names_at(pod, "/spec/initContainers"), names_at(pod, "/spec/containers")].concat();
    for name in CONTAINERS {
        assert_eq!(containers.iter().filter(|found| **found == name).count(), 1, "{name} in {pod}");
    }
    assert!(names_at(pod, "/spec/volumes").contains(&VOLUME), "{pod}");
}

fn review(kind: &str, namespace: &str, object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "5",
            "kind": {"group": "", "version": "v1", "kind": kind},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "x",
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {},
            "object": object,
        }
    })
}

fn services() -> impl Strategy<Value = Value> {
    let target = maybe(one_of(&[json!(8080), json!("http"), json!(9), json!("grpc")]));
    let port = (target, maybe(one_of(&[json!("TCP"), json!("UDP")])));
    let ports = collection::vec(port, 0..4).prop_map(|ports| {
        let port = |(number, (target, protocol)): (usize, (Option<Value>, Option<Value>))| {
            let name = Some(json!(format!("port-{number}")));
            object(vec![
                ("name", name),
                ("port", Some(json!(80 + number))),
                ("targetPort", target),
                ("protocol", protocol),
            ])
        };
        Value::from(ports.into_iter().enumerate().map(port).collect::<Vec<_>>())
    });
    let annotations = (
        prop_oneof![5 => Just(json!("true")), 1 => texts().prop_map(Value::from)],
        maybe(one_of(&[json!("port-0"), json!("81"), json!("nothing")])),
    );
    let annotations =
        annotations.prop_map(|(inject, port)| object(vec![(INJECT, Some(inject)), (APP_PORT, port)]));
    let spec = (
        prop_oneof![9 => Just(json!({"app": "iris"})), 1 => Just(json!({}))],
        ports,
        option::weighted(0.1, one_of(&[json!("ExternalName"), json!("NodePort")])),
        option::weighted(0.2, one_of(&[json!("None"), json!("10.0.0.1")])),
    );
    let spec = spec.prop_map(|(selector, ports, kind, address)| {
        object(vec![
            ("selector", Some(selector)),
            ("ports", Some(ports)),
            ("type", kind),
            ("clusterIP", address),
        ])
    });
    (annotations, prop_oneof![30 => spec, 1 => values()]).prop_map(|(annotations, spec)| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"annotations": annotations}, "spec": spec})
    })
}

/// The Service as the API server has it: a target port that is not said is the port.
fn with_target_ports(mut service: Value) -> Value {
    for port in service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let number = port["port"].clone();
        port.as_object_mut().unwrap().entry("targetPort").or_insert(number);
    }
    service
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn what_is_written_as_yaml_is_read_back(value in values()) {
        let written = yaml::write(&value);
        let read = serde_norway::from_str::<Value>(&written);
        assert_eq!(read.unwrap_or_else(|error| panic!("{error}: {value}\n{written}")), value, "{written}");
    }

    #[test]
    fn a_pod_keeps_all_that_it_had_and_has_the_whole_sidecar_or_nothing_of_it(
        pod in pods(), sidecar in sample::select(vec![Kind::Native, Kind::Ordinary]),
    ) {
        let settings = settings(sidecar);
        match decide(&pod, None, &settings) {
            Decision::NotAsked | Decision::Already => {}
            Decision::Refused(faults) => {
                assert!(!faults.is_empty());
                assert!(faults.iter().all(|fault| !fault.chars().any(char::is_control)), "{faults:?}");
            }
            Decision::Injected(injected) => {
                assert!(is_kept(&pod, &injected), "{injected}");
                check_whole(&injected);
                assert_eq!(decide(&injected, None, &settings), Decision::Already);
            }
        }
    }

    #[test]
    fn a_review_is_answered_as_is_decided_and_always_allowed(
        pod in pods(), namespace in sample::select(vec!["ml", "kube-system"]),
    ) {
        let settings = settings(Kind::Native);
        let body = review("Pod", namespace, &pod).to_string();
        // What is no Kubernetes object at all never comes from an API server.
        let Ok(answer) = answer(body.as_bytes(), &settings, &Exempt::with_own(None)) else { return Ok(()) };
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&answer["response"]["allowed"], &answer["response"]["uid"]), (&json!(true), &json!("5")));
        let mut patched = pod.clone();
        if let Some(patch) = answer["response"]["patch"].as_str() {
            let patch: Patch = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
            json_patch::patch(&mut patched, &patch).unwrap();
        }
        let expected = match decide(&pod, None, &settings) {
            Decision::Injected(injected) if namespace == "ml" => *injected,
            _ => pod,
        };
        assert_eq!(patched, expected);
    }

    #[test]
    fn bytes_that_are_no_review_are_refused(
        (body, at, byte) in pods().prop_flat_map(|pod| {
            let body = review("Pod", "ml", &pod).to_string().into_bytes();
            let length = body.len();
            (Just(body), 0..length, any::<u8>())
        }),
        cut in any::<bool>(),
    ) {
        let mut body = body;
        body[at] = byte;
        if cut {
            body.truncate(at);
        }
        let answered = answer(&body, &settings(Kind::Native), &Exempt::with_own(None));
        let is_json = serde_json::from_slice::<Value>(&body).is_ok();
        assert!(is_json || answered.is_err());
    }

    #[test]
    fn a_service_leads_back_to_where_it_led(service in services(), says_no in any::<bool>()) {
        let service::Decision::Changed(led) = service::decide(&service) else { return Ok(()) };
        assert_eq!(service::decide(&led), service::Decision::Unchanged);
        let ports = |service: &Value| with_target_ports(service.clone()).pointer("/spec/ports").cloned().unwrap();
        let (before, after) = (ports(&service), ports(&led));
        let pairs = before.as_array().unwrap().iter().zip(after.as_array().unwrap());
        let changed: Vec<_> = pairs.filter(|(before, after)| before != after).collect();
        assert!(changed.len() == 1 && changed[0].1["targetPort"] == HTTP_PORT_NAME, "{led}");
        let (mut asked, mut asks_no_longer) = (service, *led);
        for service in [&mut asked, &mut asks_no_longer] {
            let annotations = service.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut).unwrap();
            annotations.remove(INJECT);
            annotations.extend(says_no.then(|| (INJECT.to_owned(), json!("false"))));
        }
        let service::Decision::Changed(back) = service::decide(&asks_no_longer) else { panic!("it stays") };
        assert!(back.pointer("/metadata/annotations").unwrap().get(TARGET_PORT).is_none());
        assert_eq!(with_target_ports(*back), with_target_ports(asked));
    }

    #[test]
    fn manifests_come_out_as_they_went_in_but_for_what_was_asked(
        documents in collection::vec(prop_oneof![pods(), services(), values()], 0..4),
    ) {
        // A document that is null is none.
        let documents: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
        let injected = manifest::inject(&manifest::write(&documents), &settings(Kind::Native)).unwrap();
        assert_eq!(injected.documents.len(), documents.len());
        for (before, after) in documents.iter().zip(&injected.documents) {
            let annotations = before.pointer("/metadata/annotations");
            let says = annotations.and_then(|annotations| annotations.get(INJECT)).is_some();
            assert!(says || before == after, "{after}");
        }
        // Once more, and nothing changes any more.
        let again = manifest::inject(&manifest::write(&injected.documents), &settings(Kind::Native)).unwrap();
        assert_eq!(again.documents, injected.documents);
    }

    #[test]
    fn any_text_is_manifests_or_an_error(text in prop_oneof![any::<String>(), "[a:{}\\[\\], \n&*!|>'\"-]{0,40}"]) {
        if let Ok(injected) = manifest::inject(&text, &settings(Kind::Native)) {
            let again = manifest::inject(&manifest::write(&injected.documents), &settings(Kind::Native)).unwrap();
            assert_eq!(again.documents, injected.documents);
        }
    }
}
