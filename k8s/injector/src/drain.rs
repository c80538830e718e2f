//! `scoretap-sidecar drain`: runs when the pod terminates, before Envoy gets SIGTERM. At SIGTERM, Envoy exits and drops
//! its calls.
//!
//! `drain` makes Envoy close each connection after its next response, which sends callers to other pods. Then it waits
//! until the app has stopped listening and no call is in flight, or until its time limit.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Less than Kubernetes' default grace period of 30 s.
pub const AT_MOST: Duration = Duration::from_secs(25);

const PAUSE: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(5);
const IN_FLIGHT: &str = "http.inbound_scoretap.downstream_rq_active";
/// LISTEN in the kernel's table of sockets.
const LISTENING: &str = "0A";

/// Drains the Envoy behind the socket. Returns whether that finished in time.
pub fn drain(socket: &Path, app_port: u16, at_most: Duration) -> Result<bool> {
    let start = Instant::now();
    ask(socket, "POST", "/healthcheck/fail")?;
    while is_listening(app_port) || in_flight(socket)? > 0 {
        if start.elapsed() > at_most {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(true)
}

/// Reads the kernel's tables instead of connecting: the app must not see empty connections.
fn is_listening(port: u16) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    tables.iter().filter_map(|table| fs::read_to_string(table).ok()).any(|table| listens(&table, port))
}

fn listens(table: &str, port: u16) -> bool {
    let suffix = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&suffix)) && fields.nth(1) == Some(LISTENING)
    })
}

fn in_flight(socket: &Path) -> Result<u64> {
    let answer = ask(socket, "GET", &format!("/stats?filter=^{}$", IN_FLIGHT.replace('.', "\\.")))?;
    let line = answer.lines().find_map(|line| line.strip_prefix(IN_FLIGHT)?.strip_prefix(": "));
    line.and_then(|number| number.trim().parse().ok())
        .with_context(|| format!("Envoy does not report {IN_FLIGHT}: {answer:?}"))
}

fn ask(socket: &Path, method: &str, path: &str) -> Result<String> {
    let place = || format!("{method} {path} at {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(place)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: envoy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(place)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{} answered {:?}", place(), answer.lines().next());
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_listening_port_in_the_kernel_table() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 00000000\n   \
                     1: 0100007F:1F91 0100007F:9C40 01 00000000\n";
        assert!(listens(table, 8080));
        assert!(!listens(table, 8081), "a connection is not a listener");
        assert!(!listens(table, 80));
    }

    #[test]
    fn sees_own_port_open_and_close() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_listening(port));
        drop(listener);
        assert!(!is_listening(port));
    }
}
