//! Properties of all configurations and calls, checked on random ones and against slow reference implementations.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config as ProptestConfig;
use proptest::{collection, option, sample};
use scoretap_core::config::Config;
use scoretap_core::name::{Model, Stat};
use scoretap_core::observe::Observer;
use scoretap_core::outcome::{Ending, Outcome, Overrides, flag};
use scoretap_core::route::{Template, label, percent_decoded, without_query};
use serde_json::{Value, json};

use scoretap_test_support::host::{Ended, Host};

/// Decodes percent-encoding, byte by byte.
fn decoded(written: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut position = 0;
    while position < written.len() {
        let digits =
            written.get(position + 1..position + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let is_hex = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        match digits.filter(is_hex).filter(|_| written[position] == b'%') {
            Some(digits) => {
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                position += 3;
            }
            None => {
                bytes.push(written[position]);
                position += 1;
            }
        }
    }
    bytes
}

/// The values of the variables if the template matches. Tries every possible value.
fn matched(template: &str, path: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let (template, path): (Vec<&str>, Vec<&[u8]>) =
        (template.split('/').collect(), path.split(|byte| *byte == b'/').collect());
    let mut values = BTreeMap::new();
    for (wanted, written) in template.iter().zip(&path) {
        let segment = decoded(written);
        let Some((before, variable)) = wanted.split_once('{') else {
            if decoded(wanted.as_bytes()) != segment {
                return None;
            }
            continue;
        };
        let (name, after) = variable.split_once('}').unwrap();
        let [before, after] = [before, after].map(|literal| decoded(literal.as_bytes()));
        let with = |value: &[u8]| [&before[..], value, &after].concat() == segment;
        let ranges =
            (0..segment.len()).flat_map(|start| (start + 1..=segment.len()).map(move |end| start..end));
        let value = ranges.map(|range| &segment[range]).find(|value| with(value))?;
        values.insert(name.to_owned(), value.to_vec());
    }
    (template.len() == path.len()).then_some(values)
}

fn segments() -> impl Strategy<Value = &'static str> {
    sample::select(vec![
        "a",
        "ab",
        "%61b",
        "",
        "a{model}",
        "{model}:a",
        "{version}",
        "b{version}a",
        "{model}",
        "{version}%25",
    ])
}

fn templates() -> impl Strategy<Value = String> {
    let template = collection::vec(segments(), 1..4).prop_map(|segments| format!("/{}", segments.join("/")));
    template.prop_filter("each variable occurs once", |template| Template::parse(template).is_ok())
}

/// Paths that often match a template.
fn paths() -> impl Strategy<Value = Vec<u8>> {
    let segment = prop_oneof![
        8 => "[ab:]{0,3}|a%61|%3aa|b%2Fa|a%|a%25|%zz|%C3%BCa|ba%00a".prop_map(String::into_bytes),
        1 => collection::vec(any::<u8>(), 0..6),
        1 => Just([b'a'; 300].to_vec()),
    ];
    let path =
        collection::vec(segment, 1..4).prop_map(|segments| [&b"/"[..], &segments.join(&b'/')].concat());
    (path, option::of("[?#][a/?]{0,3}"))
        .prop_map(|(path, query)| [path, query.unwrap_or_default().into()].concat())
}

fn methods() -> impl Strategy<Value = &'static str> {
    sample::select(vec!["GET", "POST"])
}

/// A configuration and its routes: name, method and template.
fn routes() -> impl Strategy<Value = Vec<(String, &'static str, String)>> {
    let routes = collection::vec((methods(), templates()), 1..6);
    routes.prop_map(|routes| {
        let route = |(number, (method, template))| (format!("r{number}"), method, template);
        routes.into_iter().enumerate().map(route).collect()
    })
}

fn called(method: &str, path: &[u8]) -> Ended {
    let headers = vec![(":method", method.into()), (":path", path.to_vec())];
    Ended { headers, code: Some(200), details: Some(b"via_upstream".to_vec()), ..Ended::default() }
}

/// The number of calls for each route, template, model and version; `None` is unmatched calls.
type Counts = BTreeMap<Option<(String, String, Option<(Option<String>, Option<String>)>)>, u64>;

