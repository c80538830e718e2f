//! Listens, serves each connection within limits, and ends in order.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::handler::Handler;
use crate::log;

/// Connections at a time; further ones wait for a place in the kernel's queue.
const MAX_CONNECTIONS: usize = 128;

/// The longest head of a request that is read.
const MAX_HEAD: usize = 16 * 1024;

/// How long a request's head may take, and a connection idle between two.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// How long scrapes that have begun may go on after a signal to end.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// How long to wait for what made `accept` fail to pass: too many open files, most often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is nothing to serve.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be had.
    Listen(SocketAddr, io::Error),
    /// Signals cannot be awaited.
    Signal(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
    let address = config.listen;
    let listener = TcpListener::bind(address).await.map_err(|cause| StartError::Listen(address, cause))?;
    announce(&listener, &config);
    let handler = Arc::new(Handler::new(config));
    let graceful = GracefulShutdown::new();
    tokio::select! {
        () = accept(&listener, &handler, &graceful) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(listener);
    log::info("ending");
    if tokio::time::timeout(LAST_WORDS, graceful.shutdown()).await.is_err() {
        log::warn("ended before the last answers were complete");
    }
    Ok(())
}

/// The port may have been left to the system to choose.
fn announce(listener: &TcpListener, config: &Config) {
    let address = listener.local_addr().unwrap_or(config.listen);
    log::info(format_args!(
        "scoretap-exporter {} reads {} and serves http://{address}{}",
        crate::own::VERSION,
        config.admin,
        config.telemetry_path
    ));
}

async fn accept(listener: &TcpListener, handler: &Arc<Handler>, graceful: &GracefulShutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = graceful.watch(connection(stream, Arc::clone(handler)));
                // In a task of its own, so that a panic ends one connection and nothing else.
                tokio::spawn(async move {
                    // A scraper that goes away is none of our trouble.
                    drop(connection.await);
                    drop(place);
                });
            }
            Err(cause) => {
                log::warn(format_args!("cannot accept a connection: {cause}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn connection(
    stream: TcpStream,
    handler: Arc<Handler>,
) -> impl GracefulConnection<Error = hyper::Error> + Send {
    let service = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(handler.answer(&request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
}
