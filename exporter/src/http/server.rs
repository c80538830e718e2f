//! Starts the server of metrics and pages, and ends it on a signal.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;

use hyper::service::service_fn;
use scoretap_web::config::Web;
use scoretap_web::listen::{self, Listen};
use scoretap_web::server::{Limits, Server, signals};
use tokio::net::TcpListener;

use crate::cli::config::Config;
use crate::http::handler::Handler;

/// Why the server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The web configuration is not valid.
    Web(Vec<String>),
    /// The address is not available.
    Listen(Listen, io::Error),
    /// systemd passed no usable socket.
    Systemd(io::Error),
    /// Signals cannot be received.
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
            Self::Systemd(cause) => write!(f, "--web.systemd-socket: {cause}; start it from a socket unit"),
            Self::Signal(cause) => write!(f, "cannot receive signals: {cause}"),
        }
    }
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), StartError> {
    let signals = signals().map_err(StartError::Signal)?;
    let web = Arc::new(Web::open(config.web_config.clone()).map_err(StartError::Web)?);
    let listeners = listen(&config).await?;
    announce(&listeners, &config, &web).await;
    config.file_faults.iter().for_each(|fault| log::error!("{fault}"));
    let handler = Arc::new(Handler::new(config, web.counts().clone()));
    serve(listeners, handler, Server::new(web, Limits::default()), signals).await;
    Ok(())
}

async fn listen(config: &Config) -> Result<Vec<TcpListener>, StartError> {
    if config.systemd_socket {
        return listen::systemd().map_err(StartError::Systemd);
    }
    let mut listeners = Vec::new();
    for address in &config.listen {
        let listener = address.bind().await;
        listeners.push(listener.map_err(|cause| StartError::Listen(address.clone(), cause))?);
    }
    Ok(listeners)
}

/// Logs the address, which the system may have chosen.
async fn announce(listeners: &[TcpListener], config: &Config, web: &Web) {
    let scheme = if web.current().await.tls.is_some() { "https" } else { "http" };
    for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        let url = format!("{scheme}://{address}{}", config.telemetry_path);
        log::info!(version = crate::render::self_metrics::VERSION, envoy:% = config.admin, url; "serving metrics");
    }
}

async fn serve(
    listeners: Vec<TcpListener>,
    handler: Arc<Handler>,
    server: Arc<Server>,
    end: impl Future<Output = ()>,
) {
    let application = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(handler.answer(&request).await) }
    });
    server.run(listeners, application, end).await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::{Duration, Instant};

    use clap::Parser;

    use scoretap_web::server::MAX_CONNECTIONS;
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::{Arc, Config, Handler, Limits, Server, TcpListener, Web};
    use crate::cli::args::Args;

    const MAX_SCRAPES: usize = 16;
    const SEND_TIME: Duration = Duration::from_secs(60);

    /// Moves the server's clock, which stands still otherwise, so that a busy machine changes no result.
    type Clock = UnboundedSender<Duration>;

    /// Sends a scrape without reading its answer, which is larger than the kernel's buffers.
    fn scrape(address: SocketAddr) -> (TcpStream, Vec<u8>) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        (stream, Vec::new())
    }

    /// Reads the rest of an answer. Returns its status and whether it is complete.
    fn read((mut stream, mut answer): (TcpStream, Vec<u8>)) -> (String, bool) {
        // A closed connection may end in a reset.
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

    fn scrape_slowly(address: SocketAddr, handler: &Handler, clock: &Clock) {
        let mut slow: Vec<(TcpStream, Vec<u8>)> = (0..MAX_SCRAPES).map(|_| scrape(address)).collect();
        wait_for("all permits are taken", || read(scrape(address)).0 == "503");
        // Half of the clients read nothing, the others a little now and then. None reads after the time limit, because a
        // closed connection may end in a reset.
        for _ in 0..2 {
            for (stream, answer) in &mut slow[MAX_SCRAPES / 2..] {
                let mut little = [0; 512];
                let length = stream.read(&mut little).unwrap();
                answer.extend(&little[..length]);
            }
            clock.send(SEND_TIME / 2).unwrap();
        }
        clock.send(SEND_TIME).unwrap();
        wait_for("all permits are free", || handler.free_scrapes() == MAX_SCRAPES);
        assert_eq!(read(scrape(address)), ("200".to_owned(), true));
        // Some received a complete 503 at once, because a scrape of `wait_for` held the permit.
        let kept = slow.into_iter().map(read).filter(|answer| *answer == ("200".to_owned(), true));
        assert_eq!(kept.count(), 0, "complete answers for clients that do not read");
    }

    /// Serves answers of some megabytes with a time limit of [`SEND_TIME`] for each, until `run` returns.
    fn serve(run: impl FnOnce(SocketAddr, &Handler, &Clock) + Send + 'static) {
        let label = format!("a={}", "x".repeat(600_000));
        let args = Args::parse_from(["exporter", "--envoy.admin", "unix:///nonexistent", "--label", &label]);
        let config = Config::new(&args, |_| None).unwrap();
        let limits = Limits { write: SEND_TIME, ..Limits::default() };
        let web = Arc::new(Web::open(None).unwrap());
        let handler = Arc::new(Handler::new(config, web.counts().clone()));
        let server = Server::new(web, limits);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let listeners = vec![TcpListener::bind("127.0.0.1:0").await.unwrap()];
            let address = listeners[0].local_addr().unwrap();
            let served = Arc::clone(&handler);
            let (clock, mut steps) = unbounded_channel();
            let end = async {
                let run = tokio::task::spawn_blocking(move || run(address, &served, &clock));
                while let Some(step) = steps.recv().await {
                    tokio::time::advance(step).await;
                }
                run.await.unwrap();
            };
            super::serve(listeners, handler, server, end).await;
        });
    }

    #[test]
    fn slow_reader_loses_its_answer_and_slot() {
        serve(scrape_slowly);
    }

    #[test]
    fn idle_clients_cut_off_no_answer() {
        serve(|address, _, _| {
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
    fn idle_reader_gives_up_its_slot() {
        serve(|address, _, _| {
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
