//! The app of pods in the cluster's tests: answers every call, and prints it.
//!
//! It listens at `--port`, or else at the number in `$PORT`, or else at 8080. `--reuse-port` sets SO_REUSEPORT, as some
//! servers do. `$METRICS` is what it answers at `/metrics`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Socket, Type};

fn main() -> Result<()> {
    let mut port: u16 = std::env::var("PORT").ok().map_or(Ok(8080), |port| port.parse()).context("$PORT")?;
    let mut reuse_port = false;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some(("--port", value)) => port = value.parse().context("--port")?,
            None if word == "--port" => port = words.next().unwrap_or_default().parse().context("--port")?,
            None if word == "--reuse-port" => reuse_port = true,
            _ => bail!("unknown argument {word}"),
        }
    }
    let listener = listen(port, reuse_port)?;
    println!("listening at {port}");
    for connection in listener.incoming() {
        let connection = connection?;
        std::thread::spawn(move || serve(&connection));
    }
    Ok(())
}

fn listen(port: u16, reuse_port: bool) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    socket.bind(&address.into()).with_context(|| format!("cannot listen at {port}"))?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// All calls of one connection. Ends silently when the caller does.
fn serve(stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let request = line(&mut reader)?;
        let mut length = 0;
        let mut close = false;
        loop {
            let header = line(&mut reader)?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            match header.split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("content-length", value)) => length = value.parse().ok()?,
                Some(("connection", "close")) => close = true,
                _ => {}
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        println!("{request}");
        let (kind, body) = answer(&request);
        let length = body.len();
        write!(writer, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
            .ok()?;
        if close {
            return None;
        }
    }
}

/// Content type and body.
fn answer(request: &str) -> (&'static str, String) {
    match std::env::var("METRICS") {
        Ok(metrics) if request.starts_with("GET /metrics ") => ("text/plain; version=0.0.4", metrics),
        _ => {
            let pod = std::env::var("HOSTNAME").unwrap_or_default();
            ("application/json", format!("{{\"pod\": \"{pod}\", \"output\": [9]}}"))
        }
    }
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}
