//! The webhook's server: reviews over TLS, health and metrics over plain HTTP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::log;
use super::metrics::Metrics;
use super::review::{self, Exempt};
use super::tls::{Certificate, Files};
use crate::settings::Settings;

/// An API object has at most 1.5 MiB, and a review contains two.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// The time limit for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Concurrent handshakes.
const MAX_HANDSHAKES: usize = 256;
/// The time for which the API server may still send reviews after the pod started to terminate.
const LAST_REVIEWS: Duration = Duration::from_secs(5);

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// Linux's error code for a kernel without IPv6.
const EAFNOSUPPORT: i32 = 97;

/// The options of the webhook.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Address for reviews.
    pub listen: SocketAddr,
    /// Address for health and metrics.
    pub metrics: SocketAddr,
    /// The certificate's files.
    pub files: Files,
    /// The operator's settings.
    pub settings: Settings,
    /// Namespaces in which nothing changes.
    pub exempt: Exempt,
}

struct App {
    settings: Settings,
    exempt: Exempt,
    metrics: Arc<Metrics>,
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(serving: Serving) -> Result<()> {
    let metrics = Arc::new(Metrics::default());
    let certificate = Certificate::load(serving.files)?;
    let acceptor = TlsAcceptor::from(Arc::new(certificate.server_config()?));
    let reviews = TlsListener::new(listen(serving.listen)?, acceptor)?;
    let plain = listen(serving.metrics)?;
    log(&format!(
        "info: reviews on https://{}/mutate, metrics on http://{}/metrics",
        reviews.address,
        plain.local_addr()?
    ));
    tokio::spawn(certificate.watch(Arc::clone(&metrics)));
    let app = App { settings: serving.settings, exempt: serving.exempt, metrics: Arc::clone(&metrics) };
    let ending = ending()?;
    let (first, second) = (
        axum::serve(reviews, routes(app)).with_graceful_shutdown(ended(ending.clone())),
        axum::serve(plain, health(metrics)).with_graceful_shutdown(ended(ending)),
    );
    tokio::try_join!(first.into_future(), second.into_future()).context("serving")?;
    Ok(())
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = bind(address).or_else(|error| {
        // The node's kernel has no IPv6.
        let without_ipv6 =
            address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && error.raw_os_error() == Some(EAFNOSUPPORT);
        if without_ipv6 { bind((Ipv4Addr::UNSPECIFIED, address.port()).into()) } else { Err(error) }
    });
    listener.with_context(|| {
        format!("cannot listen on {address}; stop what listens there, or choose another address")
    })
}

/// Makes `[::]` accept IPv4 too, regardless of the node's default for `IPV6_V6ONLY`.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn routes(app: App) -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(app))
}

fn health(metrics: Arc<Metrics>) -> Router {
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Router::new()
        .route("/metrics", get(move || async move { (text, metrics.text()) }))
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(|| async { "ready\n" }))
}

async fn mutate(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let start = Instant::now();
    match review::answer(&body, &app.settings, &app.exempt) {
        Ok(answer) => {
            app.metrics.review(answer.kind, answer.decision, start.elapsed());
            ([(header::CONTENT_TYPE, "application/json")], answer.body).into_response()
        }
        Err(error) => {
            app.metrics.malformed();
            (StatusCode::BAD_REQUEST, format!("{error:#}\n")).into_response()
        }
    }
}

/// Becomes true after a signal and the time for last reviews.
fn ending() -> Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tokio::time::sleep(LAST_REVIEWS).await,
            _ = interrupt.recv() => {}
        }
        let _ = sender.send(true);
    });
    Ok(receiver)
}

async fn ended(mut ending: watch::Receiver<bool>) {
    drop(ending.wait_for(|ended| *ended).await);
}

/// Returns connections after their handshake, so that a slow handshake does not delay other connections.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(MAX_HANDSHAKES);
        tokio::spawn(accept(listener, acceptor, sender));
        Ok(Self { ready, address })
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    while !ready.is_closed() {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                drop(ready.send((stream, peer)).await);
            }
            drop(place);
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task lives as long as this listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
