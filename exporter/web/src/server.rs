//! Accepts connections, serves each within limits, and ends gracefully.

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::select_all;
use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::config::{Access, Guard, Web};
use crate::counts::Counts;
use crate::deadline::WriteDeadline;
use crate::slots::{Held, Pending, Slot, Slots};

/// Default number of concurrent connections. A further one evicts an idle one, or waits in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 128;

/// The longest request head that is read.
const MAX_HEAD: usize = 16 * 1024;

/// Time limit for a request's head, and for an idle connection: longer than a usual scrape interval.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// Time limit for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// Default time limit for writing an answer.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// Longer than any scrape with its answer.
const REQUEST_TIME: Duration = Duration::from_secs(120);

/// Default time that answers in progress have to finish when the server ends.
const LAST_ANSWERS: Duration = Duration::from_millis(700);

/// Pause after `accept` failed, most often because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Failed handshakes are logged this often at most, because any client can cause them.
const HANDSHAKE_LOG_INTERVAL: Duration = Duration::from_secs(1);

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Concurrent connections.
    pub connections: usize,
    /// Time limit for writing an answer, even if the client reads slowly.
    pub write: Duration,
    /// Time for a request and its answer. After that, the connection may lose its slot to a new one.
    pub request: Duration,
    /// Time that answers in progress have to finish when the server ends.
    pub last_answers: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let (connections, write, request) = (MAX_CONNECTIONS, WRITE_TIME, REQUEST_TIME);
        Self { connections, write, request, last_answers: LAST_ANSWERS }
    }
}

/// The client's address, an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Serves one application.
#[derive(Debug)]
pub struct Server {
    web: Arc<Web>,
    counts: Counts,
    limits: Limits,
    guard: Guard,
    /// When a failed handshake was logged last, and how many were not.
    handshake_log: Mutex<(Option<Instant>, u64)>,
}

/// The body of an answer: the application's, or a rejection.
type Reply<B> = Either<B, Full<Bytes>>;

/// A body that keeps its request pending until the whole body is handed to the connection.
struct Counted<B> {
    body: Reply<B>,
    _pending: Pending,
    _in_flight: InFlight,
}

struct InFlight(Counts);

/// An application: answers requests, never fails.
pub trait Application<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<B, S> Application<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A body that an application may answer with.
pub trait Answer:
    Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static
{
}

impl<B> Answer for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static
{
}

impl Server {
    /// A server with the configuration and the counts of `web`.
    pub fn new(web: Arc<Web>, limits: Limits) -> Arc<Self> {
        let counts = web.counts().clone();
        Arc::new(Self { web, counts, limits, guard: Guard::default(), handshake_log: Mutex::default() })
    }

    /// Serves until `end` completes, then gives answers in progress time to finish.
    pub async fn run<B: Answer>(
        self: Arc<Self>,
        listeners: Vec<TcpListener>,
        application: impl Application<B>,
        end: impl Future<Output = ()>,
    ) {
        let graceful = GracefulShutdown::new();
        tokio::select! {
            () = self.accept(&listeners, &application, &graceful) => {}
            () = end => {}
        }
        drop(listeners);
        log::info!("shutting down");
        if tokio::time::timeout(self.limits.last_answers, graceful.shutdown()).await.is_err() {
            log::warn!("ended before the last answers were complete");
        }
    }