fn counted(host: &Host) -> Counts {
    let mut counts = Counts::new();
    for (name, count) in host.statistics() {
        match Stat::decode(&name) {
            Some(Stat::Call { series, endpoint, .. }) => {
                let model = match series.model {
                    Model::Named { model, version } => Some((model.map(Into::into), version.map(Into::into))),
                    Model::Other => None,
                };
                *counts.entry(Some((series.route.into(), endpoint.template.into(), model))).or_default() +=
                    count;
            }
            Some(Stat::Unmatched) => *counts.entry(None).or_default() += count,
            Some(Stat::Cell { .. } | Stat::Sum { .. }) => {}
            Some(
                Stat::Read { .. }
                | Stat::InsightSeen
                | Stat::InsightLost
                | Stat::Config
                | Stat::Bounds { .. },
            )
            | None => {
                panic!("no counter of ours: {name}")
            }
        }
    }
    counts
}

/// Faults to put into a valid configuration: the reported path, the JSON pointer and the value.
const FAULTS: [(&str, &str, &str); 15] = [
    ("routes[0].preset", "/routes/0/preset", "\"flask\""),
    ("routes[1].name", "/routes/1/name", "\"a b\""),
    ("routes[1].method", "/routes/1/method", "\"post\""),
    ("routes[1].path", "/routes/1/path", "\"rank\""),
    ("routes[1].model.header", "/routes/1/model", "{\"header\": \"\"}"),
    ("routes[2]", "/routes/2", "\"score\""),
    ("bounds_seconds[1]", "/bounds_seconds/1", "0.1"),
    ("bounds_seconds[2]", "/bounds_seconds/2", "\"7\""),
    ("max_series", "/max_series", "0"),
    ("error_types.404", "/error_types/404", "\"ok\""),
    ("error_types.409", "/error_types/409", "null"),
    ("extra[0]", "/extra/0", "\"duration\""),
    ("extra[1]", "/extra/1", "7"),
    ("latency_resolution", "/latency_resolution", "\"fine\""),
    ("duration_codes", "/duration_codes", "\"yes\""),
];

fn without_fault() -> Value {
    json!({
        "routes": [
            {"preset": "score"},
            {"name": "rank", "method": "POST", "path": "/rank/{version}", "model": {"header": "x-model"}},
            {"preset": "predict"},
        ],
        "bounds_seconds": [0.5, 1, 5],
        "max_series": 10,
        "error_types": {"404": "success", "409": "timeout"},
        "extra": ["request_bytes", "backend_duration"],
        "latency_resolution": "native",
        "duration_codes": true,
    })
}

/// JSON with the field names of a configuration and values of every kind.
fn documents() -> impl Strategy<Value = Value> {
    let words =
        vec!["score", "POST", "/a/{model}", "success", "request_bytes", "native", "x\ny", "\u{85}", ""];
    let leaf = prop_oneof![
        sample::select(words).prop_map(Value::from),
        sample::select(vec![json!(null), json!(true), json!(0), json!(-1), json!(1e300), json!(7)]),
        any::<String>().prop_map(Value::from),
    ];
    let names = sample::select(vec![
        "routes",
        "preset",
        "name",
        "method",
        "path",
        "model",
        "version",
        "header",
        "bounds_seconds",
        "max_series",
        "error_types",
        "404",
        "extra",
        "latency_resolution",
        "duration_codes",
        "a\nb",
        "",
    ]);
    leaf.prop_recursive(4, 30, 6, move |inner| {
        let object = collection::btree_map(names.clone(), inner.clone(), 0..6);
        let object = object.prop_map(|fields| {
            Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        });
        prop_oneof![3 => object, 1 => collection::vec(inner, 0..4).prop_map(Value::from)]
    })
}

/// The outcome of an app's complete answer.
fn of_status(code: u16) -> Outcome {
    match code {
        0 => Outcome::Unavailable,
        401 | 403 | 407 => Outcome::Unauthorized,
        404 | 405 | 410 => Outcome::NotFound,
        408 | 504 => Outcome::Timeout,
        429 => Outcome::RateLimited,
        _ if code < 400 => Outcome::Success,
        _ if code < 500 => Outcome::InvalidInput,
        _ => Outcome::ModelError,
    }
}

fn details() -> impl Strategy<Value = Vec<u8>> {
    let known = vec![
        "via_upstream",
        "response_timeout",
        "downstream_remote_disconnect",
        "downstream_local_disconnect(x)",
        "upstream_reset_before_response_started{overflow}",
        "upstream_reset_after_response_started{protocol_error}",
        "http2.remote_reset",
        "max_duration_timeout",
        "overload",
        "direct_response",
        "",
    ];
    prop_oneof![6 => sample::select(known).prop_map(Into::into), 1 => collection::vec(any::<u8>(), 0..20)]
}

fn flags() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), (0..32_u32).prop_map(|bit| 1 << bit), any::<u64>()]
}

