//! The memory of the process while scrapers read slowly: within the 64Mi that the manifests grant.

use std::fmt::Write as _;
use std::io::Read;
use std::net::TcpStream;

use crate::envoy::{self, Fake};
use crate::exporter::Exporter;

const READERS: usize = 16;

const LIMIT_KIB: u64 = 64 * 1024;

/// 1,000 models with successes, failures and cancellations: at least 70,000 samples.
fn stats() -> String {
    let mut stats = String::from("wasmcustom.scoretap.config: 1\n");
    for model in 0..1000 {
        let endpoint = format!("score.model-{model:05}.7.POST./score");
        for (status, code, outcome) in
            [("success", 200, "success"), ("failure", 500, "model_error"), ("cancelled", 0, "cancelled")]
        {
            writeln!(stats, "wasmcustom.scoretap.call.{endpoint}.{code}.{outcome}: 12").unwrap();
            for le in ["5000000", "25000000", "1000000000"] {
                writeln!(stats, "wasmcustom.scoretap.cell.{endpoint}.duration.{status}.{le}: 4").unwrap();
            }
            writeln!(stats, "wasmcustom.scoretap.sum.{endpoint}.duration.{status}: 123456789").unwrap();
        }
    }
    stats
}

/// Begins scrapes, up to the first 503, and reads only the status of each. Each scrape reads Envoy, because the one before
/// has finished its read.
fn begin(exporter: &Exporter) -> Vec<(TcpStream, Vec<u8>)> {
    let mut begun = Vec::new();
    while begun.len() < READERS && begun.last().is_none_or(|(_, status)| *status != b"HTTP/1.1 503") {
        let mut stream = exporter.send("GET", "/metrics", &[]);
        let mut status = vec![0; "HTTP/1.1 503".len()];
        stream.read_exact(&mut status).unwrap();
        begun.push((stream, status));
    }
    begun
}

/// Reads the rest of an answer. Returns its status, and its body if it is complete.
fn finish((mut stream, mut answer): (TcpStream, Vec<u8>)) -> (u16, Option<Vec<u8>>) {
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let body = answer.split_off(end);
    let is_whole = length.parse() == Ok(body.len());
    (head[9..12].parse().unwrap(), is_whole.then_some(body))
}

/// The bodies of the answers with 200. The others must be 503.
#[track_caller]
fn check(exporter: &Exporter, readers: Vec<(TcpStream, Vec<u8>)>) -> Vec<Vec<u8>> {
    let answers: Vec<_> = readers.into_iter().map(finish).collect();
    let most = exporter.most_memory_kib();
    assert!(most <= LIMIT_KIB, "{most} KiB");
    let mut bodies = Vec::new();
    for (status, body) in answers {
        let body = body.expect("whole");
        match status {
            200 => bodies.push(body),
            status => assert_eq!(status, 503),
        }
    }
    bodies
}

fn samples(body: &[u8]) -> usize {
    let text = std::str::from_utf8(body).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn slow_readers_stay_in_the_memory_limit() {
    let stats = stats();
    let envoy = Fake::unix(move |stream| envoy::answer(stream, "200 OK", stats.as_bytes()));
    let exporter = Exporter::start(&["--envoy.admin", envoy.url()]);
    let bodies = check(&exporter, begin(&exporter));
    assert!(bodies.len() >= 3, "{}", bodies.len());
    assert!(bodies.iter().all(|body| samples(body) >= 70_000), "{}", samples(&bodies[0]));
    for headers in [&[][..], &["Accept-Encoding: gzip"]] {
        // Simultaneous scrapes share a read and its exposition.
        let streams: Vec<TcpStream> =
            (0..READERS).map(|_| exporter.send("GET", "/metrics", headers)).collect();
        let bodies = check(&exporter, streams.into_iter().map(|stream| (stream, Vec::new())).collect());
        assert_eq!(bodies.len(), READERS);
    }
}
