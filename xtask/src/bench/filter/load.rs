//! Callers who ask again as soon as they are answered, each on one connection. Plain sockets: what the callers need for
//! a call, Envoy's core must not feel.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

/// Makes `calls` calls in all, shared by `callers`, and returns how long each took.
pub(super) fn run(
    address: SocketAddr,
    request: &[u8],
    callers: usize,
    calls: usize,
) -> Result<Vec<Duration>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..callers).map(|_| scope.spawn(|| caller(address, request, calls / callers))).collect();
        let mut took = Vec::with_capacity(calls);
        for thread in threads {
            took.extend(thread.join().map_err(|_| anyhow!("a caller died"))??);
        }
        Ok(took)
    })
}

fn caller(address: SocketAddr, request: &[u8], calls: usize) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut answer = Vec::with_capacity(16_384);
    (0..calls)
        .map(|_| {
            let start = Instant::now();
            stream.write_all(request)?;
            read_answer(&mut stream, &mut answer)?;
            Ok(start.elapsed())
        })
        .collect()
}

fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    answer.clear();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the connection was closed: {}", String::from_utf8_lossy(answer));
        answer.extend_from_slice(&buffer[..count]);
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]);
        ensure!(head.starts_with("HTTP/1.1 200 "), "not answered with 200: {head}");
        let head = head.to_ascii_lowercase();
        let is_over = if head.contains("transfer-encoding: chunked") {
            answer.ends_with(b"\r\n0\r\n\r\n")
        } else {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            answer.len() >= end + 4 + length.with_context(|| format!("no content-length: {head}"))?
        };
        if is_over {
            return Ok(());
        }
    }
}
