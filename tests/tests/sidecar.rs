//! The shipped sidecar's first duty: neither the app nor its callers notice it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use scoretap_injector::quantity::{Bound, Resource};
use scoretap_injector::settings::Settings;
use scoretap_injector::slots::Part;
use scoretap_tests::apps::local;
use scoretap_tests::child::most_memory;
use scoretap_tests::http::{self, Call, Protocol};
use scoretap_tests::stack::{Stack, Upstream};
use scoretap_tests::wait::wait_until;

const ROW: &str = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;
const PATIENCE: Duration = Duration::from_secs(5);

const REQUEST: &str = "POST //v1/./models/a%2Fb%22:predict?x=%20 HTTP/1.1\r\nHost: Scorer.Example\r\n\
    X-Request-ID: mine\r\nX-Forwarded-For: 192.0.2.1\r\nX-Envoy-Mine: 1\r\nx-lower: a\r\nAUTHORIZATION: b\r\n\
    Content-Length: 2\r\n\r\n{}";
const RESPONSE: &str = "HTTP/1.1 200 Scored Well\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Model-ID: 7\r\n\
    x-lower: a\r\nContent-Length: 2\r\n\r\n[]";

#[test]
fn app_and_caller_notice_no_sidecar() {
    let (app, seen) = recorder();
    let stack =
        Stack::builder("sidecar-unseen").upstream(Upstream::Http1(app)).without_exporter().start().unwrap();
    let answer = http::raw(stack.address, REQUEST.as_bytes(), PATIENCE / 10).unwrap();
    // Envoy has no switch for this one header.
    let request = REQUEST.replace("\r\n\r\n", "\r\nx-forwarded-proto: http\r\n\r\n");
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), request);
    assert_eq!(String::from_utf8_lossy(&answer), RESPONSE);
}

#[test]
fn http_1_0_and_continue_work_unchanged() {
    let stack = Stack::builder("sidecar-protocols").without_exporter().start().unwrap();
    let old = http::raw(stack.address, b"GET /health HTTP/1.0\r\n\r\n", PATIENCE).unwrap();
    let old = String::from_utf8_lossy(&old);
    assert!(old.contains("200 OK") && old.ends_with("{\"status\":\"ok\"}\n"), "{old}");

    let mut caller = TcpStream::connect(stack.address).unwrap();
    caller.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /score HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        ROW.len()
    );
    caller.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_head(&mut caller), "HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(ROW.as_bytes()).unwrap();
    assert!(read_head(&mut caller).starts_with("HTTP/1.1 200 OK\r\n"));
}

/// With a longer idle timeout than the app's own, about one in a hundred calls after a pause of just that length was
/// answered with 503: it went into a connection that the app was closing.
#[test]
fn envoy_closes_idle_connections_before_the_app() {
    let stack = Stack::builder("sidecar-idle").without_exporter().start().unwrap();
    assert_eq!(stack.call(Call::post("/score", ROW)).unwrap().status, 200);
    wait_until("no connection is left", PATIENCE, || stack.envoy_stat("cluster.app.upstream_cx_active") == 0);
    assert_eq!(stack.envoy_stat("cluster.app.upstream_cx_idle_timeout"), 1);
    assert_eq!(stack.envoy_stat("cluster.app.upstream_cx_destroy_remote"), 0);
}

#[test]
fn the_admin_interface_answers_nothing_but_statistics() {
    let (app, _) = recorder();
    let stack =
        Stack::builder("sidecar-admin").upstream(Upstream::Http1(app)).without_exporter().start().unwrap();
    for (path, status) in [("/stats", 200), ("/ready", 200), ("/config_dump", 403), ("/quitquitquit", 403)] {
        let mut call = Call::get(path);
        call.method = if path.starts_with("/quit") { "POST".into() } else { "GET".into() };
        assert_eq!(http::call(&stack.admin, Protocol::Http1, call).unwrap().status, status, "{path}");
    }
}

/// The memory that the sidecar may use in a pod has to do for what callers send while the app reads nothing.
#[test]
fn slow_app_slows_callers_without_filling_envoy() {
    const CALLERS: usize = 300;
    let app = TcpListener::bind(local(0)).unwrap();
    let upstream = Upstream::Http1(app.local_addr().unwrap());
    let (accepted, connections) = mpsc::channel();
    std::thread::spawn(move || app.incoming().flatten().try_for_each(|stream| accepted.send(stream)));
    let stack = Stack::builder("sidecar-memory").upstream(upstream).without_exporter().start().unwrap();
    let head = "POST /score HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
    let callers: Vec<TcpStream> = (0..CALLERS)
        .map(|_| {
            let mut caller = TcpStream::connect(stack.address).unwrap();
            caller.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
            caller.write_all(head.as_bytes()).unwrap();
            caller
        })
        .collect();
    let chunk = vec![b'x'; 1 << 16];
    // Until nobody takes any more.
    callers.iter().for_each(|mut caller| while caller.write(&chunk).is_ok() {});
    assert_eq!(connections.try_iter().count(), CALLERS, "each call has reached the app");
    let (most, limit) = (most_memory(stack.envoy_pid().unwrap()).unwrap(), memory_limit());
    assert!(most < limit * 3 / 4, "{most} of {limit} kB");
}

/// Envoy's memory limit in a pod, in kilobytes.
fn memory_limit() -> u64 {
    let limit = Settings::default().quantity(Part::Envoy, Resource::Memory, Bound::Limit).to_owned();
    u64::try_from(Resource::Memory.parse(&limit).unwrap() / 1024).unwrap()
}

/// An app that hands over the bytes of the first request and always answers [`RESPONSE`].
fn recorder() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(local(0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = String::new();
            let mut buffer = [0; 4096];
            while !request.ends_with("{}") {
                let count = stream.read(&mut buffer).unwrap();
                request.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
            stream.write_all(RESPONSE.as_bytes()).unwrap();
            let _ = sender.send(request);
        }
    });
    (address, receiver)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.extend_from_slice(&byte);
    }
    String::from_utf8(head).unwrap()
}
