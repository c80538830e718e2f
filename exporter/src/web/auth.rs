//! Basic authentication against bcrypt's hashes, at a price that a caller cannot drive up.
//!
//! A check takes tens of milliseconds by design. So each is made once and remembered by a digest, it is made off the
//! event loop and one at a time, and only so many wait for theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::HeaderValue;
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;

use super::WebConfig;

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
}

/// Checks passwords and remembers what came of it.
#[derive(Debug)]
pub struct Guard {
    known: Mutex<HashMap<[u8; 32], bool>>,
    /// One check at a time.
    turn: Semaphore,
    waiting: Semaphore,
}

impl Default for Guard {
    fn default() -> Self {
        Self { known: Mutex::default(), turn: Semaphore::new(1), waiting: Semaphore::new(WAITING) }
    }
}

impl Guard {
    /// Whether a request with this `Authorization` header may be answered.
    pub async fn check(&self, config: &Arc<WebConfig>, header: Option<&HeaderValue>) -> Access {
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
            let right = |(_, is_right): &(&[u8; 32], &bool)| **is_right;
            let oldest = known.iter().find(|entry| !right(entry)).or(known.iter().next());
            let oldest = oldest.map(|(key, _)| *key);
            oldest.map(|key| known.remove(&key));
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
    let decoded = base64(encoded.trim())?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at_checked(colon)?;
    let password = password.strip_prefix(b":")?;
    let password = password.get(..LONGEST_PASSWORD).unwrap_or(password);
    Some((String::from_utf8(user.to_vec()).ok()?, password.to_vec()))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bits = 0_u32;
    let mut count = 0;
    let mut out = Vec::with_capacity(text.len());
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_bcrypt_does_not_look_at_is_left_out() {
        let long = "A".repeat(400);
        let (_, password) =
            credentials(&HeaderValue::from_str(&format!("Basic Ojp{long}")).unwrap()).unwrap();
        assert_eq!(password.len(), LONGEST_PASSWORD);
    }
}
