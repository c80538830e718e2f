//! Bodies, servers and callers that Insight has to survive. A trap would cut all calls of the worker.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use scoretap_scan::record::Scanned;
use scoretap_tests::apps::{GrpcModel, Part};
use scoretap_tests::http::{self, Call, CallResult, Endpoint, Protocol};
use scoretap_tests::stack::{Folders, Upstream};
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::workspace;

use crate::records::{Recorded, builder, response};

const JSON: &str = "content-type: application/json\r\n";
/// The most answers that a VM inflates at the same time.
const WINDOWS: usize = 64;
/// How long the second half of a compressed answer is held back, in milliseconds.
const HELD: u64 = 1_000;
/// The growth that Envoy may show, in KiB: the windows of gzip, and bodies in flight.
const GROWTH: u64 = 24 * 1024;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bodies by name: what the fuzzers start with, and what is expensive or deep.
fn bodies() -> BTreeMap<String, Vec<u8>> {
    let corpus = fs::read_dir(workspace::root().join("fuzz/corpus/scan")).unwrap().map(Result::unwrap);
    let corpus = corpus.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()));
    let made = [
        ("deep-arrays", "[".repeat(200_000)),
        ("deep-objects", r#"{"predictions":"#.repeat(20_000)),
        ("endless-string", format!("{{\"predictions\": \"{}", "x".repeat(300_000))),
        ("endless-number", "9".repeat(300_000)),
        ("exponents", "[1e999, -1e999, 1e-999, 1e99999999999999999999, NaN, -Infinity]".to_owned()),
        ("escapes", format!("{{\"result\": \"{}\"}}", r"\ud800\u0000\\".repeat(9_000))),
        ("strings-in-strings", r#""{\"result\": \"{\\\"result\\\": [1]}\"}""#.to_owned()),
        ("events", "data: {\"choices\": [{\"delta\": {\"content\": \"x\"}}]}\n\n".repeat(2_000)),
        ("no-event", "data: ".repeat(50_000)),
        ("shape", r#"{"outputs": [{"name": "x", "shape": [-1, 1e30], "data": [1]}]}"#.to_owned()),
    ];
    let made = made.map(|(name, text)| (name.to_owned(), text.into_bytes()));
    let zeros = gzip(&vec![0; 8 << 20]);
    let bytes = [
        ("no-utf8", [0xFF, 0xC0, 0x80].repeat(2_000)),
        ("long-frame", [&[0, 0xFF, 0xFF, 0xFF, 0xFF][..], &[0x0A; 999]].concat()),
        ("bomb", zeros.clone()),
        ("cut-gzip", zeros[..zeros.len() / 2].to_vec()),
        ("broken-gzip", zeros.iter().map(|byte| byte ^ 0x5A).collect()),
    ];
    corpus.chain(made).chain(bytes.map(|(name, bytes)| (name.to_owned(), bytes))).collect()
}

/// How a body is announced, whatever it is.
const HEADERS: [(&str, &str); 5] = [
    ("json", JSON),
    ("gzip", "content-type: application/json\r\ncontent-encoding: gzip\r\n"),
    ("events", "content-type: text/event-stream\r\n"),
    ("binary", "content-type: application/octet-stream\r\ninference-header-content-length: 7\r\n"),
    ("csv", "content-type: text/csv\r\n"),
];

/// `/v1/models/HEADERS:predict` and `/v2/models/HEADERS/generate`, with the body's name as the query.
fn script(path: &str, bodies: &BTreeMap<String, Vec<u8>>) -> Vec<Part> {
    let (path, name) = path.split_once('?').unwrap();
    if path == "/predict" {
        let numbers: Vec<String> = (0..500).map(|number| (number * 7919 % 1013).to_string()).collect();
        let bytes =
            response(HEADERS[1].1, &gzip(format!("{{\"predictions\": [{}]}}", numbers.join(",")).as_bytes()));
        let (first, second) = bytes.split_at(bytes.len() / 2);
        return match name {
            "held" => vec![Part::now(first), Part::after(HELD, second)],
            // The app closes the connection.
            "breaks-off" => vec![Part::now(first)],
            _ => vec![Part::now(bytes)],
        };
    }
    let headers = HEADERS.iter().find(|(kind, _)| path.contains(kind)).unwrap().1;
    vec![Part::now(response(headers, &bodies[name]))]
}

fn anonymous_memory(recorded: &Recorded) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", recorded.stack.envoy_pid().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A gzip answer is read: no window is held for a call that is over.
#[track_caller]
fn check_gzip_is_read(recorded: &mut Recorded, when: &str) {
    let (_, record) = recorded.call(Call::post("/predict?at-once", "{}"));
    assert_eq!(record.unwrap().scanned, Scanned::Whole, "{when}");
}

/// Calls that are in flight at the same time.
fn at_once(recorded: &Recorded, count: usize, call: &Call) -> Vec<CallResult> {
    let endpoint = Endpoint::Tcp(recorded.stack.address);
    std::thread::scope(|scope| {
        let call = || http::call(&endpoint, Protocol::Http1, call.clone());
        let calls: Vec<_> = (0..count).map(|_| scope.spawn(call)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

#[test]
fn hostile_bodies_hurt_no_call() {
    let bodies = bodies();
    let sent = bodies.clone();
    let builder = builder("hostile", EnvoyVersion::Newest, move |path: &str| script(path, &sent));
    let mut recorded = Recorded::start(builder.concurrency(1).dynamic());
    check_gzip_is_read(&mut recorded, "at first");
    let memory = anonymous_memory(&recorded);

    let mut count = 0;
    for (kind, _) in HEADERS {
        for (name, body) in &bodies {
            for path in
                [format!("/v1/models/{kind}:predict?{name}"), format!("/v2/models/{kind}/generate?{name}")]
            {
                let answer = recorded.stack.call(Call::post(&path, "{\"model\": ")).unwrap();
                assert!(answer.complete && answer.status == 200 && answer.body == *body, "{path}");
                count += 1;
            }
        }
    }
    assert!(recorded.take(count).iter().all(Option::is_some), "each call has a record");

    let held = Call::post("/predict?held", "{}");
    let answers = at_once(&recorded, WINDOWS + 9, &held);
    assert!(answers.into_iter().all(|answer| answer.unwrap().complete));
    let records = recorded.take(WINDOWS + 9).into_iter().map(Option::unwrap);
    let (read, counted): (Vec<_>, Vec<_>) = records.partition(|record| record.scanned == Scanned::Whole);
    assert!(counted.iter().all(|record| record.scanned == Scanned::Compressed));
    assert_eq!((read.len(), counted.len()), (WINDOWS, 9));
    check_gzip_is_read(&mut recorded, "after many at once");
    let answers = at_once(&recorded, WINDOWS + 9, &Call::post("/predict?breaks-off", "{}"));
    assert!(answers.into_iter().all(|answer| !answer.is_ok_and(|answer| answer.complete)));
    recorded.take(WINDOWS + 9);
    check_gzip_is_read(&mut recorded, "after an app that breaks off");
    let answers = at_once(&recorded, WINDOWS + 9, &held.abort_after(Duration::from_millis(HELD / 2)));
    assert!(answers.iter().all(Result::is_err));
    recorded.take(WINDOWS + 9);
    check_gzip_is_read(&mut recorded, "after callers who leave");

    recorded.stack.reconfigure("{}").unwrap();
    let (answer, record) = recorded.call(Call::post("/predict?at-once", "{}"));
    assert!(answer.unwrap().complete && record.is_none(), "switched off");
    recorded.stack.reconfigure(r#"{"insight": {}}"#).unwrap();
    check_gzip_is_read(&mut recorded, "switched on again");

    let grown = anonymous_memory(&recorded).saturating_sub(memory);
    assert!(grown < GROWTH, "{grown} KiB more");
    let output = recorded.stack.envoy_output();
    assert!(!output.contains("RuntimeError") && !output.contains("in-VM"), "{output}");
}

#[test]
fn grpc_answer_without_last_piece_is_read() {
    let folders = Folders::create("insight-grpc").unwrap();
    let model = GrpcModel::start(&folders.logs).unwrap();
    let builder = builder("grpc", EnvoyVersion::Newest, |_| Vec::new());
    let mut recorded = Recorded::start(builder.upstream(Upstream::Http2(model.address)));
    let endpoint = Endpoint::Tcp(recorded.stack.address);
    // Field 1, a text: the model's name. The server answers with the same message.
    let call = http::grpc(GrpcModel::METHOD, b"\x0A\x06served");
    assert_eq!(http::call(&endpoint, Protocol::Http2, call).unwrap().grpc_status(), Some(0));
    let record = recorded.next().unwrap();
    assert_eq!((record.scanned, record.model.head()), (Scanned::Whole, &b"served"[..]));
}