/// Any call.
fn anything() -> impl Strategy<Value = Ended> {
    let paths = vec![
        "/score",
        "/v1/models/a:predict",
        "/predictions/b/1",
        "/inference.GRPCInferenceService/ModelInfer",
    ];
    let path = prop_oneof![
        3 => sample::select(paths).prop_map(Into::into),
        1 => collection::vec(any::<u8>(), 0..30),
    ];
    let method = prop_oneof![5 => Just(b"POST".to_vec()), 1 => collection::vec(any::<u8>(), 0..5)];
    let content_type = || {
        option::of(prop_oneof![
            Just(b"application/grpc".to_vec()),
            Just(b"application/grpc+proto".to_vec()),
            collection::vec(any::<u8>(), 0..20),
        ])
    };
    let code = prop_oneof![Just(Some(200)), option::of(0..1000_u64), option::of(any::<u64>())];
    let grpc = option::of(prop_oneof![0..20_u64, any::<u64>()]);
    let request = (option::of(method), option::of(path), content_type());
    let response = (content_type(), code, flags(), option::of(details()), grpc, any::<u64>());
    (request, response).prop_map(
        |((method, path, asked), (response_type, code, flags, details, grpc, nanoseconds))| {
            let headers = [(":method", method), (":path", path), ("content-type", asked)];
            let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            // Keeps sums below the point where Envoy wraps.
            Ended {
                headers,
                response_type,
                code,
                flags,
                details,
                grpc,
                nanoseconds: nanoseconds >> 8,
                record: None,
            }
        },
    )
}

