//! A webhook that remembers what Alertmanager sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::apps::local;
use crate::ports;

/// One alert of one message.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Whom it was sent to: the path of the webhook.
    pub receiver: String,
    /// `firing` or `resolved`, labels, annotations.
    pub alert: Value,
}

/// The webhook. It listens until the process ends.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Notification>>>,
}

impl Receiver {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let address = local(ports::free());
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let received = Arc::new(Mutex::new(Vec::new()));
        let store = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that breaks off a message sends it again.
                let notifications = receive(stream).unwrap_or_default();
                store.lock().unwrap_or_else(PoisonError::into_inner).extend(notifications);
            }
        });
        Ok(Self { address, received })
    }

    /// Everything that came, in order.
    pub fn received(&self) -> Vec<Notification> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn receive(mut stream: TcpStream) -> Result<Vec<Notification>> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 16_384];
    let (head, body) = loop {
        let count = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n").filter(|(head, body)| is_whole(head, body)) {
            break (head.to_owned(), body.to_owned());
        }
        anyhow::ensure!(count > 0, "the message broke off");
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    let receiver = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let message: Value = serde_json::from_str(&body)?;
    let alerts = message["alerts"].as_array().cloned().unwrap_or_default();
    Ok(alerts.into_iter().map(|alert| Notification { receiver: receiver.clone(), alert }).collect())
}

fn is_whole(head: &str, body: &str) -> bool {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths
        .next()
        .and_then(|(_, length)| length.trim().parse().ok())
        .is_some_and(|length: usize| body.len() >= length)
}
