//! Callers who want harm: names without end, names that are no names, bytes that are no requests.

use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use scoretap_tests::apps::Broken;
use scoretap_tests::child;
use scoretap_tests::http::{Call, Protocol, raw};
use scoretap_tests::stack::{Stack, Upstream, WayIn};
use scoretap_tests::tools;
use scoretap_tests::wait::wait_until;

use crate::crash::{reloading, trapping};
use crate::{by_envoy, in_both_ways, seen};

const PATIENCE: Duration = Duration::from_millis(200);

/// A stack before an app that answers quickly.
fn start(name: &str, way_in: WayIn) -> Stack {
    let app = Broken::start().unwrap();
    reloading(name, way_in).upstream(Upstream::Http1(app.address)).start().unwrap()
}

fn models(range: std::ops::Range<u32>) -> Vec<Call> {
    range.map(|number| Call::post(&format!("/v1/models/name-{number}:predict"), "{}")).collect()
}

#[test]
fn hundred_thousand_names_stay_within_max_series() {
    in_both_ways("names", |name, way_in| {
        let stack = start(name, way_in);
        let flood = |range| stack.load(Protocol::Http2, 8).run(models(range));
        assert!(flood(0..20_000).iter().all(Result::is_ok));
        let memory = || child::memory(stack.envoy_pid().unwrap()).unwrap();
        let settled = memory();
        for part in 1..5 {
            // Each VM that traps comes back knowing nothing but what the VMs share.
            let _ = stack.call(trapping());
            assert!(flood(part * 20_000..(part + 1) * 20_000).iter().all(Result::is_ok));
        }
        stack.settle();
        let grown = memory().saturating_sub(settled);
        assert!(grown < 20_000, "Envoy has grown by {grown} KB");
        let metrics = stack.metrics();
        let requests = |model: &str| metrics.sum("prediction_requests_total", &[("model_name", model)]);
        let named =
            metrics.select("prediction_requests_total", &[("status", "success"), ("route", "kserve-v1")]);
        assert_eq!(named.filter(|(labels, _)| labels["model_name"].starts_with("name-")).count(), 200);
        let overflow = metrics.get("scoretap_series_overflow_total", &[]).unwrap();
        assert_eq!(requests("other"), overflow);
        let gap = by_envoy(&metrics) - seen(&metrics);
        assert_eq!(overflow, 100_000.0 + 4.0 - 200.0 - gap);
        // The trapping calls, and for each the few that came before its VM was back.
        assert!((4.0..1_000.0).contains(&gap), "{gap}");
    });
}

/// Paths as they are written, the model that each names if it is one that can be a label, and how they end for Envoy.
const NAMES: [(&str, Option<&str>); 12] = [
    ("quote%22s", Some("quote\"s")),
    ("back%5Cslash", Some("back\\slash")),
    ("new%0Aline", Some("new\nline")),
    ("carriage%0Dreturn", Some("carriage\rreturn")),
    ("dots.and..dots", Some("dots.and..dots")),
    ("100%25", Some("100%")),
    ("100%", Some("100%")),
    ("brace%7D%20%23%20HELP", Some("brace} # HELP")),
    ("h%C3%A9%E4%BD%A0%F0%9F%98%80", Some("hé你😀")),
    ("line%E2%80%A8separator%C2%85", Some("line\u{2028}separator\u{85}")),
    ("non%FFutf8", None),
    ("nul%00", None),
];

#[test]
fn hostile_names_are_counted_and_parsed() {
    in_both_ways("hostile-names", |name, way_in| {
        let stack = start(name, way_in);
        for (written, _) in NAMES {
            stack.call(Call::post(&format!("/v1/models/{written}:predict"), "{}")).unwrap();
        }
        let long = format!("/v1/models/{}:predict", "x".repeat(10_000));
        stack.call(Call::post(&long, "{}")).unwrap();
        stack.settle();
        let metrics = stack.metrics();
        let requests = |model: &str| metrics.sum("prediction_requests_total", &[("model_name", model)]);
        for model in NAMES.iter().filter_map(|(_, model)| *model) {
            let times = NAMES.iter().filter(|(_, other)| *other == Some(model)).count();
            assert_eq!(requests(model), times as f64, "{model:?}");
        }
        assert_eq!(requests("other"), 3.0);
        assert_eq!(metrics.get("scoretap_series_overflow_total", &[]), Some(3.0));
        check_parsers(&stack);
    });
}

