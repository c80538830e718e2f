//! The counters that calls add to.

use crate::call::{FakeCall, MILLISECOND, post};
use crate::engine::{Engine, Native};
use crate::vm::Vm;
use crate::world::World;

/// Counts the calls in both engines and compares all counters, without `scoretap.`, with what is expected.
#[track_caller]
fn check(configuration: &str, calls: &[FakeCall], expected: &[(&str, u64)]) {
    let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    assert_eq!(counted::<Native>(configuration, calls), expected, "as compiled here");
    assert_eq!(counted::<Vm>(configuration, calls), expected, "as packaged");
}

/// As [`check`], but only of how calls ended, and without the templates that they matched.
#[track_caller]
fn check_calls(configuration: &str, calls: &[FakeCall], expected: &[(&str, u64)]) {
    let end = |(name, value): &(String, u64)| {
        let mut words: Vec<_> = name.strip_prefix("call.")?.split('.').collect();
        words.remove(4);
        Some((words.join("."), *value))
    };
    let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    for counted in [counted::<Native>(configuration, calls), counted::<Vm>(configuration, calls)] {
        assert_eq!(counted.iter().filter_map(end).collect::<Vec<_>>(), expected);
    }
}

fn counted<E: Engine>(configuration: &str, calls: &[FakeCall]) -> Vec<(String, u64)> {
    let world = World::default();
    let mut engine = E::start(&world, configuration);
    calls.iter().for_each(|call| engine.log(call));
    let counters =
        world.stats("scoretap.").into_iter().map(|(name, value)| (name.replacen("scoretap.", "", 1), value));
    counters.filter(|(name, _)| name != "config" && !name.starts_with("bounds.")).collect()
}

#[test]
fn call_adds_to_one_counter_cell_and_sum() {
    check(
        "{}",
        &[post("/score"), post("/score").took(4 * MILLISECOND)],
        &[
            ("call.score.~.~.POST./score.200.success", 2),
            ("cell.score.~.~.POST./score.duration.success.5000000", 2),
            ("sum.score.~.~.POST./score.duration.success", 7 * MILLISECOND),
        ],
    );
}

#[test]
fn endpoints_of_one_series_are_counted_apart() {
    let calls = [post("/v1/models/m:predict"), post("/v1/models/m:explain").took(2)];
    check(
        "{}",
        &calls,
        &[
            ("call.kserve-v1.m.~.POST./v1/models/{model}%3Aexplain.200.success", 1),
            ("call.kserve-v1.m.~.POST./v1/models/{model}%3Apredict.200.success", 1),
            ("cell.kserve-v1.m.~.POST./v1/models/{model}%3Aexplain.duration.success.1000000", 1),
            ("cell.kserve-v1.m.~.POST./v1/models/{model}%3Apredict.duration.success.5000000", 1),
            ("sum.kserve-v1.m.~.POST./v1/models/{model}%3Aexplain.duration.success", 2),
            ("sum.kserve-v1.m.~.POST./v1/models/{model}%3Apredict.duration.success", 3 * MILLISECOND),
        ],
    );
}

#[test]
fn unmatched_call_is_only_seen() {
    let calls = [
        post("/health"),
        post("/score").method("GET"),
        post("/score").method("post"),
        post("/score/x"),
        post("/v1/models/:predict"),
        post("/v1/models/a/b:predict"),
        FakeCall::default(),
    ];
    check("{}", &calls, &[("unmatched", 7)]);
}

