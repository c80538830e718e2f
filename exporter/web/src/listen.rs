//! Where to listen: addresses as `--web.listen-address` gives them, and their sockets.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted: as many as tokio's own listeners have.
const BACKLOG: i32 = 1024;

/// Of Linux, for a kind of address that the kernel does not have; std has no name for it.
const EAFNOSUPPORT: i32 = 97;

/// One flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `:PORT`, every address that there is, of IPv4 and IPv6.
    Everywhere(u16),
    /// `IP:PORT`
    At(SocketAddr),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere(port) => write!(f, ":{port}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl Listen {
    /// The addresses of all flags; none of them is another's, too.
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>, Vec<String>> {
        let mut faults = Vec::new();
        let mut all: Vec<(&str, Self)> = Vec::new();
        for text in texts {
            match Self::parse(text) {
                Ok(listen) => match all.iter().find(|(_, other)| listen.overlaps(*other)) {
                    Some((other, _)) => faults.push(format!(
                        "--web.listen-address {text:?}: is listened on already, by {other:?}; leave one of the two out"
                    )),
                    None => all.push((text, listen)),
                },
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(all.into_iter().map(|(_, listen)| listen).collect()) } else { Err(faults) }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let everywhere = |port: &str| port.parse().ok().map(Self::Everywhere);
        let address = text.parse().ok().map(Self::At);
        address.or_else(|| everywhere(text.strip_prefix(':')?)).ok_or_else(|| {
            format!("--web.listen-address {text:?}: is no address to listen on; write IP:PORT or :PORT, as in \"0.0.0.0:15190\"")
        })
    }

    /// Whether no system lets both be listened on. Port 0 is another one each time.
    fn overlaps(self, other: Self) -> bool {
        let is_one_port = self.port() == other.port() && self.port() != 0;
        is_one_port
            && match (self, other) {
                (Self::Everywhere(_), _) | (_, Self::Everywhere(_)) => true,
                (Self::At(one), Self::At(other)) => {
                    let has_every = one.ip().is_unspecified() || other.ip().is_unspecified();
                    one == other || (one.is_ipv4() == other.is_ipv4() && has_every)
                }
            }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Everywhere(port) => port,
            Self::At(address) => address.port(),
        }
    }

    /// The socket, with which connections can be accepted from now on.
    pub async fn bind(self) -> io::Result<TcpListener> {
        match self {
            Self::Everywhere(port) => or_ipv4(both(port), port).await,
            Self::At(address) => TcpListener::bind(address).await,
        }
    }
}

/// An IPv6 socket that takes IPv4 too, whatever the system's default is.
fn both(port: u16) -> io::Result<TcpListener> {
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

/// Whether this is what a kernel says that has none, or has it turned off.
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
    fn every_address_is_one_of_ipv4_and_of_ipv6() {
        block_on(async {
            let listener = Listen::Everywhere(0).bind().await.unwrap();
            let port = listener.local_addr().unwrap().port();
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let has_ipv6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
            assert_eq!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok(), has_ipv6);
        });
    }

    #[test]
    fn where_the_kernel_has_no_ipv6_every_address_is_one_of_ipv4() {
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
        let [first, second] = [one, other].map(|text| Listen::parse(text).unwrap());
        assert_eq!((first.overlaps(second), second.overlaps(first)), (overlap, overlap), "{one} and {other}");
    }

    #[test]
    fn addresses_of_which_one_is_in_the_other_overlap() {
        check(":80", ":80", true);
        check(":80", "127.0.0.1:80", true);
        check(":80", "[::]:80", true);
        check("10.0.0.1:80", "10.0.0.1:80", true);
        check("10.0.0.1:80", "0.0.0.0:80", true);
        check("[::1]:80", "[0:0::1]:80", true);
        check("[::1]:80", "[::]:80", true);
        for (one, other) in [
            (":80", ":81"),
            (":0", ":0"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("10.0.0.1:80", "10.0.0.2:80"),
            ("[::1]:80", "127.0.0.1:80"),
            // That depends on the system.
            ("[::]:80", "0.0.0.0:80"),
        ] {
            check(one, other, false);
        }
    }
}
