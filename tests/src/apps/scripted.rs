//! A server that sends given bytes, piece by piece.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::broken::read_request;
use super::local;

/// Bytes of a response, sent with one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The pause before it.
    pub after: Duration,
    /// Status line, headers or body, as they are.
    pub bytes: Vec<u8>,
}

impl Part {
    /// Sent at once.
    pub fn now(bytes: impl Into<Vec<u8>>) -> Self {
        Self { after: Duration::ZERO, bytes: bytes.into() }
    }

    /// Sent after a pause.
    pub fn after(milliseconds: u64, bytes: impl Into<Vec<u8>>) -> Self {
        Self { after: Duration::from_millis(milliseconds), bytes: bytes.into() }
    }
}

/// The server. It listens until the process ends, and closes each connection after one response.
#[derive(Debug)]
pub struct Scripted {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Scripted {
    /// Answers each call with what `script` has for its path.
    pub fn start(script: impl Fn(&str) -> Vec<Part> + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind(local(0))?;
        let address = listener.local_addr()?;
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = Arc::clone(&script);
                std::thread::spawn(move || serve(stream, &*script));
            }
        });
        Ok(Self { address })
    }
}

/// Ends silently when the peer leaves.
fn serve(mut stream: TcpStream, script: &impl Fn(&str) -> Vec<Part>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let path = read_request(&mut stream).ok()??;
    for Part { after, bytes } in script(&path) {
        std::thread::sleep(after);
        stream.write_all(&bytes).ok()?;
    }
    Some(())
}
