//! Every way in which a call can end, provoked on real Envoy.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use scoretap_tests::apps::{Break, Broken, GrpcModel, local};
use scoretap_tests::bootstrap::Bootstrap;
use scoretap_tests::http::{self, Call, Endpoint, Protocol, grpc};
use scoretap_tests::ports;
use scoretap_tests::stack::{Folders, Stack, StackBuilder, Upstream, WayIn};
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::wait::{STARTUP, wait_until};

use crate::{ROW, by_envoy, responses, score, seen};

const MOMENT: Duration = Duration::from_millis(300);

/// Runs a test in both ways in and on both Envoys.
fn everywhere(name: &str, test: impl Fn(StackBuilder)) {
    for envoy in EnvoyVersion::ALL {
        for way_in in WayIn::ALL {
            let name = format!("{name}-{}-{}", envoy.as_str(), way_in.as_str());
            test(Stack::builder(&name).envoy(envoy).way_in(way_in));
        }
    }
}

/// Exactly `count` calls ended so, and are what their status says.
#[track_caller]
fn check(stack: &Stack, route: &str, model: &str, code: &str, outcome: &str, count: u32) {
    let labels = [("route", route), ("model_name", model)];
    let coded = [&labels[..], &[("code", code)]].concat();
    let expected = f64::from(count);
    assert_eq!(
        responses(stack, &coded),
        expected,
        "{model}: code {code}\n{}",
        stack.envoy_stats("scoretap.call")
    );
    let metrics = stack.metrics();
    let (family, label, value) = match outcome {
        "success" | "cancelled" => ("prediction_requests_total", "status", outcome),
        error_type => ("prediction_errors_total", "error_type", error_type),
    };
    let ended = [&labels[..], &[(label, value)]].concat();
    assert_eq!(
        metrics.sum(family, &ended),
        expected,
        "{model}: {outcome}\n{}",
        stack.envoy_stats("scoretap.call")
    );
}

#[track_caller]
fn check_nothing_unseen(stack: &Stack) {
    stack.settle();
    let metrics = stack.metrics();
    assert_eq!(seen(&metrics), by_envoy(&metrics));
}

