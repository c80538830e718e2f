//! An HTTP client for tests and load: HTTP/1.1 and HTTP/2 without TLS, over TCP or a unix socket, and raw bytes.
//!
//! Callers block; the runtime behind is an internal matter. Every call ends by itself within [`DEADLINE`].

mod connection;
mod load;

use std::fmt;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::HeaderMap;
use tokio::runtime::Runtime;

pub use load::Load;

/// No call of a test takes longer.
pub const DEADLINE: Duration = Duration::from_secs(30);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("cannot start threads: {error}"))
});

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// The protocol spoken with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, known to be understood.
    Http2,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Beside `host` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// Sent whole.
    pub body: Bytes,
    /// The caller gives up after this time: the connection (HTTP/1.1) or the stream (HTTP/2) is dropped.
    pub abort_after: Option<Duration>,
}

impl Call {
    /// A call without a body.
    pub fn get(path: &str) -> Self {
        Self {
            method: "GET".into(),
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            abort_after: None,
        }
    }

    /// A JSON body.
    pub fn post(path: &str, json: impl Into<Bytes>) -> Self {
        Self { method: "POST".into(), body: json.into(), ..Self::get(path) }
            .header("content-type", "application/json")
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The caller leaves after `time`.
    pub fn abort_after(mut self, time: Duration) -> Self {
        self.abort_after = Some(time);
        self
    }
}

/// The response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// As much of the body as came.
    pub body: Bytes,
    /// Present if the response had trailers.
    pub trailers: HeaderMap,
    /// Whether the body came to its end.
    pub complete: bool,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The gRPC status, from the trailers or, in a trailers-only response, from the headers.
    pub fn grpc_status(&self) -> Option<u32> {
        let value = self.trailers.get("grpc-status").or_else(|| self.headers.get("grpc-status"))?;
        value.to_str().ok()?.parse().ok()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// Nobody listens.
    Connect(String),
    /// The connection ended before a response began.
    Broken(String),
    /// The caller left, as [`Call::abort_after`] said.
    Aborted,
    /// Nothing came within [`DEADLINE`].
    Deadline,
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(formatter, "no connection: {error}"),
            Self::Broken(error) => write!(formatter, "the connection broke before a response: {error}"),
            Self::Aborted => write!(formatter, "the caller left"),
            Self::Deadline => write!(formatter, "no response within {} s", DEADLINE.as_secs()),
        }
    }
}

impl std::error::Error for CallError {}

/// A call's end.
pub type CallResult = Result<Answer, CallError>;

/// One call on a connection of its own.
pub fn call(endpoint: &Endpoint, protocol: Protocol, call: Call) -> CallResult {
    block_on(async {
        let mut connection = connection::open(endpoint, protocol).await?;
        connection.call(call).await
    })
}

/// GET over HTTP/1.1: the body of an answer that has to be 200.
pub fn get(endpoint: &Endpoint, path: &str) -> Result<String> {
    let answer = call(endpoint, Protocol::Http1, Call::get(path)).with_context(|| format!("GET {path}"))?;
    anyhow::ensure!(answer.status == 200, "GET {path} answered {}: {}", answer.status, answer.text());
    Ok(answer.text())
}

/// Any text as a value in a query string.
pub fn percent_encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Sends bytes as they are and reads until the server closes the connection, or says nothing for `patience`.
pub fn raw(address: SocketAddr, bytes: &[u8], patience: Duration) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(patience))?;
    // A server may refuse a long request before it has read all of it.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 16_384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if ended(error.kind()) => return Ok(answer),
            Err(error) => return Err(error).context("while reading the answer"),
        }
    }
}

/// A unary gRPC call with one message, to be made over HTTP/2.
pub fn grpc(method: &str, message: &[u8]) -> Call {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let frame = [&[0], &length[..], message].concat();
    Call { method: "POST".into(), body: frame.into(), ..Call::get(method) }
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

fn ended(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionReset)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}
