use scoretap_core::outcome::flag::{
    self, DC, DF, DO, DPE, DR, DT, LH, LR, NC, NR, OM, SI, UC, UDO, UF, UH, UMSDR, UO, UPE, UR, URX, UT,
};
use scoretap_core::outcome::{Ending, Outcome, Overrides, Status};

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use Outcome::*;

const BEFORE: &str = "upstream_reset_before_response_started{connection_termination}";
const AFTER: &str = "upstream_reset_after_response_started{protocol_error}";

#[track_caller]
fn check(cases: &[(&str, u16, u64, &str, Outcome)]) {
    for (name, code, flags, details, expected) in cases {
        let details = Some(details.as_bytes()).filter(|details| !details.is_empty());
        let ending = Ending { code: *code, details, grpc: None };
        assert_eq!(ending.outcome(&Overrides::default(), || *flags), *expected, "{name}");
    }
}

#[test]
fn statuses_of_the_app() {
    let app = "via_upstream";
    check(&[
        ("switching protocols", 101, 0, app, Success),
        ("ok", 200, 0, app, Success),
        ("no content", 204, 0, app, Success),
        ("redirect", 302, 0, app, Success),
        ("not modified", 304, 0, app, Success),
        ("bad request", 400, 0, app, InvalidInput),
        ("unauthorized", 401, 0, app, Unauthorized),
        ("payment", 402, 0, app, InvalidInput),
        ("forbidden", 403, 0, app, Unauthorized),
        ("not found", 404, 0, app, NotFound),
        ("method", 405, 0, app, NotFound),
        ("proxy auth", 407, 0, app, Unauthorized),
        ("request timeout", 408, 0, app, Timeout),
        ("conflict", 409, 0, app, InvalidInput),
        ("gone", 410, 0, app, NotFound),
        ("too large", 413, 0, app, InvalidInput),
        ("unprocessable", 422, 0, app, InvalidInput),
        ("too many", 429, 0, app, RateLimited),
        ("last 4xx", 499, 0, app, InvalidInput),
        ("crash", 500, 0, app, ModelError),
        ("bad gateway", 502, 0, app, ModelError),
        ("unavailable", 503, 0, app, ModelError),
        ("gateway timeout", 504, 0, app, Timeout),
        ("beyond http", 999, 0, app, ModelError),
    ]);
}

#[test]
fn flags_win_over_the_status() {
    check(&[
        ("timeout, nothing sent", 504, UT, "response_timeout", Timeout),
        ("timeout after a 200 had begun", 200, UT, "response_timeout", Timeout),
        ("stream idle", 200, SI, "stream_idle_timeout", Timeout),
        ("longest stream", 200, UMSDR, "upstream_max_stream_duration_reached", Timeout),
        ("longest duration", 504, DT, "max_duration_timeout", Timeout),
        ("longest duration of a connection manager's, no flag", 200, 0, "max_duration_timeout", Timeout),
        ("health check failed", 503, LH, "health_check_failed", Unavailable),
        ("no healthy upstream", 503, UH, "no_healthy_upstream", Unavailable),
        (
            "refused",
            503,
            UF,
            "upstream_reset_before_response_started{remote_connection_failure}",
            Unavailable,
        ),
        ("refused, after retries", 503, UF | URX, BEFORE, Unavailable),
        ("no cluster", 503, NC, "cluster_not_found", Unavailable),
        ("no such host", 503, DF, "dns_resolution_failure", Unavailable),
        ("reset before the response", 503, UC, BEFORE, Unavailable),
        ("remote reset before", 503, UR, BEFORE, Unavailable),
        ("local reset before", 503, LR, BEFORE, Unavailable),
        ("garbage instead of a response", 502, UPE, BEFORE, Unavailable),
        ("broke off after 200", 200, UPE, AFTER, Truncated),
        ("reset after 200", 200, UC, AFTER, Truncated),
        ("reset after 500", 500, UR, AFTER, Truncated),
        ("local reset after 200", 200, LR, AFTER, Truncated),
        ("no such host, without details", 503, DF, "", Unavailable),
        ("circuit breaker", 503, UO, "upstream_reset_before_response_started{overflow}", Overloaded),
        ("overload manager", 503, OM, "overload", Overloaded),
        ("drop overload", 503, DO, "drop_overload", Overloaded),
        ("unconditional drop", 503, UDO, "unconditional_drop_overload", Overloaded),
    ]);
}

#[test]
fn caller_leaving_cancels_unless_failed_before() {
    check(&[
        ("nothing sent", 0, DC, "downstream_remote_disconnect", Cancelled),
        ("while it was answered", 200, DC, "downstream_remote_disconnect", Cancelled),
        ("while an error was answered", 500, DC, "downstream_remote_disconnect", Cancelled),
        ("stream reset by the caller", 0, DR, "http2.remote_reset", Cancelled),
        ("while connecting failed again and again", 0, DC | UF, "downstream_remote_disconnect", Cancelled),
        ("after a timeout", 504, DC | UT, "response_timeout", Timeout),
        ("after a refusal", 503, DC | UF, "", Unavailable),
        ("after the response broke", 200, DC | UPE, AFTER, Truncated),
        ("no flag, but details", 0, 0, "downstream_remote_disconnect", Cancelled),
        ("http/2, no flag", 0, 0, "http2.remote_reset", Cancelled),
        ("http/2, no reason given at all", 0, 0, "", Cancelled),
        ("protocol broken, told so", 400, DPE, "http1.codec_error", InvalidInput),
        ("protocol broken, no way to tell", 0, DPE, "http2.violation.of.messaging.rule", Cancelled),
        ("protocol broken while answered", 200, DPE, "codec_error", Cancelled),
    ]);
}