#[test]
fn what_the_app_answers() {
    everywhere("app", |builder| {
        let stack = builder.start().unwrap();
        let statuses = [
            (200, "success"),
            (302, "success"),
            (400, "invalid_input"),
            (401, "unauthorized"),
            (404, "not_found"),
            (408, "timeout"),
            (409, "invalid_input"),
            (429, "rate_limited"),
            (500, "model_error"),
            (503, "model_error"),
            (504, "timeout"),
        ];
        for (status, outcome) in statuses {
            let path = format!("/v1/models/m{status}:predict");
            if status >= 400 {
                // A name is admitted once a call shows that the model exists.
                assert_eq!(stack.call(Call::post(&path, ROW)).unwrap().status, 200);
            }
            let answer =
                stack.call(Call::post(&path, format!(r#"{{"data": [], "status": {status}}}"#))).unwrap();
            assert_eq!(answer.status, status);
            check(&stack, "kserve-v1", &format!("m{status}"), &status.to_string(), outcome, 1);
        }
        let crash = r#"{"data": [["abc", 2, 3, 4, 5, 6, 7, 8, 9]]}"#;
        assert_eq!(stack.call(Call::post("/predict", crash)).unwrap().status, 500);
        check(&stack, "predict", "unknown", "500", "model_error", 1);
        check_nothing_unseen(&stack);
    });
}

#[test]
fn an_app_that_breaks() {
    everywhere("broken", |builder| {
        let broken = Broken::start().unwrap();
        let builder = builder.upstream(Upstream::Http1(broken.address));
        let stack =
            builder.edit_listener(|listener| listener.route()["timeout"] = "1s".into()).start().unwrap();
        let endings = [
            (Break::Ok, "200", "success"),
            (Break::Drip, "200", "success"),
            (Break::Reset, "503", "unavailable"),
            (Break::Close, "503", "unavailable"),
            (Break::Garbage, "502", "unavailable"),
            (Break::ResetMidBody, "200", "truncated"),
            (Break::CloseMidChunks, "200", "truncated"),
            (Break::Hang, "504", "timeout"),
            (Break::HangMidBody, "200", "timeout"),
        ];
        assert_eq!(endings.len(), Break::ALL.len());
        for (way, code, outcome) in endings {
            for protocol in [Protocol::Http1, Protocol::Http2] {
                let _ = stack.call_over(protocol, Call::post(&way.path(), "{}"));
            }
            check(&stack, "kserve-v1", way.as_str(), code, outcome, 2);
        }
        check_nothing_unseen(&stack);
    });
}

/// Envoy has no flag for this one.
#[test]
fn stream_beyond_max_stream_duration_is_a_timeout() {
    everywhere("longest", |builder| {
        let broken = Broken::start().unwrap();
        let longest = |bootstrap: &mut Bootstrap| {
            bootstrap.manager()["common_http_protocol_options"]["max_stream_duration"] = "0.5s".into();
        };
        let stack = builder.upstream(Upstream::Http1(broken.address)).edit_listener(longest).start().unwrap();
        for (way, code) in [(Break::Hang, "504"), (Break::HangMidBody, "200")] {
            let _ = stack.call(Call::post(&way.path(), "{}"));
            check(&stack, "kserve-v1", way.as_str(), code, "timeout", 1);
        }
    });
}

#[test]
fn calls_cut_by_envoy_are_not_cancelled() {
    for way_in in WayIn::ALL {
        let broken = Broken::start().unwrap();
        let builder = Stack::builder(&format!("cut-{}", way_in.as_str())).way_in(way_in).dynamic();
        let mut stack = builder.upstream(Upstream::Http1(broken.address)).start().unwrap();
        let ways = [(Break::Hang, "0", "unavailable"), (Break::HangMidBody, "200", "truncated")];
        std::thread::scope(|scope| {
            let address = stack.address;
            for (way, ..) in ways {
                let call = Call::post(&way.path(), "{}");
                scope.spawn(move || http::call(&Endpoint::Tcp(address), Protocol::Http1, call));
            }
            wait_until("both calls are in flight", STARTUP, || stack.in_flight() == 2);
            stack.reconfigure(r#"{"max_series": 100}"#).unwrap();
        });
        for (way, code, outcome) in ways {
            check(&stack, "kserve-v1", way.as_str(), code, outcome, 1);
        }
    }
}

#[test]
fn a_path_is_matched_percent_encoded_too() {
    let stack = Stack::builder("encoded").start().unwrap();
    for path in ["/v1/models/iris%3Apredict", "/v1/models/iris:predict", "/%73core"] {
        assert_eq!(stack.call(Call::post(path, ROW)).unwrap().status, 200, "the app serves {path}");
    }
    check(&stack, "kserve-v1", "iris", "200", "success", 2);
    check(&stack, "score", "unknown", "200", "success", 1);
}

#[test]
fn an_app_that_is_not_there() {
    everywhere("refused", |builder| {
        let nobody = local(ports::free());
        let stack = builder.upstream(Upstream::Http1(nobody)).start().unwrap();
        assert_eq!(stack.call(score()).unwrap().status, 503);
        check(&stack, "score", "unknown", "503", "unavailable", 1);
        check_nothing_unseen(&stack);
    });
}

#[test]
fn no_healthy_upstream() {
    everywhere("unhealthy", |builder| {
        let stack = builder
            .upstream(Upstream::Http1(local(ports::free())))
            .edit_cluster(|bootstrap| {
                let endpoint = "/load_assignment/endpoints/0/lb_endpoints/0";
                bootstrap.cluster().pointer_mut(endpoint).unwrap()["health_status"] = "UNHEALTHY".into();
                bootstrap.cluster()["common_lb_config"] = json!({"healthy_panic_threshold": {"value": 0}});
            })
            .start()
            .unwrap();
        assert_eq!(stack.call(score()).unwrap().status, 503);
        check(&stack, "score", "unknown", "503", "unavailable", 1);
    });
}

#[test]
fn a_full_circuit_breaker() {
    everywhere("breaker", |builder| {
        let broken = Broken::start().unwrap();
        let stack = builder
            .upstream(Upstream::Http1(broken.address))
            .edit_cluster(|bootstrap| {
                bootstrap.cluster()["circuit_breakers"] = json!({"thresholds": [{"max_requests": 1}]});
            })
            .start()
            .unwrap();
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| stack.call(Call::post(&Break::Held.path(), "{}")).unwrap());
            let active = || stack.envoy_stat("cluster.app.upstream_rq_active");
            wait_until("the one call allowed is in flight", STARTUP, || active() == 1);
            assert_eq!(stack.call(score()).unwrap().status, 503);
            broken.let_go();
            assert_eq!(caller.join().unwrap().status, 200);
        });
        check(&stack, "score", "unknown", "503", "overloaded", 1);
        check_nothing_unseen(&stack);
    });
}

#[test]
fn a_caller_who_leaves_first() {
    everywhere("cancelled", |builder| {
        let broken = Broken::start().unwrap();
        let stack = builder.upstream(Upstream::Http1(broken.address)).start().unwrap();
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let call = Call::post(&Break::Hang.path(), "{}").abort_after(MOMENT);
            assert!(stack.call_over(protocol, call).is_err());
        }
        check(&stack, "kserve-v1", "hang", "0", "cancelled", 2);
        let call = Call::post(&Break::HangMidBody.path(), "{}").abort_after(MOMENT);
        assert!(stack.call(call).is_err());
        check(&stack, "kserve-v1", "hang-mid-body", "200", "cancelled", 1);
        leave_while_sending(&stack);
        check(&stack, "score", "unknown", "0", "cancelled", 1);
        check_nothing_unseen(&stack);
    });
}

