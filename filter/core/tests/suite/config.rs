use scoretap_core::config::{Config, ErrorBodies, Insight};
use scoretap_core::histogram::{DEFAULT_TIME_BOUNDS, Histogram, LLM_TIME_BOUNDS};
use scoretap_core::name::ConfigState;
use scoretap_core::route::Source;
use scoretap_scan::columns::{Column, Key};

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Each fault as one line.
fn faults(json: &str) -> Vec<String> {
    let faults = Config::parse(json.as_bytes()).err().unwrap_or_default();
    faults.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check_fault(json: &str, expected: &str) {
    assert_eq!(faults(json), [expected], "{json}");
}

#[test]
fn empty_configuration_means_defaults() {
    for json in ["", " \n\t", "{}"] {
        let config = Config::parse(json.as_bytes()).unwrap();
        assert_eq!(config.bounds(Histogram::Duration), DEFAULT_TIME_BOUNDS);
        assert_eq!(config.histograms(), [Histogram::Duration]);
        assert_eq!(config.max_series(), 200);
        assert!(config.find(b"/score", || b"POST").is_ok());
    }
}

#[test]
fn llm_routes_alone_have_longer_bounds() {
    let bounds = |json: &str| Config::parse(json.as_bytes()).unwrap().bounds(Histogram::Duration).to_vec();
    for routes in [r#"{"preset": "openai"}"#, r#"{"preset": "triton-generate"}, {"preset": "openai"}"#] {
        assert_eq!(bounds(&format!(r#"{{"routes": [{routes}]}}"#)), LLM_TIME_BOUNDS, "{routes}");
    }
    let mixed = r#"{"routes": [{"preset": "openai"}, {"preset": "score"}]}"#;
    assert_eq!(bounds(mixed), DEFAULT_TIME_BOUNDS);
    let chosen = r#"{"routes": [{"preset": "openai"}], "bounds_seconds": [1]}"#;
    assert_eq!(bounds(chosen), [1_000_000_000]);
}

#[test]
fn each_fault_names_field_problem_and_fix() {
    check_fault("[]", "configuration: is an empty list; write an object such as {\"max_series\": 200}");
    check_fault("null", "configuration: is null; write an object such as {\"max_series\": 200}");
    check_fault(
        "{\"max_series\": 1",
        "configuration: is not JSON: EOF while parsing an object at line 1 column 16; write an object such as \
         {\"max_series\": 200}, in a StringValue",
    );
    check_fault(
        "{\"maxSeries\": 1}",
        "maxSeries: is not a field; allowed here are routes, bounds_seconds, max_series, error_types, extra, \
         latency_resolution, duration_codes, insight",
    );
    check_fault(
        r#"{"routes": []}"#,
        "routes: is an empty list; write a list of 1 to 256 routes, or leave it out for all presets",
    );
    check_fault(
        r#"{"routes": ["score"]}"#,
        r#"routes[0]: is "score"; write {"preset": "score"} or {"name": …, "method": …, "path": …}"#,
    );
    check_fault(
        r#"{"routes": [{"preset": "flask"}]}"#,
        "routes[0].preset: is \"flask\", which is no preset; allowed are score, predict, invocations, kserve-v1, \
         kserve-v2, tf-serving, torchserve, triton-generate, openai, seldon, kserve-grpc",
    );
    check_fault(
        r#"{"routes": [{"preset": "score", "path": "/x"}]}"#,
        "routes[0].path: is not a field; allowed here are preset",
    );
    check_fault(
        r#"{"routes": [{"name": "r", "method": "POST", "path": "score"}]}"#,
        r#"routes[0].path: "score" has no leading slash; write "/score""#,
    );
    check_fault(
        r#"{"routes": [{"name": "r", "path": "/r"}]}"#,
        "routes[0].method: is missing; a route is a preset or has name, method and path",
    );
    check_fault(
        r#"{"routes": [{"name": "r", "method": "post", "path": "/r"}]}"#,
        "routes[0].method: is \"post\"; write a method in capitals, such as \"POST\"",
    );
    check_fault(
        r#"{"routes": [{"name": "a b", "method": "POST", "path": "/r"}]}"#,
        "routes[0].name: is \"a b\"; write 1 to 64 letters, digits or any of _ . : / -",
    );
    check_fault(
        r#"{"routes": [{"name": 7, "method": "POST", "path": "/r"}]}"#,
        "routes[0].name: is 7; write a string",
    );
    check_fault(
        r#"{"routes": [{"name": "r", "method": "POST", "path": "/{model}", "model": {"header": "x"}}]}"#,
        "routes[0].model: is given though the path has {model}; keep one of the two",
    );
    check_fault(
        r#"{"routes": [{"name": "r", "method": "POST", "path": "/r", "version": "3"}]}"#,
        "routes[0].version: is \"3\"; write {\"header\": \"x-model-name\"}, or another header",
    );
    check_fault(
        r#"{"routes": [{"name": "r", "method": "POST", "path": "/r", "version": {"header": "b ad"}}]}"#,
        "routes[0].version.header: is \"b ad\"; write the name of a request header, such as \"x-model-name\": at most \
         64 letters, digits, \"_\", \".\" and \"-\"",
    );
    check_fault(
        r#"{"routes": [{"preset": "score"}, {"name": "r", "method": "POST", "path": "/score"}]}"#,
        "routes[1].path: can never match: an earlier route, \"score\", has the same method and path; drop one of \
         them",
    );
    check_fault(
        r#"{"bounds_seconds": []}"#,
        "bounds_seconds: is an empty list; write a list of 1 to 40 numbers of seconds",
    );
    check_fault(
        r#"{"bounds_seconds": ["1"]}"#,
        "bounds_seconds[0]: is \"1\"; write a number of seconds from 0.000000001 to 86400",
    );
    check_fault(
        r#"{"bounds_seconds": [0.5, 0.25, 1]}"#,
        "bounds_seconds[1]: is 0.25, not above the bound before it; bounds increase, and differ by a nanosecond at \
         least",
    );
    for bound in ["0", "-1", "-0.5", "86400.25", "0.0000000001", "86401", "1e300", "null"] {
        check_fault(
            &format!("{{\"bounds_seconds\": [{bound}]}}"),
            &format!(
                "bounds_seconds[0]: is {}; write a number of seconds from 0.000000001 to 86400",
                match bound {
                    "0.0000000001" => "a number closer to 0 than 0.000000001",
                    "1e300" => "a number beyond 1000000000",
                    other => other,
                }
            ),
        );
    }
    check_fault(r#"{"max_series": 0}"#, "max_series: is 0; write a whole number from 1 to 10000");
    check_fault(r#"{"max_series": 1.5}"#, "max_series: is 1.5; write a whole number from 1 to 10000");
    for status in ["4xx", "99", "1000", "0404", "+404"] {
        check_fault(
            &format!("{{\"error_types\": {{\"{status}\": \"success\"}}}}"),
            &format!("error_types.{status}: is no HTTP status; write one of 100 to 999, such as \"409\""),
        );
    }
    check_fault(
        r#"{"error_types": {"404": "ok"}}"#,
        "error_types.404: is \"ok\"; allowed are success, invalid_input, unauthorized, not_found, rate_limited, \
         model_error, timeout, unavailable, overloaded, truncated, reported_error, cancelled",
    );
    check_fault(
        r#"{"extra": "request_bytes"}"#,
        "extra: is \"request_bytes\"; write a list of any of backend_duration, request_bytes, response_bytes",
    );
    check_fault(
        r#"{"extra": ["duration"]}"#,
        "extra[0]: is \"duration\"; allowed are backend_duration, request_bytes, response_bytes",
    );
    check_fault(
        r#"{"extra": ["request_bytes", "request_bytes"]}"#,
        "extra[1]: is \"request_bytes\" again; write it once",
    );
    check_fault(
        r#"{"latency_resolution": "fine"}"#,
        "latency_resolution: is \"fine\"; allowed are \"classic\" and \"native\"",
    );
}

#[test]
fn resolution_is_the_announced_state() {
    for (json, state) in [
        ("{}", ConfigState::Classic),
        (r#"{"latency_resolution": "classic"}"#, ConfigState::Classic),
        (r#"{"latency_resolution": "native"}"#, ConfigState::Native),
    ] {
        assert_eq!(Config::parse(json.as_bytes()).map(|config| config.state()), Ok(state), "{json}");
    }
    for state in [ConfigState::Invalid, ConfigState::Classic, ConfigState::Native] {
        assert_eq!(ConfigState::from_number(state.number()), state);
    }
}

#[test]
fn insight_has_defaults_and_reads_each_field() {
    let insight = |json: &str| Config::parse(json.as_bytes()).unwrap().insight().cloned();
    assert_eq!(insight("{}"), None);
    let defaults = Insight {
        predictions: true,
        llm: true,
        classes: 20,
        max_body_bytes: 1 << 20,
        error_bodies: ErrorBodies::Failure,
        prediction_key: String::new(),
        columns: Vec::new(),
    };
    assert_eq!(insight(r#"{"insight": {}}"#), Some(defaults));
    let json = r#"{"insight": {"predictions": false, "llm": false, "classes": 0, "max_body_bytes": 1,
        "error_bodies": "count", "prediction_key": "risk", "columns": [
        {"name": "age", "min": 0, "max": 120.5}, {"index": 3, "min": -1, "max": -1}, {"name": "city"}]}}"#;
    let column = |key, min, max| Column { key, min, max };
    let expected = Insight {
        predictions: false,
        llm: false,
        classes: 0,
        max_body_bytes: 1,
        error_bodies: ErrorBodies::Count,
        prediction_key: "risk".to_owned(),
        columns: vec![
            column(Key::Name("age".to_owned()), 0.0, 120.5),
            column(Key::Index(3), -1.0, -1.0),
            column(Key::Name("city".to_owned()), f64::NEG_INFINITY, f64::INFINITY),
        ],
    };
    assert_eq!(insight(json), Some(expected));
}

#[test]
fn each_fault_of_insight_names_its_field() {
    let check = |field: &str, expected: &str| check_fault(&format!("{{\"insight\": {field}}}"), expected);
    check("true", "insight: is true; write an object, or {} for the defaults");
    check(
        r#"{"rows": true}"#,
        "insight.rows: is not a field; allowed here are predictions, prediction_key, llm, classes, \
         max_body_bytes, error_bodies, columns",
    );
    check(
        r#"{"prediction_key": ""}"#,
        "insight.prediction_key: is \"\"; write the key of the predictions, of 1 to 32 bytes",
    );
    check(r#"{"llm": 1}"#, "insight.llm: is 1; write true or false");
    check(r#"{"predictions": "no"}"#, "insight.predictions: is \"no\"; write true or false");
    check(r#"{"classes": 101}"#, "insight.classes: is 101; write a whole number from 0 to 100");
    check(
        r#"{"max_body_bytes": 0}"#,
        "insight.max_body_bytes: is 0; write a whole number from 1 to 1073741824",
    );
    check(
        r#"{"error_bodies": "ignore"}"#,
        "insight.error_bodies: is \"ignore\"; allowed are \"failure\" and \"count\"",
    );
}

#[test]
fn each_fault_of_a_column_names_its_field() {
    let check = |columns: &str, expected: &str| {
        check_fault(&format!("{{\"insight\": {{\"columns\": {columns}}}}}"), expected);
    };
    check("[]", "insight.columns: is an empty list; write a list of 1 to 32 columns, or leave it out");
    check(
        r#"{"name": "age"}"#,
        "insight.columns: is an object; write a list of 1 to 32 columns, or leave it out",
    );
    check(
        r#"["age"]"#,
        "insight.columns[0]: is \"age\"; write {\"name\": \"income\", \"min\": 0, \"max\": 1000000}",
    );
    let needs = "needs either \"name\" or, where rows are lists, \"index\"; write one of them";
    check(r#"[{"min": 1}]"#, &format!("insight.columns[0]: {needs}"));
    check(r#"[{"name": "a", "index": 1}]"#, &format!("insight.columns[0]: {needs}"));
    check(r#"[{"name": ""}]"#, "insight.columns[0].name: is \"\"; write a text of 1 to 64 bytes");
    check(r#"[{"index": -1}]"#, "insight.columns[0].index: is -1; write a whole number from 0 to 9999");
    check(
        r#"[{"name": "a", "max": "9"}]"#,
        "insight.columns[0].max: is \"9\"; write a number, or leave it out",
    );
    check(
        r#"[{"name": "a", "min": 2, "max": 1}]"#,
        "insight.columns[0].min: is 2, above the max of 1; exchange them",
    );
    check(
        r#"[{"index": 3}, {"name": "3"}]"#,
        "insight.columns[1]: is \"3\", as insight.columns[0]; name each column once",
    );
    // Positions are those of the list, even behind an entry with a fault.
    assert_eq!(
        faults(r#"{"insight": {"columns": [{"index": -1}, {"name": "a"}, {"name": "a"}]}}"#),
        [
            "insight.columns[0].index: is -1; write a whole number from 0 to 9999",
            "insight.columns[2]: is \"a\", as insight.columns[1]; name each column once",
        ]
    );
    check(
        r#"[{"name": "a", "mim": 2}]"#,
        "insight.columns[0].mim: is not a field; allowed here are name, index, min, max",
    );
}

#[test]
fn body_names_the_model_only_with_insight() {
    let model = |json: &str, path: &[u8]| {
        let config = Config::parse(json.as_bytes()).unwrap();
        config.find(path, || b"POST").unwrap().route.model.clone()
    };
    let grpc = b"/inference.GRPCInferenceService/ModelInfer";
    for path in [&b"/v1/chat/completions"[..], grpc] {
        assert_eq!(model("{}", path), Source::Path);
        assert_eq!(model(r#"{"insight": {}}"#, path), Source::Body);
    }
    for source in [r#"{"body": "model"}"#, r#"{"grpc": 1}"#] {
        let route = format!(r#"{{"name": "r", "method": "POST", "path": "/r", "model": {source}}}"#);
        let json = format!("{{\"insight\": {{}}, \"routes\": [{route}]}}");
        assert_eq!(model(&json, b"/r"), Source::Body);
    }
}

#[test]
fn body_sources_are_only_the_known_ones() {
    for source in [r#"{"body": "name"}"#, r#"{"grpc": 2}"#, r#"{"body": "model", "grpc": 1}"#] {
        check_fault(
            &format!(r#"{{"routes": [{{"name": "r", "method": "POST", "path": "/r", "model": {source}}}]}}"#),
            "routes[0].model: is an object; write {\"header\": \"x-model-name\"}, or another header; or \
             {\"body\": \"model\"} for JSON, {\"grpc\": 1} for gRPC",
        );
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let json = r#"{"routes": [{"preset": "x"}, {"name": "", "method": "", "path": ""}, 3], "bounds_seconds": [2, 1],
        "max_series": -1, "error_types": {"1": "a"}, "extra": [1], "latency_resolution": 2, "duration_codes": 1, "z": null}"#;
    let places: Vec<String> =
        faults(json).iter().map(|fault| fault.split(": ").next().unwrap().to_owned()).collect();
    let expected = [
        "z",
        "routes[0].preset",
        "routes[1].name",
        "routes[1].method",
        "routes[1].path",
        "routes[2]",
        "bounds_seconds[1]",
        "max_series",
        "error_types.1",
        "error_types.1",
        "extra[0]",
        "latency_resolution",
        "duration_codes",
    ];
    assert_eq!(places, expected);
}

#[test]
fn hostile_configuration_has_faults_of_one_line() {
    let long = "x".repeat(10_000);
    for json in [
        format!("{{\"a\\nb{long}\": 1}}"),
        format!("{{\"max_series\": \"a\\nb{long}\"}}"),
        format!("{{\"error_types\": {{\"\\n{long}\": \"\\n\"}}}}"),
        format!("{{\"routes\": [{{\"preset\": \"\\n{long}\"}}]}}"),
        format!(
            "{{\"routes\": [{{\"name\": \"\\n{long}\", \"method\": \"\\n\", \"path\": \"\\n{long}\"}}]}}"
        ),
    ] {
        let faults = faults(&json);
        assert!(!faults.is_empty());
        for fault in faults {
            assert!(!fault.contains('\n') && fault.len() < 300, "{fault}");
        }
    }
}

#[test]
fn accepts_the_limits_and_rejects_one_more() {
    let bounds: Vec<String> = (1..=40).map(|bound| bound.to_string()).collect();
    let route =
        |number| format!("{{\"name\": \"r\", \"method\": \"POST\", \"path\": \"/{number}/{{model}}\"}}");
    let routes: Vec<String> = (0..256).map(route).collect();
    let json = |bounds: &[String], routes: &[String], series: u32| {
        format!(
            "{{\"bounds_seconds\": [{}], \"routes\": [{}], \"max_series\": {series}}}",
            bounds.join(","),
            routes.join(",")
        )
    };
    assert_eq!(faults(&json(&bounds, &routes, 10_000)), [""; 0]);
    let more = |list: &[String], one: &str| [list, &[one.to_owned()]].concat();
    let too_much = json(&more(&bounds, "41"), &more(&routes, &route(256)), 10_001);
    assert_eq!(faults(&too_much).len(), 3, "{:?}", faults(&too_much));
}