    async fn accept<B: Answer>(
        self: &Arc<Self>,
        listeners: &[TcpListener],
        application: &impl Application<B>,
        graceful: &GracefulShutdown,
    ) {
        let mut slots = Slots::new(self.limits.connections, self.limits.request);
        // Each listener is asked first in turn, so that none keeps the others waiting.
        let mut first = 0;
        loop {
            let turns = listeners.iter().cycle().skip(first).take(listeners.len());
            let (accepted, turn, _) = select_all(turns.map(|listener| Box::pin(listener.accept()))).await;
            first = (first + turn + 1) % listeners.len();
            match accepted {
                Ok((stream, address)) => {
                    let Some(held) = slots.take().await else { return };
                    let peer = Peer(address.ip().to_canonical());
                    let (server, application) = (Arc::clone(self), application.clone());
                    let watcher = graceful.watcher();
                    // A task of its own, so that a panic ends one connection only.
                    tokio::spawn(async move {
                        tokio::select! {
                            biased;
                            () = held.evicted() => {}
                            () = server.connection(stream, peer, &held, application, watcher) => {}
                        }
                    });
                }
                Err(cause) => {
                    log::warn!("cannot accept a connection: {cause}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection<B: Answer>(
        self: Arc<Self>,
        stream: TcpStream,
        peer: Peer,
        held: &Held,
        application: impl Application<B>,
        watcher: Watcher,
    ) {
        // Answers are written whole, so waiting for more bytes gains nothing.
        let _ = stream.set_nodelay(true);
        let web = self.web.current().await;
        let Some(tls) = &web.tls else {
            return self.http1(stream, peer, held.slot(), application, watcher).await;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
        let stream = match tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(cause)) => return self.handshake_failed(peer, &cause.to_string()),
            Err(_) => return self.handshake_failed(peer, "timed out"),
        };
        let session = stream.get_ref().1;
        if !tls.allows(session.peer_certificates().and_then(<[_]>::first)) {
            return self
                .handshake_failed(peer, "the client's certificate has no name of client_allowed_sans");
        }
        #[cfg(feature = "http2")]
        if session.alpn_protocol() == Some(b"h2") {
            return self.http2(stream, peer, held.slot(), application, watcher).await;
        }
        self.http1(stream, peer, held.slot(), application, watcher).await;
    }

    async fn http1<B: Answer>(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        slot: Arc<Slot>,
        application: impl Application<B>,
        watcher: Watcher,
    ) {
        let stream = WriteDeadline::new(stream, self.limits.write, Arc::clone(&slot));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), self.service(peer, slot, application));
        // A client that goes away is not a fault.
        drop(watcher.watch(connection).await);
    }

    #[cfg(feature = "http2")]
    async fn http2<B: Answer>(
        self: Arc<Self>,
        stream: tokio_rustls::server::TlsStream<TcpStream>,
        peer: Peer,
        slot: Arc<Slot>,
        application: impl Application<B>,
        watcher: Watcher,
    ) {
        let stream = WriteDeadline::new(stream, self.limits.write, Arc::clone(&slot));
        let connection = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD as u32)
            .serve_connection(TokioIo::new(stream), self.service(peer, slot, application));
        drop(watcher.watch(connection).await);
    }

    /// The application behind the access checks.
    fn service<B: Answer>(
        self: Arc<Self>,
        peer: Peer,
        slot: Arc<Slot>,
        application: impl Application<B>,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<impl Answer>,
        Error = Infallible,
        Future: Send + 'static,
    > + Send {
        service_fn(move |mut request: Request<Incoming>| {
            let (server, slot, application) = (Arc::clone(&self), Arc::clone(&slot), application.clone());
            async move {
                let pending = slot.request();
                let in_flight = InFlight::new(&server.counts);
                request.extensions_mut().insert(peer);
                let answer = server.answer(peer, request, application).await;
                server.counts.answer(answer.status());
                slot.answer();
                Ok(answer.map(|body| Counted { body, _pending: pending, _in_flight: in_flight }))
            }
        })
    }

    async fn answer<B: Answer>(
        &self,
        peer: Peer,
        request: Request<Incoming>,
        application: impl Application<B>,
    ) -> Response<Reply<B>> {
        let web = self.web.current().await;
        let mut answer = match self.guard.check(&web, peer.0, request.headers().get(AUTHORIZATION)).await {
            Access::Granted => {
                let Ok(answer) = application.call(request).await;
                answer.map(Either::Left)
            }
            Access::Denied => {
                let mut answer = rejection(StatusCode::UNAUTHORIZED, "Unauthorized\n");
                answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
                answer
            }
            Access::Busy => {
                let mut answer =
                    rejection(StatusCode::SERVICE_UNAVAILABLE, "Too many passwords are being checked.\n");
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                answer
            }
            Access::TooOften => rejection(StatusCode::TOO_MANY_REQUESTS, "Too many requests.\n"),
        };
        for (name, value) in &web.headers {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
        answer
    }

    fn handshake_failed(&self, peer: Peer, cause: &str) {
        self.counts.handshake_failure();
        let mut log = self.handshake_log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.0.is_some_and(|last| last.elapsed() < HANDSHAKE_LOG_INTERVAL) {
            log.1 += 1;
            return;
        }
        log::warn!(peer:% = peer.0, not_logged = log.1; "TLS handshake failed: {cause}");
        *log = (Some(Instant::now()), 0);
    }
}

/// Completes on SIGTERM or SIGINT.
pub fn signals() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn rejection<B>(status: StatusCode, text: &'static str) -> Response<Reply<B>> {
    let mut answer = Response::new(Either::Right(Full::from(text)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, PLAIN);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

impl InFlight {
    fn new(counts: &Counts) -> Self {
        counts.request_begins();
        Self(counts.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

impl<B: Answer> Body for Counted<B> {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn frequent_handshake_failures_are_counted_not_logged() {
        let server = Server::new(Arc::new(Web::open(None).unwrap()), Limits::default());
        // In the future, so that a busy machine changes no result.
        *server.handshake_log.lock().unwrap() = (Some(Instant::now() + HANDSHAKE_TIME), 0);
        server.handshake_failed(Peer(Ipv4Addr::LOCALHOST.into()), "on purpose");
        assert_eq!(server.handshake_log.lock().unwrap().1, 1);
        assert_eq!(server.counts.snapshot().handshake_failures, 1);
    }
}
