//! The server over real sockets, with an application that a test chooses.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use scoretap_web::config::Web;
use scoretap_web::counts::Counts;
use scoretap_web::listen::Listen;
use scoretap_web::server::{Limits, Peer, Server};

/// Answers with the client's address, and panics on `/panic`.
async fn application(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    assert!(request.uri().path() != "/panic", "on purpose");
    let Peer(address) = *request.extensions().get::<Peer>().unwrap();
    Ok(Response::new(Full::from(address.to_string())))
}

fn serve(limits: Limits, run: impl FnOnce(SocketAddr, Counts) + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let web = Arc::new(Web::open(None).unwrap());
        let counts = web.counts().clone();
        let listener = "127.0.0.1:0".parse::<Listen>().unwrap().bind().await.unwrap();
        let address = listener.local_addr().unwrap();
        let end = async {
            tokio::task::spawn_blocking(move || run(address, counts)).await.unwrap();
        };
        Server::new(web, limits).run(vec![listener], service_fn(application), end).await;
    });
}

/// Sends `request` and reads up to the end of the answer's body.
fn ask(stream: &mut TcpStream, request: &str, body: &str) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(body.as_bytes()) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&answer));
        answer.extend(byte);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn deadline_of_a_sent_answer_is_cleared() {
    const WRITE: Duration = Duration::from_millis(200);
    serve(Limits { write: WRITE, ..Limits::default() }, |address, _| {
        let mut stream = connect(address);
        ask(&mut stream, GET, "\r\n\r\n127.0.0.1");
        // The deadline is a time, so only time can show that it is gone.
        std::thread::sleep(2 * WRITE);
        // hyper writes this answer itself, so no new deadline replaces the old one.
        stream.write_all(b"nonsense\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    });
}

#[test]
fn panics_free_their_slots() {
    serve(Limits { connections: 2, ..Limits::default() }, |address, counts| {
        for _ in 0..20 {
            let mut stream = connect(address);
            stream.write_all(b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        }
        let begun = Instant::now();
        let mut idle: Vec<TcpStream> = Vec::new();
        for _ in 0..6 {
            let mut stream = connect(address);
            ask(&mut stream, GET, "\r\n\r\n127.0.0.1");
            idle.push(stream);
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(counts.snapshot().in_flight, 0);
    });
}
