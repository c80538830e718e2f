//! The answers whose bodies are read, and the app that gives them.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use scoretap_tests::apps::local;

/// Events of a stream.
const EVENTS: usize = 500;
/// The pause before each event of a paced stream.
const PACE: Duration = Duration::from_millis(2);
const KILOBYTE: usize = 1 << 10;
const MEGABYTE: usize = 1 << 20;

const SCORE: &str = "/v1/models/churn:predict";
const CHAT: &str = "/v1/chat/completions";
const BODY: &[u8] = b"{}";

/// Items of which a byte takes the most time to read.
const SLOWEST: [(&str, &str); 4] = [
    ("numbers with one digit", "3, "),
    ("short strings", "\"a\", \"b\", \"c\", "),
    ("escapes", "\"\\u00e9\\n\", "),
    ("pairs", "[1, 2], "),
];

/// A kind of answer, and how much CPU reading its body may take.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) title: String,
    path: &'static str,
    /// Written one after the other.
    parts: Vec<Vec<u8>>,
    pause: Duration,
    /// One figure is of this part of the calls of the command.
    pub(super) share: usize,
    /// The aim, in microseconds, and the words for it.
    pub(super) aim: Option<(f64, String)>,
    pub(super) is_compressed: bool,
}

/// All of them; the compressed ones come last, because they take memory that stays.
pub(super) fn all() -> Result<Vec<Answer>> {
    let sizes = [(KILOBYTE, "1 KB"), (64 * KILOBYTE, "64 KB"), (MEGABYTE, "1 MB")];
    let mut answers = Vec::new();
    for (size, title) in sizes {
        answers.push(plain(format!("{title} of numbers"), size, 300, &numbers(size)));
    }
    for (size, title) in sizes {
        answers.push(plain(format!("{title} of text"), size, 1_000, &text(size)));
    }
    for (title, item) in SLOWEST {
        let body = predictions(&item.repeat((64 * KILOBYTE - 40) / item.len()));
        answers.push(plain(format!("64 KB of {title}"), 64 * KILOBYTE, 0, &body));
    }
    answers.push(stream("500 events in a burst", Duration::ZERO));
    answers.push(stream("500 events, one each 2 ms", PACE));
    for (size, title) in sizes {
        answers.push(compressed(format!("{title} of numbers in gzip"), size, &numbers(size))?);
    }
    let repeated = predictions(&"0.25, ".repeat(MEGABYTE / 6));
    answers.push(compressed("1 MB of one number in gzip".into(), 64 * KILOBYTE, &repeated)?);
    Ok(answers)
}

fn plain(title: String, size: usize, megabytes_per_second: u32, body: &[u8]) -> Answer {
    let aim = match size {
        KILOBYTE => (25.0, "25 µs".to_owned()),
        MEGABYTE => (size as f64 / f64::from(megabytes_per_second), format!("{megabytes_per_second} MB/s")),
        _ => (1_000.0, "1 ms, as one callback".to_owned()),
    };
    let parts = vec![response("", body)];
    Answer {
        title,
        path: SCORE,
        parts,
        pause: Duration::ZERO,
        share: share(size),
        aim: Some(aim),
        is_compressed: false,
    }
}

/// Answers of one piece have an aim: more than a piece is read by several callbacks.
fn compressed(title: String, size: usize, body: &[u8]) -> Result<Answer> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    let parts = vec![response("content-encoding: gzip\r\n", &encoder.finish()?)];
    let plain = plain(title, size, 0, body);
    let aim = plain.aim.filter(|_| size < MEGABYTE);
    Ok(Answer { parts, aim, is_compressed: true, ..plain })
}

fn stream(title: &str, pause: Duration) -> Answer {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let event = |number: usize| {
        let finish = if number + 1 < EVENTS { "null" } else { "\"stop\"" };
        chunk(&format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1764400000,\"model\":\"m\",\
             \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{number}\"}},\"finish_reason\":{finish}}}]}}\n\n"
        ))
    };
    let mut parts = vec![head.as_bytes().to_vec()];
    parts.extend((0..EVENTS).map(event));
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":500}}\n\n";
    parts.push([chunk(usage), chunk("data: [DONE]\n\n"), b"0\r\n\r\n".to_vec()].concat());
    let is_paced = !pause.is_zero();
    Answer {
        title: title.to_owned(),
        path: CHAT,
        parts: if is_paced { parts } else { vec![parts.concat()] },
        pause,
        share: if is_paced { 128 } else { 8 },
        aim: (!is_paced).then(|| (300.0, "0.3 ms".to_owned())),
        is_compressed: false,
    }
}

/// Larger answers are asked for less often.
const fn share(size: usize) -> usize {
    match size {
        KILOBYTE => 2,
        MEGABYTE => 64,
        _ => 8,
    }
}

fn response(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

fn predictions(items: &str) -> Vec<u8> {
    format!("{{\"predictions\": [{}]}}", items.trim_end_matches(", ")).into_bytes()
}

/// Numbers between 0 and 1 as Python writes them, about `size` bytes in all.
fn numbers(size: usize) -> Vec<u8> {
    let mut items = String::new();
    let mut state = 1_u64;
    while items.len() + 40 < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let _ = write!(items, "0.{:016}, ", state >> 12);
    }
    predictions(&items)
}

fn text(size: usize) -> Vec<u8> {
    let words = "the model answers with a sentence of some length and then with another one. ";
    let text: String = words.chars().cycle().take(size - 40).collect();
    predictions(&format!("\"{text}\""))
}

impl Answer {
    /// The bytes of the request for the answer with this number.
    pub(super) fn request(&self, number: usize) -> Vec<u8> {
        let head = format!(
            "POST {}?{number} HTTP/1.1\r\nHost: 127.0.0.1:15100\r\nAccept: */*\r\nContent-Length: {}\r\n\
             Content-Type: application/json\r\n\r\n",
            self.path,
            BODY.len()
        );
        [head.as_bytes(), BODY].concat()
    }
}

/// Starts the app, which keeps its connections.
pub(super) fn serve(answers: Arc<Vec<Answer>>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(local(0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answers = Arc::clone(&answers);
            std::thread::spawn(move || serve_connection(stream, &answers));
        }
    });
    Ok(address)
}

/// Ends when Envoy closes the connection.
fn serve_connection(mut stream: TcpStream, answers: &[Answer]) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        request.clear();
        while !request.ends_with(BODY) {
            let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
            request.extend_from_slice(&buffer[..count]);
        }
        let head = String::from_utf8_lossy(&request);
        let (_, rest) = head.split_once('?')?;
        let answer = answers.get(rest.split(' ').next()?.parse::<usize>().ok()?)?;
        for part in &answer.parts {
            std::thread::sleep(answer.pause);
            stream.write_all(part).ok()?;
        }
    }
}
