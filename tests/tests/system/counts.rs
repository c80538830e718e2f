//! Thousands of calls, mixed, over both workers: for every route, model and status the exporter says what the app's
//! own log says.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use scoretap_core::route::PRESETS;
use scoretap_tests::apps::{Break, Broken};
use scoretap_tests::bootstrap::Bootstrap;
use scoretap_tests::exposition::{Exposition, Labels};
use scoretap_tests::http::{Call, Protocol};
use scoretap_tests::stack::{Stack, Upstream, WayIn};
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::wait::{STARTUP, wait_until};

use crate::{ROW, by_envoy, in_both_ways, score, seen};

/// A path, and the route, model and version that it names.
const PATHS: [(&str, Option<[&str; 3]>); 14] = [
    ("/score", Some(["score", "pod", "7"])),
    ("/score/", Some(["score", "pod", "7"])),
    ("/score?verbose=1", Some(["score", "pod", "7"])),
    ("/predict", Some(["predict", "pod", "7"])),
    ("/invocations", Some(["invocations", "pod", "7"])),
    ("/v1/models/iris:predict", Some(["kserve-v1", "iris", "unknown"])),
    ("/v1/models/iris:explain", Some(["kserve-v1", "iris", "unknown"])),
    ("/v1/models/a%20%22b%22%5C:predict", Some(["kserve-v1", "a \"b\"\\", "unknown"])),
    ("/v1/models/line%0Aend:predict", Some(["kserve-v1", "line\nend", "unknown"])),
    ("/v2/models/iris/infer", Some(["kserve-v2", "iris", "unknown"])),
    ("/v2/models/iris/versions/3/infer", Some(["kserve-v2", "iris", "3"])),
    ("/v2/models/h%C3%A9.llo/versions/1.0-rc/infer", Some(["kserve-v2", "hé.llo", "1.0-rc"])),
    ("/nothing/here", None),
    ("/v1/models/:predict", None),
];

/// A body, and what the scorer answers to it where the path is one of its own.
const BODIES: [&str; 8] = [
    ROW,
    ROW,
    "{",
    r#"{"data": [[1, 2]]}"#,
    r#"{"data": [["abc", 2, 3, 4, 5, 6, 7, 8, 9]]}"#,
    r#"{"data": [], "status": 429}"#,
    r#"{"data": [], "status": 503}"#,
    r#"{"data": [], "status": 302}"#,
];

type Counts = BTreeMap<(String, String, String, u16), u64>;

fn calls(count: usize) -> Vec<Call> {
    // A path meets every body: the two lengths have no common divisor but 2, so the bodies shift by a lap.
    let of = |number: usize| (PATHS[number % PATHS.len()].0, BODIES[(number / PATHS.len()) % BODIES.len()]);
    (0..count).map(of).map(|(path, body)| Call::post(path, body)).collect()
}

/// The totals of the app's log by the table above; unmatched calls are counted separately.
fn truth(stack: &Stack) -> (Counts, u64) {
    let (mut counts, mut unmatched) = (Counts::new(), 0);
    for call in stack.app_calls() {
        let (_, labels) = PATHS.iter().find(|(path, _)| *path == call.path).expect("a path of ours");
        match labels {
            Some([route, model, version]) => {
                let key = ((*route).to_owned(), (*model).to_owned(), (*version).to_owned(), call.status);
                *counts.entry(key).or_default() += 1;
            }
            None => unmatched += 1,
        }
    }
    (counts, unmatched)
}

fn exported(metrics: &Exposition) -> Counts {
    let key = |labels: &Labels| {
        let label = |name: &str| labels[name].clone();
        (label("route"), label("model_name"), label("model_version"), labels["code"].parse().unwrap())
    };
    let series = metrics.select("prediction_responses_total", &[("method", "POST")]);
    series.map(|(labels, value)| (key(labels), value as u64)).collect()
}

/// Half of the calls over HTTP/1.1, half over HTTP/2, at the same time.
fn send(stack: &Stack, count: usize) {
    let load = |protocol| stack.load(protocol, 8);
    let (one, two) = (load(Protocol::Http1), load(Protocol::Http2));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| two.run(calls(count / 2)));
        assert!(one.run(calls(count / 2)).iter().all(Result::is_ok));
        assert!(other.join().unwrap().iter().all(Result::is_ok));
    });
    stack.settle();
    wait_until("the app has logged all calls", Duration::from_secs(10), || stack.app_calls().len() == count);
}

