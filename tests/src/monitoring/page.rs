//! A target of Prometheus that is a page of text.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use anyhow::Result;

use crate::apps::local;

/// Serves what `page` says at each request, as text 0.0.4, until the process ends.
pub fn serve(mut page: impl FnMut() -> String + Send + 'static) -> Result<SocketAddr> {
    let listener = TcpListener::bind(local(0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let page = page();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n";
            let _ = write!(stream, "{head}content-length: {}\r\n\r\n{page}", page.len());
        }
    });
    Ok(address)
}
