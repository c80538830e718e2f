//! Access: the rate limit, then basic authentication against bcrypt hashes. Clients cannot drive up the cost of checks.
//!
//! bcrypt takes tens of milliseconds by design. Each password is checked once and remembered as a digest. Checks run
//! off the event loop, one at a time. The number of waiting checks is limited, in total and for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use ring::digest::{SHA256, digest};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::WebConfig;
use super::limit::Bucket;
use crate::threads;

/// How many results are remembered, for right and wrong passwords together.
const REMEMBERED: usize = 100;

/// How many checks may wait or run. Further ones are rejected.
const WAITING: usize = 32;

/// The same for one client address, so that wrong passwords from one address leave room for the first right one from
/// another.
const WAITING_PER_PEER: usize = 4;

/// The longest password, in bytes. bcrypt ignores the rest.
const LONGEST_PASSWORD: usize = 72;

/// The hash that is checked for unknown users, so that the answer takes as long as for a known user's hash of cost 10.
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// Whether a request may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Yes.
    Granted,
    /// No: the name or the password is missing or wrong.
    Denied,
    /// Not now: the password could not be checked.
    Busy,
    /// Not now: the rate limit is exhausted.
    TooOften,
}

/// Counts requests, checks passwords and remembers the results.
#[derive(Debug)]
pub struct Guard {
    bucket: Bucket,
    known: Mutex<HashMap<[u8; 32], bool>>,
    /// One check at a time.
    turn: Semaphore,
    waiting: Semaphore,
    waiting_peers: Mutex<HashMap<IpAddr, usize>>,
    /// The stack size of the thread that checks.
    stack: usize,
}

/// A place in the queue of checks.
struct Waiting<'a> {
    guard: &'a Guard,
    peer: IpAddr,
    _permit: SemaphorePermit<'a>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            bucket: Bucket::default(),
            known: Mutex::default(),
            turn: Semaphore::new(1),
            waiting: Semaphore::new(WAITING),
            waiting_peers: Mutex::default(),
            stack: threads::STACK,
        }
    }
}

impl Guard {
    /// Whether a request from `peer` with this `Authorization` header may be answered.
    pub async fn check(&self, config: &Arc<WebConfig>, peer: IpAddr, header: Option<&HeaderValue>) -> Access {
        // Requests that are denied below use up the limit, too.
        if config.rate_limit.is_some_and(|limit| !self.bucket.take(limit, Instant::now())) {
            return Access::TooOften;
        }
        if config.users.is_empty() {
            return Access::Granted;
        }
        let Some((user, password)) = header.and_then(credentials) else { return Access::Denied };
        let hash = config.users.iter().find(|(name, _)| *name == user).map(|(_, hash)| hash.clone());
        let key = key(&user, hash.as_deref().unwrap_or_default(), &password);
        if let Some(is_right) = self.remembered(&key) {
            return access(is_right);
        }
        let Some(_waiting) = self.wait(peer) else { return Access::Busy };
        let Ok(_turn) = self.turn.acquire().await else { return Access::Busy };
        // The check before this one may have been for the same password.
        if let Some(is_right) = self.remembered(&key) {
            return access(is_right);
        }
        let is_right = threads::run(self.stack, move || {
            let verified = bcrypt::verify(&password, hash.as_deref().unwrap_or(NOBODY));
            hash.is_some() && verified.unwrap_or(false)
        });
        match is_right.await {
            Ok(is_right) => {
                self.remember(key, is_right);
                access(is_right)
            }
            // The result is unknown, so there is nothing to remember.
            Err(cause) => {
                log::error!("cannot check a password: {cause}");
                Access::Busy
            }
        }
    }

    fn wait(&self, peer: IpAddr) -> Option<Waiting<'_>> {
        let peer = network(peer);
        let permit = self.waiting.try_acquire().ok()?;
        let mut peers = locked(&self.waiting_peers);
        let count = peers.entry(peer).or_default();
        if *count >= WAITING_PER_PEER {
            return None;
        }
        *count += 1;
        Some(Waiting { guard: self, peer, _permit: permit })
    }

    fn remembered(&self, key: &[u8; 32]) -> Option<bool> {
        locked(&self.known).get(key).copied()
    }

    /// Makes room by forgetting wrong passwords first: guesses must not evict the scraper's password.
    fn remember(&self, key: [u8; 32], is_right: bool) {
        let mut known = locked(&self.known);
        if known.len() >= REMEMBERED {
            let wrong = known.iter().find(|(_, is_right)| !**is_right);
            if let Some(forgotten) = wrong.or(known.iter().next()).map(|(key, _)| *key) {
                known.remove(&forgotten);
            }
        }
        known.insert(key, is_right);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut peers = locked(&self.guard.waiting_peers);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

/// An IPv4 address, or the /64 network of an IPv6 address, because a host can use any address in its network.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn access(is_right: bool) -> Access {
    if is_right { Access::Granted } else { Access::Denied }
}