fn start(name: &str, way_in: WayIn, envoy: EnvoyVersion) -> Stack {
    let builder = Stack::builder(name).way_in(way_in).envoy(envoy);
    builder.exporter_env("MODEL_NAME", "pod").exporter_env("MODEL_VERSION", "7").start().unwrap()
}

fn check_counts(name: &str, way_in: WayIn, envoy: EnvoyVersion, count: usize) {
    let stack = start(name, way_in, envoy);
    send(&stack, count);
    let (counts, unmatched) = truth(&stack);
    assert!(counts.len() > 60, "the mix is a mix: {}", counts.len());
    let metrics = stack.metrics();
    assert_eq!(exported(&metrics), counts);
    let total = count as f64;
    assert_eq!(metrics.get("scoretap_calls_seen_total", &[("result", "unmatched")]), Some(unmatched as f64));
    assert_eq!((seen(&metrics), by_envoy(&metrics)), (total, total));
    check_families_agree(&metrics, total - unmatched as f64);
    check_workers(&stack);
}

#[test]
fn spared_calls_still_count_as_seen() {
    let builder = Stack::builder("other-paths").edit_listener(Bootstrap::spare_other_paths);
    let stack = builder.exporter_env("MODEL_NAME", "pod").exporter_env("MODEL_VERSION", "7").start().unwrap();
    send(&stack, 2_000);
    let (counts, unmatched) = truth(&stack);
    let metrics = stack.metrics();
    assert_eq!(exported(&metrics), counts);
    assert_eq!(metrics.get("scoretap_calls_seen_total", &[("result", "unmatched")]), Some(unmatched as f64));
    assert_eq!((seen(&metrics), by_envoy(&metrics)), (2_000.0, 2_000.0));
    // Spared calls belong to no preset.
    let templates: Vec<_> = PRESETS.iter().flat_map(|preset| preset.paths).collect();
    for template in &templates {
        let path = template.replace("{model}", "m").replace("{version}", "1");
        stack.call(Call::post(&path, ROW)).unwrap();
    }
    stack.call(Call::post("/%73core", ROW)).unwrap();
    stack.settle();
    let metrics = stack.metrics();
    let matched = 2_000.0 - unmatched as f64 + templates.len() as f64 + 1.0;
    assert_eq!(metrics.get("scoretap_calls_seen_total", &[("result", "matched")]), Some(matched));
    // A head that is none has no path.
    let mut stream = TcpStream::connect(stack.address).unwrap();
    stream.write_all(b"POST /score HTTP/1.1\r\nno colon\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    stack.settle();
    let metrics = stack.metrics();
    assert_eq!(by_envoy(&metrics), 2_000.0 + templates.len() as f64 + 2.0);
    assert_eq!(seen(&metrics), by_envoy(&metrics));
}

/// Requests, errors and durations are other views of the same calls.
fn check_families_agree(metrics: &Exposition, matched: f64) {
    assert_eq!(metrics.sum("prediction_requests_total", &[]), matched);
    for status in ["success", "failure", "cancelled"] {
        let of_status = [("status", status)];
        let requests = metrics.sum("prediction_requests_total", &of_status);
        assert_eq!(metrics.sum("prediction_duration_seconds_count", &of_status), requests, "{status}");
        let infinite = [("status", status), ("le", "+Inf")];
        assert_eq!(metrics.sum("prediction_duration_seconds_bucket", &infinite), requests, "{status}");
    }
    let failures = metrics.sum("prediction_requests_total", &[("status", "failure")]);
    assert_eq!(metrics.sum("prediction_errors_total", &[]), failures);
}

/// One worker alone would prove nothing about two.
fn check_workers(stack: &Stack) {
    let busy = |worker: &str| {
        let stats = stack.envoy_stats(&format!("^listener\\..*worker_{worker}\\.downstream_cx_total$"));
        assert!(!stats.is_empty(), "worker {worker} had no connection");
    };
    ["0", "1"].into_iter().for_each(busy);
}

#[test]
fn twenty_thousand_calls_match_the_apps_log() {
    in_both_ways("counts", |name, way_in| check_counts(name, way_in, EnvoyVersion::Newest, 20_000));
}

#[test]
fn the_oldest_envoy_counts_the_same() {
    in_both_ways("counts-1.36", |name, way_in| check_counts(name, way_in, EnvoyVersion::Oldest, 4_000));
}

#[test]
fn an_exporter_that_restarts_loses_nothing() {
    let mut stack = start("exporter-restart", WayIn::AccessLog, EnvoyVersion::Newest);
    send(&stack, 200);
    let before = exported(&stack.metrics());
    stack.stop_exporter();
    for _ in 0..10 {
        assert_eq!(stack.call(score()).unwrap().status, 200);
    }
    stack.start_exporter().unwrap();
    stack.settle();
    let after = exported(&stack.metrics());
    let key = ("score".to_owned(), "pod".to_owned(), "7".to_owned(), 200);
    assert_eq!(after[&key], before[&key] + 10);
    assert_eq!(after.values().sum::<u64>(), before.values().sum::<u64>() + 10);
}

#[test]
fn killed_envoy_reports_down_then_counts_from_zero() {
    let mut stack = start("envoy-restart", WayIn::AccessLog, EnvoyVersion::Newest);
    send(&stack, 200);
    assert_eq!(stack.metrics().get("scoretap_up", &[]), Some(1.0));
    stack.stop_envoy();
    let gone = stack.metrics();
    assert_eq!(gone.get("scoretap_up", &[]), Some(0.0));
    assert_eq!(gone.iter().filter(|(name, ..)| name.starts_with("prediction_")).count(), 0, "nothing stale");
    stack.start_envoy().unwrap();
    assert_eq!(stack.call(score()).unwrap().status, 200);
    stack.settle();
    let back = stack.metrics();
    assert_eq!(back.get("scoretap_up", &[]), Some(1.0));
    assert_eq!((seen(&back), by_envoy(&back)), (1.0, 1.0));
    assert_eq!(back.sum("prediction_requests_total", &[("route", "score"), ("status", "success")]), 1.0);
}

#[test]
fn zero_series_exist_before_the_first_call() {
    let stack = start("zeros", WayIn::AccessLog, EnvoyVersion::Newest);
    let before = stack.metrics();
    let own = [("model_name", "pod"), ("model_version", "7"), ("route", "score")];
    for status in ["success", "failure", "cancelled"] {
        let labels = [&own[..], &[("status", status)]].concat();
        assert_eq!(before.get("prediction_requests_total", &labels), Some(0.0), "{status}");
    }
    assert_eq!(before.select("prediction_errors_total", &own).count(), 9);
    assert_eq!((seen(&before), by_envoy(&before)), (0.0, 0.0));
    assert_eq!(before.get("prediction_requests_in_flight", &[]), Some(0.0));
    assert_eq!(before.get("scoretap_config_valid", &[]), Some(1.0));
    stack.call(Call::post("/v1/models/iris:predict", r#"{"data": [], "status": 500}"#)).unwrap();
    stack.settle();
    let after = stack.metrics();
    let iris = [("model_name", "iris"), ("route", "kserve-v1")];
    assert_eq!(after.select("prediction_errors_total", &iris).count(), 9);
    assert_eq!(after.sum("prediction_errors_total", &iris), 1.0);
    let success = [&iris[..], &[("status", "success")]].concat();
    assert_eq!(after.sum("prediction_duration_seconds_count", &success), 0.0);
    assert_eq!(after.select("prediction_duration_seconds_bucket", &success).count(), 16);
}

#[test]
fn calls_in_flight_are_shown_while_they_are() {
    let broken = Broken::start().unwrap();
    let stack = Stack::builder("in-flight").upstream(Upstream::Http1(broken.address)).start().unwrap();
    let held = || stack.call(Call::post(&Break::Held.path(), "{}")).unwrap();
    std::thread::scope(|scope| {
        let callers = [scope.spawn(held), scope.spawn(held)];
        let in_flight = || stack.metrics().get("prediction_requests_in_flight", &[]);
        wait_until("two calls are in flight", STARTUP, || in_flight() == Some(2.0));
        broken.let_go();
        callers.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap().status, 200));
    });
    stack.settle();
    assert_eq!(stack.metrics().get("prediction_requests_in_flight", &[]), Some(0.0));
}
