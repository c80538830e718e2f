//! The addresses to listen on, as `--web.listen-address` gives them, and their sockets.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// The length of the queue of connections to accept, as in tokio's own listeners.
const BACKLOG: i32 = 1024;

/// Linux's error code for a kernel without IPv6, which std does not name.
const EAFNOSUPPORT: i32 = 97;

/// The longest host name, in bytes.
const MAX_HOST_NAME: usize = 253;

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `:PORT`, all addresses of IPv4 and IPv6.
    All(u16),
    /// `IP:PORT`
    Ip(SocketAddr),
    /// `HOST:PORT`, resolved when the socket is bound. Listens on the first address that can be bound.
    Host(String, u16),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(port) => write!(f, ":{port}"),
            Self::Ip(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| {
            format!(
                "{text:?}: is not an address to listen on; write HOST:PORT or :PORT, as in \"0.0.0.0:15190\""
            )
        })
    }
}

fn parse(text: &str) -> Option<Listen> {
    if let Ok(address) = text.parse() {
        return Some(Listen::Ip(address));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    if host.is_empty() {
        return Some(Listen::All(port));
    }
    let is_name = host.len() <= MAX_HOST_NAME
        && !host.starts_with(['-', '.'])
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    // `1.2.3:80` is a mistyped address, not a name.
    let is_number = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (is_name && !is_number).then(|| Listen::Host(host.to_owned(), port))
}

impl Listen {
    /// The addresses of all flags, which must not overlap.
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>, Vec<String>> {
        let mut faults = Vec::new();
        let mut all: Vec<(&str, Self)> = Vec::new();
        for text in texts {
            match text.parse::<Self>() {
                Ok(listen) => match all.iter().find(|(_, other)| listen.overlaps(other)) {
                    Some((other, _)) => faults.push(format!(
                        "--web.listen-address {text:?}: overlaps {other:?}; remove one of the two"
                    )),
                    None => all.push((text, listen)),
                },
                Err(fault) => faults.push(format!("--web.listen-address {fault}")),
            }
        }
        if faults.is_empty() { Ok(all.into_iter().map(|(_, listen)| listen).collect()) } else { Err(faults) }
    }

    /// Whether no system can bind both. Port 0 is a different one each time.
    fn overlaps(&self, other: &Self) -> bool {
        let is_one_port = self.port() == other.port() && self.port() != 0;
        is_one_port
            && match (self, other) {
                (Self::All(_), _) | (_, Self::All(_)) => true,
                (Self::Ip(one), Self::Ip(other)) => {
                    let has_all = one.ip().is_unspecified() || other.ip().is_unspecified();
                    one == other || (one.is_ipv4() == other.is_ipv4() && has_all)
                }
                (Self::Host(one, _), Self::Host(other, _)) => one.eq_ignore_ascii_case(other),
                // The name may have another address.
                (Self::Host(..), Self::Ip(_)) | (Self::Ip(_), Self::Host(..)) => false,
            }
    }

    const fn port(&self) -> u16 {
        match self {
            Self::All(port) | Self::Host(_, port) => *port,
            Self::Ip(address) => address.port(),
        }
    }

    /// Binds the socket. Connections can be accepted from then on.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        match self {
            Self::All(port) => or_ipv4(dual_stack(*port), *port).await,
            Self::Ip(address) => TcpListener::bind(address).await,
            Self::Host(host, port) => TcpListener::bind((host.as_str(), *port)).await,
        }
    }
}

/// The sockets that systemd passed, for `--web.systemd-socket`.
pub fn systemd() -> io::Result<Vec<TcpListener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        if let Some(listener) = passed.take_tcp_listener(index)? {
            listener.set_nonblocking(true)?;
            listeners.push(TcpListener::from_std(listener)?);
        }
    }
    if listeners.is_empty() {
        return Err(io::Error::other("systemd passed no socket (LISTEN_FDS)"));
    }
    Ok(listeners)
}

/// An IPv6 socket that takes IPv4 too, regardless of the system's default for `IPV6_V6ONLY`.
fn dual_stack(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn or_ipv4(bound: io::Result<TcpListener>, port: u16) -> io::Result<TcpListener> {
    match bound {
        Err(cause) if is_without_ipv6(&cause) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
        bound => bound,
    }
}

/// Whether the kernel has no IPv6, or has it turned off.
fn is_without_ipv6(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(EAFNOSUPPORT) || cause.kind() == ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpStream};

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(future)
    }

    #[test]
    fn all_addresses_include_ipv4_and_ipv6() {
        block_on(async {
            let listener = Listen::All(0).bind().await.unwrap();
            let port = listener.local_addr().unwrap().port();
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let has_ipv6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
            assert_eq!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok(), has_ipv6);
        });
    }

    #[test]
    fn host_name_is_resolved() {
        block_on(async {
            let listener = "localhost:0".parse::<Listen>().unwrap().bind().await.unwrap();
            assert!(listener.local_addr().unwrap().ip().is_loopback());
        });
    }

    #[test]
    fn kernel_without_ipv6_listens_on_ipv4() {
        const EADDRINUSE: i32 = 98;
        const EADDRNOTAVAIL: i32 = 99;
        block_on(async {
            for error in [EAFNOSUPPORT, EADDRNOTAVAIL] {
                let listener = or_ipv4(Err(io::Error::from_raw_os_error(error)), 0).await.unwrap();
                assert_eq!(listener.local_addr().unwrap().ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED), "{error}");
            }
            let taken = or_ipv4(Err(io::Error::from_raw_os_error(EADDRINUSE)), 0).await;
            assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
        });
    }

    #[track_caller]
    fn check(one: &str, other: &str, overlap: bool) {
        let [first, second] = [one, other].map(|text| text.parse::<Listen>().unwrap());
        assert_eq!(
            (first.overlaps(&second), second.overlaps(&first)),
            (overlap, overlap),
            "{one} and {other}"
        );
    }

    #[test]
    fn addresses_overlap_if_one_includes_the_other() {
        check(":80", ":80", true);
        check(":80", "127.0.0.1:80", true);
        check(":80", "localhost:80", true);
        check(":80", "[::]:80", true);
        check("10.0.0.1:80", "10.0.0.1:80", true);
        check("10.0.0.1:80", "0.0.0.0:80", true);
        check("[::1]:80", "[0:0::1]:80", true);
        check("[::1]:80", "[::]:80", true);
        check("localhost:80", "LOCALHOST:80", true);
        for (one, other) in [
            (":80", ":81"),
            (":0", ":0"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("10.0.0.1:80", "10.0.0.2:80"),
            ("[::1]:80", "127.0.0.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            // That depends on the system.
            ("[::]:80", "0.0.0.0:80"),
        ] {
            check(one, other, false);
        }
    }

    #[test]
    fn mistyped_addresses_are_rejected() {
        for text in
            ["80", "1.2.3:80", "[::1:80", "::1:80", "a b:80", "-a:80", "a:b:80", "localhost:", "a:65536", ""]
        {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
