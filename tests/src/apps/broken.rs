//! A server that breaks on purpose, as the model's name in the path asks: `POST /v1/models/reset:predict`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::SockRef;

use super::local;
use crate::http::DEADLINE;
use crate::ports;
use crate::wait::{STARTUP, wait_for};

/// How to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Not at all: `{}` with 200.
    Ok,
    /// A TCP reset before any byte of a response.
    Reset,
    /// An orderly end of the connection before any byte of a response.
    Close,
    /// Headers and a part of the announced body, then a reset.
    ResetMidBody,
    /// Headers and a chunk, then an orderly end without the last chunk.
    CloseMidChunks,
    /// Nothing until [`Broken::let_go`], then `{}` with 200.
    Held,
    /// Nothing, until the peer leaves.
    Hang,
    /// Headers and a part of the body, then nothing until the peer leaves.
    HangMidBody,
    /// One byte of the body every 50 ms, ten in all, to the end.
    Drip,
    /// Bytes that are no HTTP.
    Garbage,
}

impl Break {
    /// Every way that needs no [`Broken::let_go`].
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Reset,
        Self::Close,
        Self::ResetMidBody,
        Self::CloseMidChunks,
        Self::Hang,
        Self::HangMidBody,
        Self::Drip,
        Self::Garbage,
    ];

    /// The model's name that asks for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Reset => "reset",
            Self::Close => "close",
            Self::ResetMidBody => "reset-mid-body",
            Self::CloseMidChunks => "close-mid-chunks",
            Self::Held => "held",
            Self::Hang => "hang",
            Self::HangMidBody => "hang-mid-body",
            Self::Drip => "drip",
            Self::Garbage => "garbage",
        }
    }

    /// The path that asks for it.
    pub fn path(self) -> String {
        format!("/v1/models/{}:predict", self.as_str())
    }
}

/// The server. It listens until the process ends, or it is stopped.
#[derive(Debug)]
pub struct Broken {
    /// Where it listens.
    pub address: SocketAddr,
    over: Arc<AtomicBool>,
    let_go: Arc<AtomicBool>,
    acceptor: JoinHandle<()>,
}

impl Broken {
    /// Starts it.
    pub fn start() -> Result<Self> {
        Self::start_at(local(ports::free()))
    }

    /// As [`Broken::start`], at this address, as soon as nobody else listens there.
    pub fn start_at(address: SocketAddr) -> Result<Self> {
        let mut listener = None;
        wait_for("its address is free", STARTUP, || {
            listener = TcpListener::bind(address).ok();
            listener.is_some()
        })?;
        let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let let_go = Arc::new(AtomicBool::new(false));
        let may_go = Arc::clone(&let_go);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let may_go = Arc::clone(&may_go);
                std::thread::spawn(move || serve(stream, &may_go));
            }
        });
        Ok(Self { address, over, let_go, acceptor })
    }

    /// Answers the calls that are [held](Break::Held), and from now on all such at once.
    pub fn let_go(&self) {
        self.let_go.store(true, Ordering::Relaxed);
    }

    /// Listens no longer. Connections that are open end when the peer leaves.
    pub fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        // It looks up when somebody comes.
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.join();
    }
}

fn serve(mut stream: TcpStream, may_go: &AtomicBool) {
    // A peer that leaves in between is what some tests are about.
    while let Ok(Some(path)) = read_request(&mut stream) {
        let wanted =
            Break::ALL.into_iter().chain([Break::Held]).find(|way| way.path() == path).unwrap_or(Break::Ok);
        match answer(&mut stream, wanted, may_go) {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

/// Answers one request; whether the connection goes on.
fn answer(stream: &mut TcpStream, wanted: Break, may_go: &AtomicBool) -> io::Result<bool> {
    match wanted {
        Break::Ok => return well(stream),
        Break::Held => {
            wait_for("it is let go", DEADLINE, || may_go.load(Ordering::Relaxed))
                .map_err(io::Error::other)?;
            return well(stream);
        }
        Break::Reset => reset(stream)?,
        Break::Close => stream.shutdown(Shutdown::Both)?,
        Break::ResetMidBody => {
            begin_body(stream)?;
            // A reset overtakes bytes that were not delivered yet; the peer must have seen the response begin.
            std::thread::sleep(Duration::from_millis(100));
            reset(stream)?;
        }
        Break::CloseMidChunks => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
            stream.shutdown(Shutdown::Both)?;
        }
        Break::Hang => until_peer_leaves(stream)?,
        Break::HangMidBody => {
            begin_body(stream)?;
            until_peer_leaves(stream)?;
        }
        Break::Drip => return drip(stream),
        Break::Garbage => stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n")?,
    }
    Ok(false)
}

fn well(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")?;
    Ok(true)
}

fn begin_body(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
}

fn drip(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")?;
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b".")?;
    }
    Ok(true)
}

/// The next close of the socket becomes a reset.
fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

fn until_peer_leaves(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

/// Reads one request with its body and returns its path; `None` where the peer has left.
pub(super) fn read_request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            if bytes.len() >= end + 4 + content_length(&head) {
                return Ok(head.split(' ').nth(1).map(str::to_owned));
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn content_length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}