#[test]
fn every_preset_matches_what_its_server_answers() {
    let matched = [
        ("/score", "score.~.~"),
        ("/score/", "score.~.~"),
        ("/score?x=/predict", "score.~.~"),
        ("/predict", "predict.~.~"),
        ("/invocations", "invocations.~.~"),
        ("/v1/models/iris:predict", "kserve-v1.iris.~"),
        ("/v1/models/iris:explain", "kserve-v1.iris.~"),
        ("/v1/models/a:b:predict", "kserve-v1.a%3Ab.~"),
        ("/v2/models/iris/infer", "kserve-v2.iris.~"),
        ("/v2/models/iris/versions/3/infer", "kserve-v2.iris.3"),
        ("/v1/models/iris:classify", "tf-serving.iris.~"),
        ("/v1/models/iris/versions/3:predict", "tf-serving.iris.3"),
        ("/v1/models/iris/versions/3:regress", "tf-serving.iris.3"),
        ("/v1/models/iris/labels/stable:predict", "tf-serving.iris.stable"),
        ("/predictions/iris", "torchserve.iris.~"),
        ("/predictions/iris/1.0", "torchserve.iris.1%2E0"),
        ("/v2/models/llm/generate", "triton-generate.llm.~"),
        ("/v2/models/llm/versions/2/generate_stream", "triton-generate.llm.2"),
        ("/v1/chat/completions", "openai.~.~"),
        ("/v1/completions", "openai.~.~"),
        ("/v1/embeddings", "openai.~.~"),
        ("/api/v1.0/predictions", "seldon.~.~"),
        ("/inference.GRPCInferenceService/ModelInfer", "kserve-grpc.~.~"),
    ];
    for (path, series) in matched {
        check_calls("{}", &[post(path)], &[(&format!("{series}.POST.200.success"), 1)]);
    }
}

#[test]
fn first_matching_route_wins() {
    let tf_only = r#"{"routes": [{"preset": "tf-serving"}]}"#;
    check_calls(tf_only, &[post("/v1/models/m:predict")], &[("tf-serving.m.~.POST.200.success", 1)]);
    let own = r#"{"routes": [{"name": "mine", "method": "GET", "path": "/m/{model}"}, {"preset": "score"}]}"#;
    let calls = [post("/m/a").method("GET"), post("/m/a"), post("/score")];
    check_calls(own, &calls, &[("mine.a.~.GET.200.success", 1), ("score.~.~.POST.200.success", 1)]);
}

#[test]
fn names_decode_once_invalid_labels_become_other() {
    let named = [
        ("my%20model", "my%20model"),
        ("a%2Fb", "a/b"),
        ("a%2520b", "a%2520b"),
        ("100%", "100%25"),
        ("%zz", "%25zz"),
        ("a.b\"c\\d", "a%2Eb%22c%5Cd"),
        ("a%0Ab", "a%0Ab"),
        ("h%C3%A9", "h%C3%A9"),
        ("hé", "h%C3%A9"),
        ("other", "other"),
        ("~", "%7E"),
        ("*", "%2A"),
    ];
    for (written, encoded) in named {
        let expected = format!("kserve-v1.{encoded}.~.POST.200.success");
        check_calls("{}", &[post(&format!("/v1/models/{written}:predict"))], &[(&expected, 1)]);
    }
    let long = "m".repeat(10_000);
    for written in ["%FF%FE", "a%00b", &long, &"m".repeat(257)] {
        let call = post(&format!("/v1/models/{written}:predict"));
        check_calls("{}", &[call], &[("kserve-v1.*.*.POST.200.success", 1)]);
    }
    let raw = post("").header(":path", b"/v1/models/\xff:predict");
    check_calls("{}", &[raw], &[("kserve-v1.*.*.POST.200.success", 1)]);
}

#[test]
fn model_and_version_may_be_in_headers() {
    let configuration = r#"{"routes": [{"name": "r", "method": "POST", "path": "/{version}/r",
        "model": {"header": "X-Model-Name"}}]}"#;
    let calls = [
        post("/3/r").header("x-model-name", "iris"),
        post("/3/r").header("x-model-name", ""),
        post("/3/r"),
        post("/3/r").header("x-model-name", b"\xff"),
        post("/3%30/r").header("x-model-name", "a%20b"),
    ];
    let expected = [
        ("r.*.*.POST.200.success", 1),
        ("r.a%2520b.30.POST.200.success", 1),
        ("r.iris.3.POST.200.success", 1),
        ("r.~.3.POST.200.success", 2),
    ];
    check_calls(configuration, &calls, &expected);
}