/// A failure belongs in a test of its own, so proptest saves none.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn first_matching_route_equals_slow_matcher(
        routes in routes(), calls in collection::vec((methods(), paths(), 0..3_u8), 0..12),
    ) {
        let json: Vec<Value> = routes
            .iter()
            .map(|(name, method, path)| json!({"name": name, "method": method, "path": path}))
            .collect();
        // The reader rejects two routes with the same method and path.
        let Ok(config) = Config::parse(json!({"routes": json}).to_string().as_bytes()) else { return Ok(()) };
        let (host, mut observer, mut expected) = (Host::default(), Observer::new(Some(config)), Counts::new());
        for (method, path, again) in &calls {
            let written = path.split(|byte| b"?#".contains(byte)).next().unwrap();
            let first = routes.iter().find_map(|(name, of, template)| {
                let values = Some(matched(template, written)?).filter(|_| of == method)?;
                let label = |name: &str| match values.get(name) {
                    None => Some(None),
                    Some(value) if value.len() > 256 || value.contains(&0) => None,
                    Some(value) => String::from_utf8(value.clone()).ok().map(Some),
                };
                Some((name.clone(), template.clone(), label("model").zip(label("version"))))
            });
            // Repeated calls hit the cache.
            for _ in 0..=*again {
                observer.observe(&called(method, path), &host);
                *expected.entry(first.clone()).or_default() += 1;
            }
        }
        assert_eq!(counted(&host), expected, "{routes:?}");
    }

    #[test]
    fn call_adds_to_one_counter_cell_and_sum(calls in collection::vec(anything(), 0..20)) {
        let (host, config) = (Host::default(), Config::parse(b"{\"max_series\": 2}").unwrap());
        let mut observer = Observer::new(Some(config));
        calls.iter().for_each(|call| observer.observe(call, &host));
        let (mut ended, mut cells, mut sums, mut series) = (0, 0, 0, Vec::new());
        for (name, value) in host.statistics() {
            match Stat::decode(&name).unwrap_or_else(|| panic!("{name}")) {
                Stat::Call { series: of, .. } => {
                    ended += value;
                    series.extend((!series.contains(&format!("{of:?}"))).then(|| format!("{of:?}")));
                }
                Stat::Cell { .. } => cells += value,
                Stat::Sum { .. } => sums += value,
                Stat::Unmatched => ended += value,
                Stat::Read { .. } | Stat::InsightSeen | Stat::InsightLost => panic!("nothing was read: {name}"),
                Stat::Config | Stat::Bounds { .. } => panic!("{name} is a gauge"),
            }
        }
        let unmatched: u64 =
            host.statistics().iter().filter(|(name, _)| name.ends_with(".unmatched")).map(|(_, value)| value).sum();
        assert_eq!((ended, cells), (calls.len() as u64, ended - unmatched));
        assert!(sums <= calls.iter().map(|call| call.nanoseconds).sum());
        // Two named by callers, and for each of four routes the pod's own series and `other`.
        assert!(series.len() <= 2 + 2 * 4, "{series:?}");
    }

    #[test]
    fn faults_name_exactly_the_wrong_fields(
        faults in sample::subsequence(FAULTS.to_vec(), 0..FAULTS.len()), unknown in option::of("[a-z]{9}"),
    ) {
        let mut config = without_fault();
        for (_, pointer, value) in &faults {
            *config.pointer_mut(pointer).unwrap() = serde_json::from_str(value).unwrap();
        }
        config.as_object_mut().unwrap().extend(unknown.iter().map(|name| (name.clone(), json!(1))));
        let found = Config::parse(config.to_string().as_bytes()).err().unwrap_or_default();
        let mut found: Vec<&str> = found.iter().map(|fault| fault.at.as_str()).collect();
        let mut expected: Vec<&str> = faults.iter().map(|(at, _, _)| *at).chain(unknown.as_deref()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_fault_is_one_short_line_with_advice(
        document in documents(), cut in option::of(0..50_usize),
    ) {
        let mut text = document.to_string().into_bytes();
        text.truncate(cut.unwrap_or(text.len()));
        let Err(faults) = Config::parse(&text) else { return Ok(()) };
        assert!(!faults.is_empty());
        for fault in faults {
            let line = fault.to_string();
            assert!(!line.chars().any(char::is_control) && line.len() < 800, "{line:?}");
            assert!(["write", "allowed", "drop", "keep"].iter().any(|advice| line.contains(advice)), "{line}");
        }
    }

    #[test]
    fn percent_decoding_equals_byte_by_byte_decoding(written in prop_oneof![
        collection::vec(any::<u8>(), 0..20), "[%0-9a-gA-G]{0,12}".prop_map(String::into_bytes),
    ]) {
        assert_eq!(*percent_decoded(&written), *decoded(&written));
        let everything: String = written.iter().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(*percent_decoded(everything.as_bytes()), *written);
        assert!(!without_query(&written).contains(&b'?') && written.starts_with(without_query(&written)));
        let is_label = written.len() <= 256 && !written.contains(&0) && std::str::from_utf8(&written).is_ok();
        assert_eq!(label(written.as_slice().into()).is_some(), is_label);
    }

}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn success_requires_an_unbroken_answer(
        code in prop_oneof![Just(0), Just(200), 0..1000_u16, any::<u16>()],
        details in option::of(details()), flags in flags(), grpc in option::of(0..20_u64),
    ) {
        // The causes for which Envoy itself ends a call.
        const ENDED: u64 = flag::UT | flag::SI | flag::UMSDR | flag::DT | flag::UO | flag::OM | flag::DO
            | flag::UDO | flag::LH | flag::UH | flag::UF | flag::NC | flag::DF;
        let grpc = grpc.filter(|_| code == 200);
        let ending = Ending { code, details: details.as_deref(), grpc };
        let outcome = ending.outcome(&Overrides::default(), || flags);
        let is_of_the_app = details.as_deref() == Some(b"via_upstream");
        if is_of_the_app && grpc.is_none() {
            assert_eq!(outcome, of_status(code));
        }
        let was_ended = !is_of_the_app && code != 101 && flags & ENDED != 0;
        if outcome == Outcome::Success {
            assert!((1..400).contains(&code) && grpc.is_none_or(|status| status == 0) && !was_ended, "{ending:?}");
        }
        // An override of one status does not affect another.
        let overrides = Overrides::new(vec![(code.wrapping_add(1), Outcome::Success)]);
        assert_eq!(ending.outcome(&overrides, || flags), outcome);
    }
}

/// The cells and sums of a call with this code, under a configuration.
fn durations(config: &str, code: u64) -> Vec<String> {
    let host = Host::default();
    let mut observer = Observer::new(Some(Config::parse(config.as_bytes()).unwrap()));
    observer.observe(&Ended { code: Some(code), nanoseconds: 7, ..called("POST", b"/score") }, &host);
    let names = host.statistics().into_iter().map(|(name, _)| name);
    names.filter_map(|name| Some(name.split_once(".duration.")?.1.to_owned())).collect()
}

#[test]
fn durations_name_codes_where_configured() {
    assert_eq!(durations("{}", 503), ["failure.1000000", "failure"]);
    assert_eq!(durations(r#"{"duration_codes": true}"#, 503), ["failure-503.1000000", "failure-503"]);
    assert_eq!(durations(r#"{"duration_codes": true}"#, 200), ["success-200.1000000", "success-200"]);
}
