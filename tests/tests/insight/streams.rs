//! Streams of LLMs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use scoretap_scan::record::{Generation, Record};
use scoretap_tests::apps::Part;
use scoretap_tests::http::Call;
use scoretap_tests::stack::{Stack, Upstream};
use scoretap_tests::tools::EnvoyVersion;

use crate::records::{CHAT, Recorded, builder, chunk};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const REQUEST: &str = r#"{"model": "asked", "stream": true, "messages": []}"#;
/// The pauses before the first and the second token, in milliseconds.
const PAUSES: [u64; 2] = [120, 40];
/// The delays of the first content of some streams, in milliseconds.
const DELAYS: [u64; 9] = [0, 3, 10, 25, 50, 75, 100, 150, 250];
/// How late a time may be, in nanoseconds: Envoy and the machine of a test take some.
const SLACK: u64 = 100_000_000;

fn event(text: &str) -> Vec<u8> {
    let data = format!(
        "data: {{\"model\": \"served\", \"choices\": [{{\"index\": 0, \"delta\": {{\"content\": \"{text}\"}}}}]}}\n\n"
    );
    chunk(data.as_bytes())
}

/// Two tokens after pauses, then as many of the last parts as `end` says: a finish reason with a usage, `[DONE]`.
fn stream(end: usize) -> Vec<Part> {
    let finish = b"data: {\"choices\": [{\"index\": 0, \"delta\": {}, \"finish_reason\": \"stop\"}], \
        \"usage\": {\"prompt_tokens\": 5, \"completion_tokens\": 2}}\n\n";
    let last = [chunk(finish), chunk(b"data: [DONE]\n\n")];
    let tokens = [Part::after(PAUSES[0], event("one")), Part::after(PAUSES[1], event("two"))];
    let last = last.into_iter().take(end).map(Part::now);
    [Part::now(HEAD)].into_iter().chain(tokens).chain(last).collect()
}

#[track_caller]
fn generation(record: Option<Record>) -> Generation {
    let record = record.expect("the call has a record");
    assert_eq!((record.request_model.head(), record.model.head()), (&b"asked"[..], &b"served"[..]));
    record.generation.expect("an LLM's answer has a generation")
}

#[test]
fn stream_left_at_done_is_ended() {
    for version in EnvoyVersion::ALL {
        let script = |_: &str| {
            let mut parts = stream(2);
            // The last chunk, which the caller does not wait for.
            parts.push(Part::after(2_000, "0\r\n\r\n"));
            parts
        };
        let mut recorded = Recorded::start(builder("left-at-done", version, script));
        let mut caller = TcpStream::connect(recorded.stack.address).unwrap();
        caller.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = REQUEST.len();
        let request = format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{REQUEST}");
        caller.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while !answer.windows(6).any(|window| window == b"[DONE]") {
            let count = caller.read(&mut buffer).unwrap();
            assert!(count > 0, "the answer ended before [DONE]");
            answer.extend_from_slice(&buffer[..count]);
        }
        drop(caller);
        let generation = generation(recorded.next());
        assert!(generation.is_stream && generation.is_ended);
        assert_eq!((generation.tokens.input, generation.tokens.output), (Some(5), Some(2)));
        let first = generation.first_content.unwrap();
        let pause = PAUSES[0] * 1_000_000;
        assert!((pause..pause + SLACK).contains(&first), "first content after {first} ns");
        let gap = generation.last_content.unwrap() - first;
        let pause = PAUSES[1] * 1_000_000;
        assert!((pause - SLACK / 10..pause + SLACK).contains(&gap), "next content after {gap} ns");
    }
}

#[test]
fn stream_that_breaks_off_is_not_ended() {
    let mut recorded = Recorded::start(builder("breaks-off", EnvoyVersion::Newest, |_| stream(0)));
    let (answer, record) = recorded.call(Call::post(CHAT, REQUEST));
    assert!(!answer.unwrap().complete);
    let generation = generation(record);
    assert!(!generation.is_ended && !generation.tokens.is_reported());
    assert_eq!(generation.content_events, 2);
}

/// An app that notes how long after a request's last byte it sends the first content of each of its streams.
fn dripping(noted: Sender<Duration>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (mut stream, delay) in listener.incoming().flatten().zip(DELAYS) {
            stream.set_nodelay(true).unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(REQUEST.as_bytes()) {
                let count = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
            }
            let received = Instant::now();
            // The app answers one call on each connection.
            let head = HEAD.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            stream.write_all(head.as_bytes()).unwrap();
            // A role is no content, and comes early.
            stream
                .write_all(&chunk(b"data: {\"choices\": [{\"delta\": {\"role\": \"assistant\"}}]}\n\n"))
                .unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            noted.send(received.elapsed()).unwrap();
            stream.write_all(&[event("one"), b"0\r\n\r\n".to_vec()].concat()).unwrap();
        }
    });
    address
}

#[test]
fn first_token_time_is_right_within_5_ms() {
    let (sender, noted) = channel();
    let app = dripping(sender);
    let stack = Stack::builder("dripping")
        .upstream(Upstream::Http1(app))
        .filter_config(r#"{"insight": {}}"#)
        .with_insight()
        .without_exporter();
    let mut recorded = Recorded::start(stack);
    let mut errors: Vec<f64> = Vec::new();
    for _ in DELAYS {
        let (answer, record) = recorded.call(Call::post(CHAT, REQUEST));
        assert!(answer.unwrap().complete);
        let first = record.unwrap().generation.unwrap().first_content.unwrap();
        let sent = noted.recv().unwrap();
        errors.push((Duration::from_nanos(first).as_secs_f64() - sent.as_secs_f64()) * 1e3);
    }
    // A busy machine may delay some of them.
    errors.sort_by(|one, other| one.abs().total_cmp(&other.abs()));
    let median = errors[errors.len() / 2];
    assert!(median.abs() <= 5.0, "{errors:?} ms");
}
