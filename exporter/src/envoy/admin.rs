//! Reads Envoy's admin interface, over a unix socket or TCP: one request, answered line by line, within limits.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::envoy::lines::{Broken, Lines, MAX_LINE};
use crate::reading::decode::NotAStatistic;

/// The longest answer that is read: some 300,000 statistics.
pub const MAX_BODY: usize = 64 * 1024 * 1024;

/// How many bytes of a rejection's body are reported.
const MAX_REASON: usize = 200;

/// Where Envoy's admin interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

impl Endpoint {
    /// Reads `unix:///PATH` or `http://HOST:PORT`.
    pub fn parse(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("unix://") {
            return unix(path).map_err(|fault| format!("{url:?}: {fault}; write unix:///PATH"));
        }
        let Some(authority) = url.strip_prefix("http://") else {
            return Err(format!("{url:?}: is neither unix:///PATH nor http://HOST:PORT"));
        };
        tcp(authority.strip_suffix('/').unwrap_or(authority))
            .map_err(|fault| format!("{url:?}: {fault}; write http://HOST:PORT, as in http://127.0.0.1:9901"))
    }
}

fn unix(path: &str) -> Result<Endpoint, String> {
    /// The size of `sun_path` in unix(7), less the terminating NUL.
    const LONGEST: usize = 107;
    if !path.starts_with('/') {
        return Err("the path is not absolute".to_owned());
    }
    if path.len() > LONGEST {
        return Err(format!("the path has {} bytes, and a socket's has at most {LONGEST}", path.len()));
    }
    Ok(Endpoint::Unix(PathBuf::from(path)))
}

fn tcp(authority: &str) -> Result<Endpoint, String> {
    let Some((host, port)) = authority.rsplit_once(':') else {
        return Err("has no port".to_owned());
    };
    if port.parse::<u16>().is_err() {
        return Err(format!("{port:?} is no port"));
    }
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(format!("{host:?} is no host"));
    }
    Ok(Endpoint::Tcp(authority.to_owned()))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}"),
        }
    }
}

/// Why Envoy could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// Connecting failed.
    Unreachable(io::Error),
    /// The answer was not complete in time.
    TimedOut(Duration),
    /// An answer other than 200.
    Refused {
        /// The status.
        status: StatusCode,
        /// The beginning of its body.
        reason: String,
    },
    /// The answer is not HTTP, or ended too soon.
    Broken(hyper::Error),
    /// The answer is not text in whole lines.
    NotLines(Broken),
    /// A line is not a statistic.
    NotAStatistic(NotAStatistic),
    /// The answer is too long.
    TooLarge,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(cause) => {
                write!(
                    f,
                    "cannot connect ({cause}); is Envoy running, and is its admin address the one of --envoy.admin?"
                )
            }
            Self::TimedOut(limit) => write!(f, "no complete answer within {:.1} s", limit.as_secs_f64()),
            Self::Refused { status, reason } if *status == StatusCode::FORBIDDEN => {
                write!(
                    f,
                    "Envoy refuses with {status} ({reason:?}); let its admin's allow_paths have the prefix /stats"
                )
            }
            Self::Refused { status, reason } => write!(f, "Envoy answers {status} ({reason:?})"),
            Self::Broken(cause) => write!(f, "the answer is broken ({})", chain(cause)),
            Self::NotLines(Broken::LineTooLong) => {
                write!(f, "the answer has a line of more than {MAX_LINE} bytes")
            }
            Self::NotLines(Broken::NotText) => write!(f, "the answer is no text"),
            Self::NotLines(Broken::HalfALine) => write!(f, "the answer ends within a line"),
            Self::NotAStatistic(NotAStatistic { line }) => {
                write!(
                    f,
                    "the answer has a line that is no statistic: {line:?}; is --envoy.admin the admin interface of Envoy?"
                )
            }
            Self::TooLarge => write!(f, "the answer has more than {MAX_BODY} bytes"),
        }
    }
}

