//! Properties of any object and any manifest, on random ones: a pod loses nothing, gets the whole sidecar or none of it, and
//! every refusal has a reason.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;
use proptest::{collection, option, sample};
use scoretap_injector::annotations::{
    APP_PORT, APP_PORT_NAME, CONFIG, CONTAINERS, CPU_LIMIT, ENVOY, INJECT, MEMORY_REQUEST, MODEL_NAME,
    MODEL_VERSION, MOVE_APP, STATS_PORT_NAME, VOLUMES,
};
use scoretap_injector::inject::{Decision, decide};
use scoretap_injector::pod::Pod;
use scoretap_injector::serve::review::{Exempt, answer};
use scoretap_injector::settings::Settings;
use scoretap_injector::{manifest, yaml};
use serde_json::{Map, Value, json};

/// This many inputs, or as many as `PROPTEST_CASES` says. Write a failing input down as a test of its own.
fn cases(few: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { few };
    Config { cases, ..config }
}

/// Text, with strings that YAML may read as something else.
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
    let moves = maybe(one_of(&[
        json!("env PORT"),
        json!("env MODEL_NAME m{port}"),
        json!("arg --port"),
        json!("arg -p"),
        json!("arg --bind $(HOST):{port}"),
        json!("x"),
    ]));
    let cpu = maybe(one_of(&[json!("1"), json!("none"), json!("5m"), json!("x")]));
    let memory = maybe(one_of(&[json!("64Mi"), json!("9Gi"), json!("none")]));
    let names = (inject, port, maybe(config), name(), name());
    (names, moves, cpu, memory).prop_map(|((inject, port, config, model, version), moves, cpu, memory)| {
        object(vec![
            (INJECT, inject),
            (APP_PORT, port),
            (CONFIG, config),
            (MODEL_NAME, model),
            (MODEL_VERSION, version),
            (MOVE_APP, moves),
            (CPU_LIMIT, cpu),
            (MEMORY_REQUEST, memory),
        ])
    })
}

fn ports() -> impl Strategy<Value = Value> {
    let number = one_of(&[json!(8080), json!(80), json!(15_100), json!(-1), json!("x")]);
    let name = maybe(one_of(&[json!("http"), json!("grpc"), json!("metrics"), json!(STATS_PORT_NAME)]));
    let protocol = maybe(one_of(&[json!("TCP"), json!("UDP")]));
    let host = option::weighted(0.1, one_of(&[json!(8080), json!(0)]));
    (number, name, protocol, host).prop_map(|(number, name, protocol, host)| {
        object(vec![
            ("containerPort", Some(number)),
            ("name", name),
            ("protocol", protocol),
            ("hostPort", host),
        ])
    })
}

fn containers() -> impl Strategy<Value = Value> {
    let name = one_of(&[json!("app"), json!("istio-proxy"), json!("b"), json!(CONTAINERS[1]), Value::Null]);
    let env = (
        one_of(&[json!("MODEL_NAME"), json!("MODEL_VERSION"), json!("PORT")]),
        maybe(texts().prop_map(Value::from)),
    );
    let env = env.prop_map(|(name, value)| object(vec![("name", Some(name)), ("value", value)]));
    let word =
        || one_of(&[json!("serve"), json!("--port"), json!("8080"), json!("-p=1"), json!("-c"), json!(7)]);
    let list =
        |of: proptest::strategy::BoxedStrategy<Value>| maybe(collection::vec(of, 0..3).prop_map(Value::from));
    let hook = json!({"preStop": {"exec": {"command": ["true"]}}});
    let lifecycle = maybe(one_of(&[json!({}), hook, json!({"preStop": null}), json!("x"), Value::Null]));
    let port = one_of(&[json!("http"), json!(8080), json!(80), json!("metrics"), Value::Null]);
    let probe = maybe(port.prop_map(|port| json!({"httpGet": {"path": "/", "port": port}})));
    let lists = (list(ports().boxed()), list(env.boxed()), list(word().boxed()), list(word().boxed()));
    let container = (name, lists, lifecycle, probe);
    let container = container.prop_map(|(name, (ports, env, command, args), lifecycle, probe)| {
        object(vec![
            ("name", Some(name)),
            ("ports", ports),
            ("env", env),
            ("command", command),
            ("args", args),
            ("lifecycle", lifecycle),
            ("readinessProbe", probe),
        ])
    });
    collection::vec(prop_oneof![20 => container, 1 => values()], 0..4).prop_map(Value::from)
}

/// Pods as people write them, sometimes with a value that no pod may have.
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
    let volumes = one_of(&[json!([]), json!([{"name": "v"}]), json!([{"name": VOLUMES[0]}]), Value::Null]);
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

/// Whether all of `before` is still in `after`: fields by their names, list entries at their positions. Null may have become
/// something.
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

