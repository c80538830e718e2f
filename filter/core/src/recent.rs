//! What was found out about the requests of late, so that the next one like it is not matched, decoded and named again.
//!
//! A caller may ask for as many paths as it likes: what one adds, it takes from another, and never more than so much.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

/// More than a pod has models.
const SLOTS: usize = 128;
const LAST_SLOT: u64 = 127;

/// What asks for a longer path is found out anew each time.
const LONGEST: usize = 120;

/// A value for some methods and paths: for each of so many hashes, the latest.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    slots: Box<[Slot<T>]>,
    hashing: DefaultHashBuilder,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    /// The path, and behind it the method. Never longer, so that memory does not depend on what is called.
    request: [u8; LONGEST],
    path_length: usize,
    length: usize,
    value: Option<T>,
}

impl<T: Copy> Recent<T> {
    pub(crate) fn new() -> Self {
        let empty = Slot { request: [0; LONGEST], path_length: 0, length: 0, value: None };
        Self { slots: vec![empty; SLOTS].into(), hashing: DefaultHashBuilder::default() }
    }

    pub(crate) fn get(&self, method: &[u8], path: &[u8]) -> Option<T> {
        let slot = self.slots.get(self.position(path))?;
        let (own_path, own_method) = slot.request.get(..slot.length)?.split_at_checked(slot.path_length)?;
        slot.value.filter(|_| own_method == method && equal(own_path, path))
    }

    pub(crate) fn put(&mut self, method: &[u8], path: &[u8], value: T) {
        let length = path.len().saturating_add(method.len());
        let position = self.position(path);
        let Some(slot) = self.slots.get_mut(position) else { return };
        let Some((own_path, own_method)) =
            slot.request.get_mut(..length).and_then(|request| request.split_at_mut_checked(path.len()))
        else {
            return;
        };
        own_path.copy_from_slice(path);
        own_method.copy_from_slice(method);
        slot.path_length = path.len();
        slot.length = length;
        slot.value = Some(value);
    }

    fn position(&self, path: &[u8]) -> usize {
        usize::try_from(self.hashing.hash_one(path) & LAST_SLOT).unwrap_or(0)
    }
}

/// As `==`, which WebAssembly has compare byte by byte.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<8>(), other.as_chunks());
    one.len() == other.len()
        && words.iter().zip(other_words).all(|(word, other)| word == other)
        && rest == other_rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_method_and_its_whole_path() {
        let mut recent = Recent::new();
        recent.put(b"POST", b"/score", 1);
        assert_eq!(recent.get(b"POST", b"/score"), Some(1));
        for (method, path) in
            [("GET", "/score"), ("", "/scorePOST"), ("POST", "/scor"), ("OST", "/scoreP"), ("", "")]
        {
            assert_eq!(recent.get(method.as_bytes(), path.as_bytes()), None, "{method} {path}");
        }
        recent.put(b"GET", b"/score", 2);
        assert_eq!((recent.get(b"GET", b"/score"), recent.get(b"POST", b"/score")), (Some(2), None));
    }

    #[test]
    fn however_many_paths_there_are_it_holds_so_many() {
        let mut recent = Recent::new();
        let path = |number: usize| format!("/{number}{}", "x".repeat(number % 200));
        for number in 0..5_000 {
            recent.put(b"POST", path(number).as_bytes(), number);
            let held = recent.get(b"POST", path(number).as_bytes());
            assert_eq!(held, Some(number).filter(|_| path(number).len() + 4 <= LONGEST));
        }
        assert_eq!(
            (0..5_000).filter(|number| recent.get(b"POST", path(*number).as_bytes()).is_some()).count(),
            SLOTS
        );
    }
}