/// A digest is remembered instead of the password. It includes the hash, so it is void once the hash changes.
fn key(user: &str, hash: &str, password: &[u8]) -> [u8; 32] {
    let text = [user.as_bytes(), b"\0", hash.as_bytes(), b"\0", password].concat();
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, &text).as_ref());
    key
}

/// <https://www.rfc-editor.org/rfc/rfc7617>
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at_checked(colon)?;
    let password = password.strip_prefix(b":")?;
    let password = password.get(..LONGEST_PASSWORD).unwrap_or(password);
    Some((String::from_utf8(user.to_vec()).ok()?, password.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::future::{join, join_all};
    use proptest::collection;
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<(&str, &[u8])>) {
        let expected = expected.map(|(user, password)| (user.to_owned(), password.to_vec()));
        assert_eq!(credentials(&HeaderValue::from_str(header).unwrap()), expected, "{header}");
    }

    #[test]
    fn credentials_split_at_the_first_colon() {
        check("Basic YTpi", Some(("a", b"b")));
        check("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", b"open sesame")));
        check("Basic YTpiOmM=", Some(("a", b"b:c")));
        check("Basic YTo=", Some(("a", b"")));
    }

    #[test]
    fn invalid_credentials_are_rejected() {
        for header in ["Basic", "Basic YQ==", "Bearer YTpi", "Basic Y*Q=", "Basic \u{7e}", ""] {
            check(header, None);
        }
    }

    /// Encodes Base64 bit by bit.
    fn basic(text: &[u8]) -> HeaderValue {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits: String = text.iter().map(|byte| format!("{byte:08b}")).collect();
        let sixes = bits.as_bytes().chunks(6).map(|six| format!("{:0<6}", String::from_utf8_lossy(six)));
        let letters = sixes.map(|six| char::from(LETTERS[usize::from_str_radix(&six, 2).unwrap()]));
        let padding = "=".repeat((3 - text.len() % 3) % 3);
        HeaderValue::from_str(&format!("Basic {}{padding}", letters.collect::<String>())).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_name_and_password_arrive(user in "[^:]{0,20}", password in collection::vec(any::<u8>(), 0..80)) {
            let header = basic(&[user.as_bytes(), b":", &password].concat());
            let seen = password[..password.len().min(LONGEST_PASSWORD)].to_vec();
            assert_eq!(credentials(&header), Some((user, seen)));
        }
    }

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn alice() -> Arc<WebConfig> {
        let users = vec![("alice".to_owned(), bcrypt::hash("secret", 4).unwrap())];
        Arc::new(WebConfig { users, ..WebConfig::default() })
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn guesses_are_rejected_while_the_known_password_passes() {
        let (config, guard, right) = (alice(), Guard::default(), basic(b"alice:secret"));
        let guesses: Vec<HeaderValue> =
            (0..40).map(|number| basic(format!("alice:{number}").as_bytes())).collect();
        block_on(async {
            assert_eq!(guard.check(&config, PEER, Some(&right)).await, Access::Granted);
            // Holds back every check until all have asked. On a busy machine the first would be finished by then.
            let turn = guard.turn.acquire().await.unwrap();
            let begin = async {
                tokio::task::yield_now().await;
                drop(turn);
            };
            let all = guesses.iter().chain([&right]).map(|header| guard.check(&config, PEER, Some(header)));
            let (answers, ()) = join(join_all(all), begin).await;
            let are = |access| answers.iter().filter(|answer| **answer == access).count();
            let denied = WAITING_PER_PEER;
            assert_eq!((are(Access::Denied), are(Access::Busy)), (denied, guesses.len() - denied));
            assert_eq!(answers.last(), Some(&Access::Granted));
            assert!(locked(&guard.waiting_peers).is_empty());
        });
    }

    #[test]
    fn unchecked_password_is_not_remembered_as_wrong() {
        let (config, right) = (alice(), basic(b"alice:secret"));
        // No system can start a thread with a stack of this size.
        let mut guard = Guard { stack: usize::MAX / 4, ..Guard::default() };
        block_on(async {
            assert_eq!(guard.check(&config, PEER, Some(&right)).await, Access::Busy);
            guard.stack = threads::STACK;
            assert_eq!(guard.check(&config, PEER, Some(&right)).await, Access::Granted);
        });
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_limit() {
        let of = |address: &str| network(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn password_bytes_beyond_bcrypts_limit_are_ignored() {
        let long = "A".repeat(401);
        let (_, password) =
            credentials(&HeaderValue::from_str(&format!("Basic Ojp{long}")).unwrap()).unwrap();
        assert_eq!(password.len(), LONGEST_PASSWORD);
    }
}
