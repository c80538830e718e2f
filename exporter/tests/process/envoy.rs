//! A fake Envoy admin interface whose answers a test chooses.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The methods that both kinds of sockets share.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A listener that passes its connections to a function, one at a time, until the test ends.
pub(crate) struct Fake {
    url: String,
    socket: Option<PathBuf>,
}

impl Fake {
    pub(crate) fn unix(mut serve: impl FnMut(&mut dyn Stream) + Send + 'static) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("scoretap-{}-{}.sock", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let socket = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.unwrap());
            }
        });
        Self { url: format!("unix://{}", socket.display()), socket: Some(socket) }
    }

    pub(crate) fn tcp(mut serve: impl FnMut(&mut dyn Stream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.unwrap());
            }
        });
        Self { url, socket: None }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            drop(std::fs::remove_file(socket));
        }
    }
}

/// Reads a request and answers it.
pub(crate) fn answer(stream: &mut dyn Stream, status: &str, body: &[u8]) {
    head(stream);
    say(stream, status, body);
}

/// Reads a request, which has no body.
pub(crate) fn head(stream: &mut dyn Stream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Answers in two chunks, cut in the middle of a line, as Envoy's buffers do.
pub(crate) fn say(stream: &mut dyn Stream, status: &str, body: &[u8]) {
    let (first, second) = body.split_at(body.len() / 2);
    write(stream, format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes());
    for chunk in [first, second].into_iter().filter(|chunk| !chunk.is_empty()) {
        write(stream, format!("{:x}\r\n", chunk.len()).as_bytes());
        write(stream, chunk);
        write(stream, b"\r\n");
    }
    write(stream, b"0\r\n\r\n");
}

/// Writes to a reader that may have closed the connection.
pub(crate) fn write(stream: &mut dyn Stream, bytes: &[u8]) {
    drop(stream.write_all(bytes));
}
