//! Listens, serves each connection within limits, and ends in order.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::select_all;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::config::Config;
use crate::handler::Handler;
use crate::log;
use crate::patience::{Answers, Patient};
use crate::places::{Places, Seat};
use crate::web::{Tls, Web};

/// Connections at a time; a further one takes the place of one that is silent, or waits in the kernel's queue.
const MAX_CONNECTIONS: usize = 128;

/// The longest head of a request that is read.
const MAX_HEAD: usize = 16 * 1024;

/// How long a request's head may take, and a connection idle between two: longer than scrapes are apart.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// How long a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// How long the sending of an answer may take.
const SEND_TIME: Duration = Duration::from_secs(30);

/// How long scrapes that have begun may go on after a signal to end.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// How long to wait for what made `accept` fail to pass: too many open files, most often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is nothing to serve.
#[derive(Debug)]
pub enum StartError {
    /// The web configuration is wrong.
    Web(Vec<String>),
    /// The address cannot be had.
    Listen(SocketAddr, io::Error),
    /// Signals cannot be awaited.
    Signal(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web(faults) => f.write_str(&faults.join("; ")),
            Self::Listen(address, cause) => write!(
                f,
                "cannot listen on {address}: {cause}; stop what listens there, or choose another \
                 --web.listen-address"
            ),
            Self::Signal(cause) => write!(f, "cannot wait for signals: {cause}"),
        }
    }
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signal)?;
    let web = Arc::new(Web::open(config.web_config.clone()).map_err(StartError::Web)?);
    let mut listeners = Vec::new();
    for address in &config.listen {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|cause| StartError::Listen(*address, cause))?);
    }
    announce(&listeners, &config, &web);
    let server = Server { handler: Arc::new(Handler::new(config, Arc::clone(&web))), web };
    let graceful = GracefulShutdown::new();
    tokio::select! {
        () = server.accept(&listeners, &graceful) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(listeners);
    log::info("ending");
    if tokio::time::timeout(LAST_WORDS, graceful.shutdown()).await.is_err() {
        log::warn("ended before the last answers were complete", &[]);
    }
    Ok(())
}

/// The port may have been left to the system to choose.
fn announce(listeners: &[TcpListener], config: &Config, web: &Web) {
    let scheme = if web.current().tls.is_some() { "https" } else { "http" };
    for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        log::info(format_args!(
            "scoretap-exporter {} reads {} and serves {scheme}://{address}{}",
            crate::own::VERSION,
            config.admin,
            config.telemetry_path
        ));
    }
}

#[derive(Clone)]
struct Server {
    handler: Arc<Handler>,
    web: Arc<Web>,
}

impl Server {
    async fn accept(&self, listeners: &[TcpListener], graceful: &GracefulShutdown) {
        let mut places = Places::new(MAX_CONNECTIONS);
        loop {
            let accepted = select_all(listeners.iter().map(|listener| Box::pin(listener.accept())));
            match accepted.await.0 {
                Ok((stream, _)) => {
                    let Some((seat, permit)) = places.take().await else { return };
                    let connection = self.clone().connection(stream, Arc::clone(&seat), graceful.watcher());
                    // In a task of its own, so that a panic ends one connection and nothing else.
                    tokio::spawn(async move {
                        tokio::select! {
                            () = connection => {}
                            () = seat.must_leave() => {}
                        }
                        seat.end();
                        drop(permit);
                    });
                }
                Err(cause) => {
                    log::warn(format_args!("cannot accept a connection: {cause}"), &[]);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream, seat: Arc<Seat>, watcher: Watcher) {
        // An answer is written whole; nobody waits for more of it.
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.web.current().tls.clone() else {
            return self.serve(stream, seat, watcher).await;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
        // Whoever cannot shake hands is told so by TLS itself.
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await else {
            return;
        };
        if is_allowed(&tls, stream.get_ref().1) {
            self.serve(stream, seat, watcher).await;
        }
    }

    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        seat: Arc<Seat>,
        watcher: Watcher,
    ) {
        let answers = Answers::default();
        let stream = Patient::new(stream, SEND_TIME, Arc::clone(&answers));
        let handler = self.handler;
        let service = service_fn(move |request| {
            let (handler, seat, answers) = (Arc::clone(&handler), Arc::clone(&seat), Arc::clone(&answers));
            async move {
                seat.set_busy(true);
                let answer = handler.answer(&request).await;
                answers.fetch_add(1, Ordering::Relaxed);
                seat.set_busy(false);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        // A scraper that goes away is none of our trouble.
        drop(watcher.watch(connection).await);
    }
}

fn is_allowed(tls: &Tls, session: &rustls::ServerConnection) -> bool {
    tls.allows(session.peer_certificates().and_then(<[_]>::first))
}