/// The parsers of those who will read it: Prometheus' own, and Python's official ones.
fn check_parsers(stack: &Stack) {
    let (_, text) = stack.scrape("text/plain");
    let (content_type, open_metrics) = stack.scrape("application/openmetrics-text; version=1.0.0");
    assert!(content_type.starts_with("application/openmetrics-text"), "{content_type}");
    let mut promtool = Command::new(tools::promtool().unwrap());
    let said = feed(promtool.args(["check", "metrics"]), &text);
    assert!(!said.contains("error"), "{said}");
    for (parser, exposition) in
        [("prometheus_client.parser", &text), ("prometheus_client.openmetrics.parser", &open_metrics)]
    {
        let program = format!(
            "import sys, io\nfrom {parser} import text_string_to_metric_families as parse\n\
             text = sys.stdin.buffer.read().decode()\n\
             names = {{s.labels['model_name'] for f in parse(text) for s in f.samples if 'model_name' in s.labels}}\n\
             print(sorted(names))"
        );
        let said = feed(Command::new(tools::python().unwrap()).args(["-c", &program]), exposition);
        assert!(
            said.contains(r"new\nline") && said.contains(r"back\\slash") && said.contains("hé你😀"),
            "{said}"
        );
    }
}

/// The output of a program that succeeds on this input.
fn feed(command: &mut Command, input: &str) -> String {
    command.env("PYTHONIOENCODING", "utf-8");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // promtool exits with 3 where it would only have named a metric otherwise.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
    said
}

/// Requests of which Envoy makes nothing, but that it counts.
const MALFORMED: [&[u8]; 12] = [
    b"\x00\x01garbage\r\n\r\n",
    b"POST /score\r\n\r\n",
    b"POST /score HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
    b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: abc\r\n\r\n",
    b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /score HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST /score HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n",
    b"POST /v1/models/\xff\xfe:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST http://y/score HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\nPOST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\nnonsense\r\n\r\n",
];

#[test]
fn invalid_requests_are_seen_as_envoy_counts() {
    in_both_ways("malformed", |name, way_in| {
        let stack = start(name, way_in);
        for (number, bytes) in MALFORMED.into_iter().enumerate() {
            raw(stack.address, bytes, PATIENCE).unwrap();
            stack.settle();
            let metrics = stack.metrics();
            assert_eq!(seen(&metrics), by_envoy(&metrics), "request {number}");
        }
        let huge = format!("POST /score HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(2_000_000));
        // Envoy stops reading in the middle.
        let _ = raw(stack.address, huge.as_bytes(), PATIENCE);
        stack.settle();
        let metrics = stack.metrics();
        assert_eq!(seen(&metrics), by_envoy(&metrics));
        assert!(by_envoy(&metrics) >= 13.0);
    });
}

/// Envoy makes its filters only once a request's head is whole: this is what the HTTP filter cannot see, and the
/// access logger does.
#[test]
fn endless_head_is_seen_by_logger_alone() {
    for (way_in, expected) in [(WayIn::AccessLog, 1.0), (WayIn::HttpFilter, 0.0)] {
        let stack = start(&format!("half-head-{}", way_in.as_str()), way_in);
        let mut caller = TcpStream::connect(stack.address).unwrap();
        caller.write_all(b"POST /score HTTP/1.1\r\nhost: x\r\ncont").unwrap();
        let counted = || stack.envoy_stat("http.inbound_scoretap.downstream_rq_total");
        wait_until("Envoy counts it", Duration::from_secs(2), || counted() == 1);
        drop(caller);
        stack.settle();
        let metrics = stack.metrics();
        assert_eq!((seen(&metrics), by_envoy(&metrics)), (expected, 1.0), "{way_in:?}");
    }
}
