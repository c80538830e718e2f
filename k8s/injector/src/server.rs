//! The webhook: reviews over TLS, health and metrics without.

use std::io;
use std::net::SocketAddr;
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
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::inject::Settings;
use crate::metrics::Metrics;
use crate::review::{self, Exempt};
use crate::say;
use crate::tls::{Certificate, Files};

/// An API object is at most 1.5 MiB, and a review holds two.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at a time.
const MAX_HANDSHAKES: usize = 256;
/// How long the API server may still send reviews here after the pod began to end.
const LAST_REVIEWS: Duration = Duration::from_secs(5);

/// All that the webhook needs.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Where reviews come.
    pub listen: SocketAddr,
    /// Where health and metrics are.
    pub metrics: SocketAddr,
    /// The certificate.
    pub files: Files,
    /// The operator's decisions.
    pub settings: Settings,
    /// Where nothing is changed.
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
    let reviews = TlsListener::new(listen(serving.listen).await?, acceptor)?;
    let plain = listen(serving.metrics).await?;
    say(&format!(
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

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; stop what listens there, or choose another address")
    })
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

/// True once a signal came and the time for last reviews is over.
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

/// Hands out connections whose handshake is done: one that is slow keeps no other waiting.
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
            // The accepting task ends only with this listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
