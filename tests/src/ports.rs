//! Free ports, below the range from which the kernel takes those of outgoing connections: a port that is free now
//! must not be somebody's source port a moment later.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

const FIRST: u16 = 15_200;
const COUNT: u16 = 14_800;

static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that nobody listens on and that this process has not handed out before.
///
/// Random, because other test processes pick at the same time.
pub fn free() -> u16 {
    loop {
        let port = FIRST + random_below(COUNT);
        if claim(port) && is_free(port) {
            return port;
        }
    }
}

/// `wanted` where it is free, any free port otherwise.
pub fn preferred(wanted: u16) -> u16 {
    if claim(wanted) && is_free(wanted) { wanted } else { free() }
}

/// Servers listen on all addresses, so the port has to be free on all.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// Comes before [`is_free`], which listens for a moment: on a port that another thread has already been given, that
/// would be in its way.
fn claim(port: u16) -> bool {
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port)
}

/// The standard library's only source of randomness.
fn random_below(limit: u16) -> u16 {
    let random = RandomState::new().hash_one(std::process::id());
    u16::try_from(random % u64::from(limit)).unwrap_or_default()
}