#[test]
fn value_on_a_bound_is_in_its_cell() {
    let cell_of = |nanoseconds: u64, cell: &str| {
        let expected = [
            ("call.score.~.~.POST./score.200.success", 1),
            (&*format!("cell.score.~.~.POST./score.duration.success.{cell}"), 1),
            ("sum.score.~.~.POST./score.duration.success", nanoseconds),
        ];
        check("{}", &[post("/score").took(nanoseconds)], &expected);
    };
    cell_of(0, "1000000");
    let bounds = scoretap_core::histogram::DEFAULT_TIME_BOUNDS;
    for (position, bound) in bounds.into_iter().enumerate() {
        cell_of(bound - 1, &bound.to_string());
        cell_of(bound, &bound.to_string());
        let next = bounds.get(position + 1).map_or_else(|| "inf".to_owned(), u64::to_string);
        cell_of(bound + 1, &next);
    }
}

#[test]
fn configured_bounds_are_kept_to_the_nanosecond() {
    let configuration = r#"{"bounds_seconds": [0.000000001, 0.1, 0.3, 2.675, 86400]}"#;
    for bound in [1, 100_000_000, 300_000_000, 2_675_000_000, 86_400_000_000_000] {
        let cell = format!("cell.score.~.~.POST./score.duration.success.{bound}");
        let sum = ("sum.score.~.~.POST./score.duration.success", bound);
        let call = ("call.score.~.~.POST./score.200.success", 1);
        check(configuration, &[post("/score").took(bound)], &[call, (&cell, 1), sum]);
    }
}

#[test]
fn extra_histograms_are_counted_where_they_are_wanted() {
    let call = post("/score")
        .number("response.backend_latency", 2 * MILLISECOND)
        .number("request.size", 256)
        .number("request.total_size", 400)
        .number("response.size", 257);
    let configuration = r#"{"extra": ["backend_duration", "request_bytes", "response_bytes"]}"#;
    check(
        configuration,
        &[call, post("/score")],
        &[
            ("call.score.~.~.POST./score.200.success", 2),
            ("cell.score.~.~.POST./score.backend_duration.success.5000000", 1),
            ("cell.score.~.~.POST./score.duration.success.5000000", 2),
            ("cell.score.~.~.POST./score.request_bytes.success.256", 1),
            ("cell.score.~.~.POST./score.response_bytes.success.1024", 1),
            ("sum.score.~.~.POST./score.backend_duration.success", 2 * MILLISECOND),
            ("sum.score.~.~.POST./score.duration.success", 6 * MILLISECOND),
            ("sum.score.~.~.POST./score.request_bytes.success", 256),
            ("sum.score.~.~.POST./score.response_bytes.success", 257),
        ],
    );
}

#[test]
fn declared_request_bytes_never_exceed_received_bytes() {
    let declared = |size| post("/score").number("request.size", size).number("request.total_size", 310);
    let configuration = r#"{"extra": ["request_bytes"]}"#;
    let calls = [declared(100), declared(i64::MAX as u64), declared(u64::MAX)];
    for counted in [counted::<Native>(configuration, &calls), counted::<Vm>(configuration, &calls)] {
        let sum = counted.iter().find(|(name, _)| name == "sum.score.~.~.POST./score.request_bytes.success");
        assert_eq!(sum.map(|(_, sum)| *sum), Some(100 + 310 + 310));
    }
}

#[test]
fn native_cells_lie_within_classic_ones() {
    // 2^(-64/8) s = 3.90625 ms ends bucket -64; 4.26 ms ends the next.
    let calls = [
        post("/score").took(0),
        post("/score").took(3_906_250),
        post("/score").took(3_906_251),
        post("/score").took(5_000_001),
    ];
    check(
        r#"{"latency_resolution": "native"}"#,
        &calls,
        &[
            ("call.score.~.~.POST./score.200.success", 4),
            ("cell.score.~.~.POST./score.duration.success.1000000.zero", 1),
            ("cell.score.~.~.POST./score.duration.success.10000000.-61", 1),
            ("cell.score.~.~.POST./score.duration.success.5000000.-63", 1),
            ("cell.score.~.~.POST./score.duration.success.5000000.-64", 1),
            ("sum.score.~.~.POST./score.duration.success", 12_812_502),
        ],
    );
}