#[test]
fn envoys_statuses_are_not_the_apps() {
    check(&[
        ("by a filter", 503, 0, "ext_proc_error", Unavailable),
        ("by a filter, 500", 500, 0, "lua_response", Unavailable),
        ("overload without a flag", 503, 0, "overload", Overloaded),
        ("no route", 404, NR, "route_not_found", NotFound),
        ("access denied", 403, 0, "rbac_access_denied_matched_policy[none]", Unauthorized),
        ("rate limit", 429, 1 << 11, "request_rate_limited", RateLimited),
        ("nobody knows", 503, 0, "", ModelError),
        ("nothing sent, flags unknown", 0, 1 << 40, "", Unavailable),
        (
            "Envoy closed before an answer",
            0,
            DC,
            "downstream_local_disconnect(filter_chain_is_being_removed)",
            Unavailable,
        ),
        ("Envoy closed during the answer", 200, DC, "downstream_local_disconnect", Truncated),
        ("reset, when is unknown, error", 503, UC, "", Unavailable),
        ("reset, when is unknown, 200", 200, UC, "", Truncated),
        ("reset, when is unknown, 404", 404, UC, "", Truncated),
        ("reset of a retry, then answered", 200, UC, "via_upstream", Success),
        ("no more retries, so the app's answer", 503, UO | URX, "via_upstream", ModelError),
        ("unknown flags", 200, !((1 << 30) - 1), "via_upstream", Success),
        ("health check failed", 503, LH, "", Unavailable),
        ("no healthy app", 503, UH, "", Unavailable),
        ("Envoy reset, when is unknown", 503, LR, "", Unavailable),
        ("the app reset, when is unknown", 503, UR, "", Unavailable),
        ("caller left, no flag, answered", 404, 0, "downstream_remote_disconnect", NotFound),
        ("caller left, no flag, nothing sent", 0, 0, "downstream_remote_disconnect", Cancelled),
    ]);
}

/// The positions in `CoreResponseFlag` of Envoy 1.36 and 1.40.
#[test]
fn flags_have_envoys_positions() {
    let positions = [
        (LH, 0),
        (UH, 1),
        (UT, 2),
        (LR, 3),
        (UR, 4),
        (UF, 5),
        (UC, 6),
        (UO, 7),
        (NR, 8),
        (flag::RL, 11),
        (DC, 14),
        (URX, 15),
        (SI, 16),
        (DPE, 18),
        (UMSDR, 19),
        (DT, 22),
        (UPE, 23),
        (NC, 24),
        (OM, 25),
        (DF, 26),
        (DO, 27),
        (DR, 28),
        (UDO, 29),
    ];
    for (flag, position) in positions {
        assert_eq!(flag.trailing_zeros(), position);
        assert!(flag.is_power_of_two(), "{position}");
    }
}

#[test]
fn websocket_cut_off_by_envoy_is_no_success() {
    check(&[
        ("by the app", 101, UC, AFTER, Success),
        ("without a word", 101, UPE, "", Success),
        ("by a timeout", 101, SI, "stream_idle_timeout", Timeout),
        ("by the longest duration, no flag", 101, 0, "max_duration_timeout", Timeout),
        ("by the overload manager", 101, OM, "overload", Overloaded),
        ("by the overload manager, no flag", 101, 0, "overload_manager_reset", Overloaded),
        ("by the caller", 101, DC, "downstream_remote_disconnect", Success),
    ]);
}

#[test]
fn whole_answer_without_a_caller_has_its_status() {
    let whole = |code, grpc| {
        let ending = Ending { code, details: Some(b"http2.remote_reset"), grpc };
        ending.outcome_of_whole_answer(&Overrides::default())
    };
    assert_eq!(whole(200, None), Some(Success));
    assert_eq!(whole(500, None), Some(ModelError));
    assert_eq!(whole(200, Some(5)), Some(NotFound));
    assert_eq!(whole(0, None), None);
}

#[test]
fn flags_are_read_only_without_app_answer() {
    for (code, grpc) in [(200, None), (404, None), (503, None), (200, Some(0)), (200, Some(13))] {
        let ending = Ending { code, details: Some(b"via_upstream"), grpc };
        ending.outcome(&Overrides::default(), || panic!("asked for {code}"));
    }
}

#[test]
fn grpc_statuses() {
    let outcomes = [
        Success,
        ModelError,
        ModelError,
        InvalidInput,
        Timeout,
        NotFound,
        ModelError,
        Unauthorized,
        RateLimited,
        InvalidInput,
        ModelError,
        InvalidInput,
        NotFound,
        ModelError,
        ModelError,
        ModelError,
        Unauthorized,
    ];
    for (status, expected) in (0..).zip(outcomes) {
        let ending = Ending { code: 200, details: Some(b"via_upstream"), grpc: Some(status) };
        assert_eq!(ending.outcome(&Overrides::default(), || 0), expected, "{status}");
    }
    let of_envoy = |details: &'static str, flags| {
        let ending = Ending { code: 200, details: Some(details.as_bytes()), grpc: Some(14) };
        ending.outcome(&Overrides::default(), || flags)
    };
    assert_eq!(of_envoy("direct_response", 0), Unavailable);
    assert_eq!(of_envoy("local_rate_limited", 1 << 11), RateLimited);
    assert_eq!(of_envoy(AFTER, UPE), Truncated);
}

#[test]
fn names_round_trip() {
    for outcome in Outcome::ALL {
        assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        assert_eq!(outcome.error_type().is_some(), outcome.status() == Status::Failure, "{outcome:?}");
    }
    for status in Status::ALL {
        assert_eq!(Status::parse(status.as_str()), Some(status));
    }
    assert_eq!(Outcome::parse("Success"), None);
}
