//! Numbers on real Envoy that are easy to mistake for something else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use scoretap_tests::apps::{Break, Broken, local};
use scoretap_tests::http::{Call, Protocol};
use scoretap_tests::ports;
use scoretap_tests::stack::{Stack, Upstream};
use scoretap_tests::wait::{STARTUP, wait_until};

use crate::{ROW, in_both_ways};

/// The app sends a byte every 50 ms, ten in all.
#[test]
fn backend_duration_spans_first_to_last_byte() {
    in_both_ways("backend-duration", |name, way_in| {
        let broken = Broken::start().unwrap();
        let builder = Stack::builder(name).way_in(way_in).upstream(Upstream::Http1(broken.address));
        let stack = builder.filter_config(r#"{"extra": ["backend_duration"]}"#).start().unwrap();
        stack.call(Call::post(&Break::Drip.path(), "{}")).unwrap();
        stack.settle();
        let metrics = stack.metrics();
        let seconds = metrics.sum("prediction_backend_duration_seconds_sum", &[("model_name", "drip")]);
        assert!((0.5..5.0).contains(&seconds), "{seconds}");
    });
}

#[test]
fn request_bytes_stay_below_what_was_received() {
    in_both_ways("declared", |name, way_in| {
        let configuration = r#"{"extra": ["request_bytes"]}"#;
        let stack = Stack::builder(name).way_in(way_in).filter_config(configuration).start().unwrap();
        let head = format!("POST /score HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{{", i64::MAX);
        for _ in 0..3 {
            let mut caller = TcpStream::connect(stack.address).unwrap();
            caller.write_all(head.as_bytes()).unwrap();
            wait_until("the call has begun", STARTUP, || stack.in_flight() == 1);
            drop(caller);
            wait_until("the call is over", STARTUP, || stack.in_flight() == 0);
        }
        stack.call(Call::post("/score", ROW)).unwrap();
        stack.settle();
        let metrics = stack.metrics();
        let bytes = |status| metrics.sum("prediction_request_bytes_sum", &[("status", status)]);
        assert_eq!(metrics.sum("prediction_request_bytes_count", &[("status", "cancelled")]), 3.0);
        // Envoy adds headers of its own.
        assert!((3.0..3.0 * 300.0).contains(&bytes("cancelled")), "{}", bytes("cancelled"));
        assert_eq!(bytes("success"), ROW.len() as f64);
    });
}

#[test]
fn websocket_cut_off_by_envoy_is_a_timeout() {
    in_both_ways("websocket", |name, way_in| {
        let app = switching_protocols();
        let builder = Stack::builder(name).way_in(way_in).upstream(Upstream::Http1(app));
        let builder = builder.edit_listener(|bootstrap| {
            bootstrap.manager()["common_http_protocol_options"]["max_stream_duration"] = "0.5s".into();
        });
        let stack = builder.start().unwrap();
        let mut caller = TcpStream::connect(stack.address).unwrap();
        caller
            .write_all(
                b"POST /score HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            )
            .unwrap();
        let mut answer = Vec::new();
        // Until Envoy cuts it off.
        let _ = caller.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        stack.settle();
        let metrics = stack.metrics();
        let timeouts = metrics.sum("prediction_errors_total", &[("error_type", "timeout")]);
        assert_eq!(timeouts, 1.0, "{}", stack.envoy_stats("scoretap.call"));
    });
}

/// An app that hands its connection over and then says nothing.
fn switching_protocols() -> SocketAddr {
    let address = local(ports::free());
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(
                    b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
                );
                let _ = stream.read(&mut [0; 1]);
            });
        }
    });
    address
}

#[test]
fn refused_names_leave_room_for_models() {
    in_both_ways("refused-names", |name, way_in| {
        let stack = Stack::builder(name).way_in(way_in).start().unwrap();
        let call = |name: &str, status: u16| {
            let body =
                if status == 200 { ROW.into() } else { format!(r#"{{"data": [], "status": {status}}}"#) };
            Call::post(&format!("/v1/models/{name}:predict"), body)
        };
        let scan =
            (0..300).map(|number| call(&format!("made-up-{number}"), [404, 400][number % 2])).collect();
        assert!(stack.load(Protocol::Http1, 4).run(scan).iter().all(Result::is_ok));
        for (name, status) in [("real", 200), ("real", 400), ("broken", 500), ("broken", 500)] {
            stack.call(call(name, status)).unwrap();
        }
        stack.settle();
        let metrics = stack.metrics();
        let of_model = |model: &str| metrics.sum("prediction_requests_total", &[("model_name", model)]);
        assert_eq!(["other", "real", "broken"].map(of_model), [300.0, 2.0, 2.0]);
        assert_eq!(metrics.get("scoretap_series_overflow_total", &[]), Some(300.0));
    });
}