/// A pod without what injection may change: the app's port numbers and, if the app moves, its variables and arguments.
fn without_ports(pod: &Value, moves: bool) -> Value {
    let mut pod = pod.clone();
    let containers = pod.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
        for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            port.as_object_mut().map(|port| port.remove("containerPort"));
        }
        let probe = container.get_mut("readinessProbe").and_then(|probe| probe.pointer_mut("/httpGet/port"));
        probe.map(Value::take);
        for field in ["env", "command", "args"].into_iter().filter(|_| moves) {
            container.remove(field);
        }
    }
    pod
}

/// The number and the position of the container for each declared TCP port name.
fn named_ports(pod: &Value) -> Vec<(usize, String, Value)> {
    let mut named = Vec::new();
    for (index, container) in Pod(pod).containers().enumerate() {
        for port in container.get("ports").and_then(Value::as_array).into_iter().flatten() {
            let is_tcp = port.get("protocol").is_none_or(|protocol| protocol == "TCP");
            if let Some(name) = port.get("name").and_then(Value::as_str).filter(|_| is_tcp) {
                named.push((index, name.to_owned(), port["containerPort"].clone()));
            }
        }
    }
    named
}

/// A Service that targets a name reaches Envoy if that was the app's, and what it reached before otherwise.
#[track_caller]
fn check_names(before: &Value, after: &Value) {
    let pod = Pod(before);
    let app = (pod.app_index(), pod.app_port().number);
    let mut expected: Vec<_> = named_ports(before)
        .into_iter()
        .map(|(index, name, number)| {
            let is_app = (Some(index), number.to_string()) == app && pod.moves().is_none();
            (index, name, if is_app { json!(ENVOY) } else { number })
        })
        .collect();
    let mut found = named_ports(after);
    found.retain(|(_, name, _)| name != APP_PORT_NAME);
    expected.sort_by_key(|(index, name, number)| (*index, name.clone(), number.to_string()));
    found.sort_by_key(|(index, name, number)| (*index, name.clone(), number.to_string()));
    assert_eq!(found, expected, "{after}");
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
    assert!(names_at(pod, "/spec/volumes").contains(&VOLUMES[0]), "{pod}");
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

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn written_yaml_reads_back(value in values()) {
        let written = yaml::write(&value);
        let read = serde_norway::from_str::<Value>(&written);
        assert_eq!(read.unwrap_or_else(|error| panic!("{error}: {value}\n{written}")), value, "{written}");
    }

    #[test]
    fn injected_pod_loses_nothing_and_is_whole(pod in pods()) {
        let settings = Settings::default();
        match decide(&pod, None, &settings) {
            Decision::NotAsked | Decision::Already => {}
            Decision::Refused(faults) => {
                assert!(!faults.is_empty());
                assert!(faults.iter().all(|fault| !fault.chars().any(char::is_control)), "{faults:?}");
            }
            Decision::Injected(injected) => {
                let moves = Pod(&pod).moves().is_some();
                let (before, after) = (without_ports(&pod, moves), without_ports(&injected, moves));
                assert!(is_kept(&before, &after), "{injected}");
                check_names(&pod, &injected);
                check_whole(&injected);
                assert_eq!(decide(&injected, None, &settings), Decision::Already);
            }
        }
    }

    #[test]
    fn review_is_allowed_with_the_decided_pod(
        pod in pods(), namespace in sample::select(vec!["ml", "kube-system"]),
    ) {
        let settings = Settings::default();
        let body = review("Pod", namespace, &pod).to_string();
        // An API server sends Kubernetes objects only.
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
    fn damaged_review_is_never_answered_wrongly(
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
        let answered = answer(&body, &Settings::default(), &Exempt::with_own(None));
        let is_json = serde_json::from_slice::<Value>(&body).is_ok();
        assert!(is_json || answered.is_err());
    }

    #[test]
    fn manifests_change_only_where_they_ask(
        documents in collection::vec(prop_oneof![pods(), values()], 0..4),
    ) {
        // A null document is skipped.
        let documents: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
        let injected = manifest::inject(&manifest::write(&documents), &Settings::default()).unwrap();
        assert_eq!(injected.documents.len(), documents.len());
        for (before, after) in documents.iter().zip(&injected.documents) {
            let annotations = before.pointer("/metadata/annotations");
            let asks = annotations.and_then(|annotations| annotations.get(INJECT)).is_some();
            assert!(asks || before == after, "{after}");
        }
        let again = manifest::inject(&manifest::write(&injected.documents), &Settings::default()).unwrap();
        assert_eq!(again.documents, injected.documents);
    }

    #[test]
    fn any_text_parses_or_is_an_error(text in prop_oneof![any::<String>(), "[a:{}\\[\\], \n&*!|>'\"-]{0,40}"]) {
        if let Ok(injected) = manifest::inject(&text, &Settings::default()) {
            let again = manifest::inject(&manifest::write(&injected.documents), &Settings::default()).unwrap();
            assert_eq!(again.documents, injected.documents);
        }
    }
}