#[test]
fn overrides_hold_for_statuses_and_not_against_flags() {
    let configuration = r#"{"error_types": {"404": "success", "200": "model_error"}}"#;
    let calls =
        [post("/score").code(404), post("/score"), post("/score").flag(2).details("response_timeout")];
    let expected = [
        ("score.~.~.POST.200.model_error", 1),
        ("score.~.~.POST.200.timeout", 1),
        ("score.~.~.POST.404.success", 1),
    ];
    check_calls(configuration, &calls, &expected);
}

#[test]
fn grpc_status_wins_over_http_status() {
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let outcomes = [
        (0, "success"),
        (1, "model_error"),
        (3, "invalid_input"),
        (4, "timeout"),
        (5, "not_found"),
        (8, "rate_limited"),
        (14, "model_error"),
        (16, "unauthorized"),
        (99, "model_error"),
    ];
    for (status, outcome) in outcomes {
        let expected = format!("kserve-grpc.~.~.POST.200.{outcome}");
        check_calls("{}", &[post(path).grpc(status)], &[(&expected, 1)]);
    }
    let without_status = post(path).grpc(0).without("response.grpc_status");
    check_calls("{}", &[without_status], &[("kserve-grpc.~.~.POST.200.model_error", 1)]);
    // A proxy on the way answers in HTTP; what Envoy makes a gRPC status of, 14, would not say that it is a limit.
    let limited = post(path).grpc(14).code(429);
    check_calls("{}", &[limited], &[("kserve-grpc.~.~.POST.429.rate_limited", 1)]);
    for content_type in ["application/grpc+proto", "application/grpc;x=y"] {
        let call = post(path).grpc(5).header("content-type", content_type);
        check_calls("{}", &[call], &[("kserve-grpc.~.~.POST.200.not_found", 1)]);
    }
    // Envoy gives every call a gRPC status: of one that is not gRPC it means nothing.
    for content_type in ["application/json", "application/grpc-web", "application/grpcfoo", ""] {
        let call = post(path).grpc(2).header("content-type", content_type);
        check_calls("{}", &[call], &[("kserve-grpc.~.~.POST.200.success", 1)]);
    }
    // A caller may call anything gRPC.
    let pretended = post(path).grpc(2).response_type("application/json");
    check_calls("{}", &[pretended], &[("kserve-grpc.~.~.POST.200.success", 1)]);
    // Only `/Service/Method` is a path of gRPC's.
    check_calls("{}", &[post("/score").grpc(2)], &[("score.~.~.POST.200.success", 1)]);
    let own = r#"{"routes": [{"name": "own", "method": "POST", "path": "/a.B/{model}"}]}"#;
    check_calls(own, &[post("/a.B/C").grpc(2)], &[("own.C.~.POST.200.model_error", 1)]);
}

#[test]
fn unmeasured_call_is_still_counted() {
    check(
        "{}",
        &[post("/score").without("request.duration")],
        &[("call.score.~.~.POST./score.200.success", 1)],
    );
}

#[test]
fn invalid_configuration_logs_faults_and_matches_nothing() {
    fn faults<E: Engine>() -> (Vec<String>, Vec<(String, u64)>) {
        let world = World::default();
        let mut engine = E::start(&world, r#"{"max_series": 0, "extra": ["x"], "nope": 1}"#);
        engine.log(&post("/score"));
        let log = std::mem::take(&mut world.lock().log);
        (log, world.stats("scoretap."))
    }
    let said = [
        "scoretap configuration: nope: is not a field; allowed here are routes, bounds_seconds, max_series, \
         error_types, extra, latency_resolution, duration_codes, insight",
        "scoretap configuration: max_series: is 0; write a whole number from 1 to 10000",
        "scoretap configuration: extra[0]: is \"x\"; allowed are backend_duration, request_bytes, response_bytes",
    ];
    let stats = [("scoretap.config".to_owned(), 0), ("scoretap.unmatched".to_owned(), 1)];
    for (log, counted) in [faults::<Native>(), faults::<Vm>()] {
        assert_eq!(log, said);
        assert_eq!(counted, stats);
    }
}