/// An error with its sources, where hyper keeps the details.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<Broken> for ReadError {
    fn from(broken: Broken) -> Self {
        Self::NotLines(broken)
    }
}

/// Requests `path` and passes each line of the answer to `each`. The caller sets the timeout.
pub async fn read(
    endpoint: &Endpoint,
    path: &str,
    each: impl FnMut(&str) -> Result<(), NotAStatistic>,
) -> Result<(), ReadError> {
    match endpoint {
        Endpoint::Unix(socket) => {
            exchange(UnixStream::connect(socket).await.map_err(ReadError::Unreachable)?, path, each).await
        }
        Endpoint::Tcp(authority) => {
            exchange(TcpStream::connect(authority).await.map_err(ReadError::Unreachable)?, path, each).await
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    path: &str,
    each: impl FnMut(&str) -> Result<(), NotAStatistic>,
) -> Result<(), ReadError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ReadError::Broken)?;
    // Dropping the set closes the connection. The request reports the connection's errors too.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let request = Request::get(path).header(hyper::header::HOST, "envoy").body(Empty::<Bytes>::new());
    // The path needs no escapes, so the request is valid.
    let request = request.unwrap_or_default();
    let response = sender.send_request(request).await.map_err(ReadError::Broken)?;
    if response.status() == StatusCode::OK {
        lines(response.into_body(), each).await
    } else {
        Err(refusal(response).await)
    }
}

async fn lines(
    mut body: Incoming,
    mut each: impl FnMut(&str) -> Result<(), NotAStatistic>,
) -> Result<(), ReadError> {
    let mut lines = Lines::default();
    let mut taken = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(ReadError::Broken)?.into_data() else { continue };
        taken = taken.saturating_add(chunk.len());
        if taken > MAX_BODY {
            return Err(ReadError::TooLarge);
        }
        lines.feed(&chunk, |line| each(line).map_err(ReadError::NotAStatistic))?;
    }
    Ok(lines.finish()?)
}

async fn refusal(response: Response<Incoming>) -> ReadError {
    let status = response.status();
    let mut body = response.into_body();
    let mut reason = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        reason.extend(frame.into_data().unwrap_or_default());
        if reason.len() > MAX_REASON {
            reason.truncate(MAX_REASON);
            break;
        }
    }
    ReadError::Refused { status, reason: String::from_utf8_lossy(&reason).trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &Endpoint) {
        let endpoint = Endpoint::parse(url);
        assert_eq!(endpoint.as_ref(), Ok(expected), "{url}");
    }

    #[track_caller]
    fn check_fault(url: &str, expected: &str) {
        let fault = Endpoint::parse(url).expect_err("must be refused");
        assert!(fault.contains(expected), "{fault}");
        assert!(fault.starts_with(&format!("{url:?}: ")), "{fault}");
    }

    #[test]
    fn socket_and_port_are_endpoints() {
        check("unix:///run/a.sock", &Endpoint::Unix("/run/a.sock".into()));
        check("http://127.0.0.1:9901", &Endpoint::Tcp("127.0.0.1:9901".to_owned()));
        check("http://[::1]:9901/", &Endpoint::Tcp("[::1]:9901".to_owned()));
        check("http://localhost:15000", &Endpoint::Tcp("localhost:15000".to_owned()));
    }

    #[test]
    fn other_urls_are_rejected() {
        check_fault("/run/a.sock", "neither unix:///PATH nor http://HOST:PORT");
        check_fault("https://127.0.0.1:9901", "neither");
        check_fault("unix://run/a.sock", "not absolute");
        check_fault(&format!("unix:///{}", "a".repeat(107)), "108 bytes");
        check_fault("http://127.0.0.1", "no port");
        check_fault("http://127.0.0.1:99999", "\"99999\" is no port");
        check_fault("http://:9901", "\"\" is no host");
        check_fault("http://a/b:9901", "\"a/b\" is no host");
        check_fault("http://127.0.0.1:9901/stats", "is no port");
    }
}
