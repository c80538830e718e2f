//! A server that answers in place of Prometheus.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// The status and the body of an answer. `None` keeps the client waiting.
pub(crate) type Answer = Option<(&'static str, &'static str)>;

/// Starts a server that answers to the head of each request. Returns its URL.
pub(crate) fn serve(answer: fn(&str) -> Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || respond(stream.unwrap(), answer));
        }
    });
    url
}

fn respond(mut stream: TcpStream, answer: fn(&str) -> Answer) {
    let mut head = [0; 4096];
    let length = stream.read(&mut head).unwrap();
    let Some((status, body)) = answer(&String::from_utf8_lossy(&head[..length])) else {
        // Until the client gives up.
        let _ = stream.read(&mut [0; 1]);
        return;
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all((head + body).as_bytes()).unwrap();
}