/// Envoy finishes an HTTP/1.1 call once the app has sent everything. Over HTTP/2 the caller's window may hold the end
/// of the answer back.
#[test]
fn caller_resets_after_the_app_finished() {
    everywhere("app-finished", |builder| {
        let broken = Broken::start().unwrap();
        let stack = builder.upstream(Upstream::Http1(broken.address)).start().unwrap();
        for (way, outcome) in [(Break::Ok, "success"), (Break::HangMidBody, "cancelled")] {
            reset_with_one_byte_read(&stack, &way.path());
            check(&stack, "kserve-v1", way.as_str(), "200", outcome, 1);
        }
        check_nothing_unseen(&stack);
    });
}

/// A caller over HTTP/2 whose window has one byte, and who resets the stream when it has that.
fn reset_with_one_byte_read(stack: &Stack, path: &str) {
    const SETTINGS_WINDOW_OF_ONE: [u8; 6] = [0, 4, 0, 0, 0, 1];
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    const END_OF_REQUEST: u8 = 0x5;
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let literal = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let header = |(name, value): (&str, &str)| [vec![0], literal(name), literal(value)].concat();
    let headers =
        [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)].map(header);
    let mut caller = TcpStream::connect(stack.address).unwrap();
    caller.set_read_timeout(Some(STARTUP)).unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let request = [frame(4, 0, 0, &SETTINGS_WINDOW_OF_ONE), frame(1, END_OF_REQUEST, 1, &headers.concat())];
    caller.write_all(&[&preface[..], &request.concat()].concat()).unwrap();
    loop {
        let mut head = [0; 9];
        caller.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        caller.read_exact(&mut payload).unwrap();
        if head[3] == 0 {
            assert_eq!(payload.len(), 1, "no more than the window allows");
            break;
        }
    }
    caller.write_all(&frame(3, 0, 1, &CANCEL)).unwrap();
    stack.settle();
}

/// The request itself is never finished.
fn leave_while_sending(stack: &Stack) {
    let mut caller = TcpStream::connect(stack.address).unwrap();
    caller.write_all(b"POST /score HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{").unwrap();
    wait_until("the call has begun", STARTUP, || stack.in_flight() == 1);
}

#[test]
fn a_grpc_model_in_trailers_and_trailers_only() {
    everywhere("grpc", |builder| {
        let folders = Folders::create("grpc-model").unwrap();
        let model = GrpcModel::start(&folders.logs).unwrap();
        let stack = builder.upstream(Upstream::Http2(model.address)).start().unwrap();
        let statuses = [
            (0, "success"),
            (3, "invalid_input"),
            (4, "timeout"),
            (5, "not_found"),
            (7, "unauthorized"),
            (8, "rate_limited"),
            (9, "invalid_input"),
            (11, "invalid_input"),
            (12, "not_found"),
            (13, "model_error"),
            (14, "model_error"),
            (16, "unauthorized"),
        ];
        let mut truth = Vec::new();
        for (status, _) in statuses {
            for when in ["after-message", "trailers-only"] {
                let call = grpc(GrpcModel::METHOD, b"")
                    .header("x-status", &status.to_string())
                    .header("x-when", when);
                let answer = stack.call_over(Protocol::Http2, call).unwrap();
                assert_eq!((answer.status, answer.grpc_status()), (200, Some(status)), "{when}");
                truth.push(status);
            }
        }
        assert_eq!(model.statuses().unwrap(), truth);
        stack.settle();
        let metrics = stack.metrics();
        let route = ("route", "kserve-grpc");
        assert_eq!(metrics.sum("prediction_requests_total", &[route, ("status", "success")]), 2.0);
        for (_, outcome) in &statuses[1..] {
            let expected = statuses.iter().filter(|(_, other)| other == outcome).count() * 2;
            let errors = metrics.sum("prediction_errors_total", &[route, ("error_type", outcome)]);
            assert_eq!(errors, expected as f64, "{outcome}");
        }
        check_nothing_unseen(&stack);
    });
}
