//! Listens, serves each connection within limits, and ends in order.

use std::convert::Infallible;
use std::fmt;
use std::io;
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

use crate::cli::config::Config;
use crate::http::handler::Handler;
use crate::listen::Listen;
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
    Listen(Listen, io::Error),
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
        let listener = address.bind().await;
        listeners.push(listener.map_err(|cause| StartError::Listen(*address, cause))?);
    }
    announce(&listeners, &config, &web);
    let server = Server::new(config, web, SEND_TIME);
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
            crate::render::self_metrics::VERSION,
            config.admin,
            config.telemetry_path
        ));
    }
}

#[derive(Clone)]
struct Server {
    handler: Arc<Handler>,
    web: Arc<Web>,
    send_time: Duration,
}

impl Server {
    fn new(config: Config, web: Arc<Web>, send_time: Duration) -> Self {
        Self { handler: Arc::new(Handler::new(config, Arc::clone(&web))), web, send_time }
    }

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
                            biased;
                            () = seat.must_leave() => {}
                            () = connection => {}
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
        let stream = Patient::new(stream, self.send_time, Arc::clone(&answers), Arc::clone(&seat));
        let handler = self.handler;
        let service = service_fn(move |request| {
            let (handler, seat, answers) = (Arc::clone(&handler), Arc::clone(&seat), Arc::clone(&answers));
            async move {
                let busy = seat.request();
                let answer = handler.answer(&request).await;
                answers.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>(answer.map(|body| body.awaited(busy)))
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Instant;

    use clap::Parser;

    use super::{
        Arc, Config, Duration, GracefulShutdown, Handler, MAX_CONNECTIONS, Server, TcpListener, Web,
    };
    use crate::cli::args::Args;
    use crate::http::handler::MAX_SCRAPES;

    /// A scrape whose answer nobody has read yet: some megabytes, more than the kernel keeps of a connection.
    fn scrape(address: SocketAddr) -> (TcpStream, Vec<u8>) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        (stream, Vec::new())
    }

    /// Reads an answer, of which some has been read, to its end: its status, and whether it is whole.
    fn read((mut stream, mut answer): (TcpStream, Vec<u8>)) -> (String, bool) {
        // What was cut off may end in a reset.
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        (head[9..12].to_owned(), length.parse::<usize>().unwrap() == answer.len() - end)
    }

    #[track_caller]
    fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn scrape_slowly(address: SocketAddr, handler: &Handler) {
        let mut slow: Vec<(TcpStream, Vec<u8>)> = (0..MAX_SCRAPES).map(|_| scrape(address)).collect();
        wait_for("all places are taken", || read(scrape(address)).0 == "503");
        wait_for("all places are free", || {
            // Half of them read nothing, and half a little now and then.
            for (stream, answer) in &mut slow[MAX_SCRAPES / 2..] {
                let mut little = [0; 512];
                let length = stream.read(&mut little).unwrap_or(0);
                answer.extend(&little[..length]);
            }
            handler.free_scrapes() == MAX_SCRAPES
        });
        assert_eq!(read(scrape(address)), ("200".to_owned(), true));
        // A place may have been somebody else's: whoever has none is told at once.
        let kept = slow.into_iter().map(read).filter(|answer| *answer == ("200".to_owned(), true));
        assert_eq!(kept.count(), 0, "whole answers were kept for those who do not read them");
    }

    /// Serves answers of some megabytes, each to be taken within so long, while something is done to it.
    fn serve(send_time: Duration, run: impl FnOnce(SocketAddr, &Handler) + Send + 'static) {
        let label = format!("a={}", "x".repeat(600_000));
        let args = Args::parse_from(["exporter", "--envoy.admin", "unix:///nonexistent", "--label", &label]);
        let config = Config::new(&args, |_| None).unwrap();
        let server = Server::new(config, Arc::new(Web::open(None).unwrap()), send_time);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listeners = [TcpListener::bind("127.0.0.1:0").await.unwrap()];
            let address = listeners[0].local_addr().unwrap();
            let graceful = GracefulShutdown::new();
            let handler = Arc::clone(&server.handler);
            tokio::select! {
                () = server.accept(&listeners, &graceful) => {}
                ran = tokio::task::spawn_blocking(move || run(address, &handler)) => ran.unwrap(),
            }
        });
    }

    #[test]
    fn who_does_not_read_an_answer_in_time_loses_it_and_others_get_the_place() {
        // In which a busy machine has all of them begun.
        serve(Duration::from_secs(2), scrape_slowly);
    }

    #[test]
    fn an_answer_that_is_being_read_is_not_cut_off_for_those_who_ask_for_nothing() {
        serve(Duration::from_secs(60), |address, _| {
            let (mut stream, mut answer) = scrape(address);
            answer.resize(512, 0);
            stream.read_exact(&mut answer).unwrap();
            let _silent: Vec<TcpStream> =
                (0..2 * MAX_CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
            assert_eq!(read(scrape(address)), ("200".to_owned(), true));
            assert_eq!(read((stream, answer)), ("200".to_owned(), true));
        });
    }

    #[test]
    fn who_has_read_an_answer_and_asks_for_nothing_more_gives_the_place() {
        serve(Duration::from_secs(60), |address, _| {
            let satisfied = (0..MAX_CONNECTIONS).map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"\r\n\r\nhealthy\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    answer.extend(byte);
                }
                stream
            });
            let _satisfied: Vec<TcpStream> = satisfied.collect();
            let (mut stream, answer) = scrape(address);
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut first = [0];
            assert!(stream.read_exact(&mut first).is_ok(), "no answer within 20 s");
            assert_eq!(read((stream, [answer, first.to_vec()].concat())), ("200".to_owned(), true));
        });
    }
}
