//! Who is let in: no more requests than the limit, if there is one, and of those the ones with basic authentication
//! against bcrypt's hashes, at a price that a caller cannot drive up.
//!
//! A check of a password takes tens of milliseconds by design. So each is made once and remembered by a digest, it is made off the
//! event loop and one at a time, and only so many wait for theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;

use super::WebConfig;
use super::limit::Bucket;

/// Checks that were made already, of right and of wrong passwords.
const REMEMBERED: usize = 100;

/// Checks that wait for theirs; who comes then is told to come back.
const WAITING: usize = 16;

/// bcrypt looks at no more than that.
const LONGEST_PASSWORD: usize = 72;

/// Checked for users that there are not, so that an answer takes as long as for those that there are.
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// Whether a request may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Granted,
    /// Not without a name and a password that are right.
    Denied,
    /// Nobody has the time to say.
    Busy,
    /// Not now: there were more requests than are let through.
    TooOften,
}

/// Counts requests, checks passwords and remembers what came of it.
#[derive(Debug)]
pub struct Guard {
    bucket: Bucket,
    known: Mutex<HashMap<[u8; 32], bool>>,
    /// One check at a time.
    turn: Semaphore,
    waiting: Semaphore,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            bucket: Bucket::default(),
            known: Mutex::default(),
            turn: Semaphore::new(1),
            waiting: Semaphore::new(WAITING),
        }
    }
}

impl Guard {
    /// Whether a request with this `Authorization` header may be answered.
    pub async fn check(&self, config: &Arc<WebConfig>, header: Option<&HeaderValue>) -> Access {
        // Those who are not let in count, too.
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
        let Ok(_place) = self.waiting.try_acquire() else { return Access::Busy };
        let Ok(_turn) = self.turn.acquire().await else { return Access::Busy };
        // Whoever was before us may have had the same question.
        if let Some(is_right) = self.remembered(&key) {
            return access(is_right);
        }
        let is_right = tokio::task::spawn_blocking(move || {
            let verified = bcrypt::verify(&password, hash.as_deref().unwrap_or(NOBODY));
            hash.is_some() && verified.unwrap_or(false)
        });
        let is_right = is_right.await.unwrap_or(false);
        self.remember(key, is_right);
        access(is_right)
    }

    fn remembered(&self, key: &[u8; 32]) -> Option<bool> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Makes room by forgetting wrong passwords first: guesses must not cost the scraper its place.
    fn remember(&self, key: [u8; 32], is_right: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            let wrong = known.iter().find(|(_, is_right)| !**is_right);
            if let Some(forgotten) = wrong.or(known.iter().next()).map(|(key, _)| *key) {
                known.remove(&forgotten);
            }
        }
        known.insert(key, is_right);
    }
}

const fn access(is_right: bool) -> Access {
    if is_right { Access::Granted } else { Access::Denied }
}

/// What is remembered is no password, and of no use where the hash has changed.
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
    fn name_and_password_are_what_stands_around_the_first_colon() {
        check("Basic YTpi", Some(("a", b"b")));
        check("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", b"open sesame")));
        check("Basic YTpiOmM=", Some(("a", b"b:c")));
        check("Basic YTo=", Some(("a", b"")));
    }

    #[test]
    fn what_is_none_is_nobody() {
        for header in ["Basic", "Basic YQ==", "Bearer YTpi", "Basic Y*Q=", "Basic \u{7e}", ""] {
            check(header, None);
        }
    }

    /// Bit by bit.
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

    #[test]
    fn of_many_guesses_at_once_some_wait_and_who_is_known_is_let_in() {
        let users = vec![("alice".to_owned(), bcrypt::hash("secret", 4).unwrap())];
        let config = Arc::new(WebConfig { users, ..WebConfig::default() });
        let (guard, right) = (Guard::default(), basic(b"alice:secret"));
        let guesses: Vec<HeaderValue> =
            (0..40).map(|number| basic(format!("alice:{number}").as_bytes())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            assert_eq!(guard.check(&config, Some(&right)).await, Access::Granted);
            // None has its turn before all have asked: on a busy machine the first would be gone by then.
            let turn = guard.turn.acquire().await.unwrap();
            let begin = async {
                tokio::task::yield_now().await;
                drop(turn);
            };
            let all = guesses.iter().chain([&right]).map(|header| guard.check(&config, Some(header)));
            let (answers, ()) = join(join_all(all), begin).await;
            let are = |access| answers.iter().filter(|answer| **answer == access).count();
            assert_eq!((are(Access::Denied), are(Access::Busy)), (WAITING, guesses.len() - WAITING));
            assert_eq!(answers.last(), Some(&Access::Granted));
        });
    }

    #[test]
    fn what_bcrypt_does_not_look_at_is_left_out() {
        let long = "A".repeat(401);
        let (_, password) =
            credentials(&HeaderValue::from_str(&format!("Basic Ojp{long}")).unwrap()).unwrap();
        assert_eq!(password.len(), LONGEST_PASSWORD);
    }
}
