//! One connection and the calls on it.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;

use super::{Answer, Call, CallError, CallResult, DEADLINE, Endpoint, Protocol};

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An open connection.
pub(super) struct Connection {
    sender: Sender,
    driver: AbortHandle,
}

/// Connects and shakes hands.
pub(super) async fn open(endpoint: &Endpoint, protocol: Protocol) -> Result<Connection, CallError> {
    let connect = |error: std::io::Error| CallError::Connect(error.to_string());
    match endpoint {
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(connect)?;
            stream.set_nodelay(true).map_err(connect)?;
            handshake(stream, protocol).await
        }
        Endpoint::Unix(path) => handshake(UnixStream::connect(path).await.map_err(connect)?, protocol).await,
    }
}

async fn handshake<S>(stream: S, protocol: Protocol) -> Result<Connection, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            let (sender, driver) = http1::handshake(io).await.map_err(|error| broken(&error))?;
            let driver = tokio::spawn(async move { drop(driver.await) }).abort_handle();
            Ok(Connection { sender: Sender::Http1(sender), driver })
        }
        Protocol::Http2 => {
            let (sender, driver) =
                http2::handshake(TokioExecutor::new(), io).await.map_err(|error| broken(&error))?;
            let driver = tokio::spawn(async move { drop(driver.await) }).abort_handle();
            Ok(Connection { sender: Sender::Http2(sender), driver })
        }
    }
}

impl Connection {
    /// Whether another call can be made on it: the server may have closed it after the last one.
    pub(super) async fn is_open(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// One call, to its end.
    pub(super) async fn call(&mut self, call: Call) -> CallResult {
        let (limit, over) = match call.abort_after {
            Some(time) => (time, CallError::Aborted),
            None => (DEADLINE, CallError::Deadline),
        };
        let result = tokio::time::timeout(limit, self.exchange(call)).await;
        result.unwrap_or_else(|_| {
            // A stream of HTTP/2 is reset by dropping its future; HTTP/1.1 can only drop the connection.
            if matches!(self.sender, Sender::Http1(_)) {
                self.driver.abort();
            }
            Err(over)
        })
    }

    async fn exchange(&mut self, call: Call) -> CallResult {
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(|error| broken(&error))?;
                sender.send_request(request(&call, "")?).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(|error| broken(&error))?;
                sender.send_request(request(&call, "http://localhost")?).await
            }
        };
        Ok(read(response.map_err(|error| broken(&error))?).await)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// HTTP/1.1 carries the host in a header, HTTP/2 in the target.
fn request(call: &Call, origin: &str) -> Result<Request<Full<Bytes>>, CallError> {
    let invalid = |error: String| CallError::Broken(format!("{} {}: {error}", call.method, call.path));
    let target: Uri = format!("{origin}{}", call.path).parse().map_err(|_| invalid("not a URI".into()))?;
    let mut request = Request::builder().method(call.method.as_str()).uri(target);
    if origin.is_empty() && !call.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", "localhost");
    }
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(call.body.clone())).map_err(|error| invalid(error.to_string()))
}

async fn read(response: Response<Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    let mut trailers = HeaderMap::new();
    let mut complete = true;
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(frame)) => trailers = frame.into_trailers().unwrap_or_default(),
            Err(_) => {
                complete = false;
                break;
            }
        }
    }
    Answer { status: head.status.as_u16(), headers: head.headers, body: bytes.freeze(), trailers, complete }
}

fn broken(error: &hyper::Error) -> CallError {
    CallError::Broken(format!("{error:?}"))
}
