//! A fixed-size cache from (path, method) to the series that counts it.
//!
//! A hit skips route matching, percent-decoding and naming. Callers cannot grow it: a new entry evicts the one in its
//! slot.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

/// The number of slots. Pods rarely serve more models.
const SLOTS: usize = 128;
const LAST_SLOT: u64 = 127;

/// The longest path and method together, in bytes. Longer ones are not cached.
const LONGEST: usize = 120;

/// One slot for each hash.
#[derive(Debug)]
pub(crate) struct RouteCache<T> {
    slots: Box<[Slot<T>]>,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    /// The path, followed by the method. The fixed size bounds the memory.
    request: [u8; LONGEST],
    path_length: usize,
    length: usize,
    value: Option<Known<T>>,
}

/// The cached value of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known<T> {
    ForEveryMethod(T),
    ForOneMethod(T),
}

impl<T: Copy> RouteCache<T> {
    pub(crate) fn new() -> Self {
        let empty = Slot { request: [0; LONGEST], path_length: 0, length: 0, value: None };
        Self { slots: vec![empty; SLOTS].into() }
    }

    /// Looks a path up. Reads the method only if the value depends on it.
    pub(crate) fn get<'m>(&self, path: &[u8], method: impl FnOnce() -> &'m [u8]) -> Option<T> {
        let slot = self.slots.get(Self::position(path)?)?;
        let (own_path, own_method) = slot.request.get(..slot.length)?.split_at_checked(slot.path_length)?;
        match slot.value.filter(|_| equal(own_path, path))? {
            Known::ForEveryMethod(value) => Some(value),
            Known::ForOneMethod(value) => (own_method == method()).then_some(value),
        }
    }

    /// Caches a value. Without a method, it applies to all methods.
    pub(crate) fn put(&mut self, path: &[u8], method: Option<&[u8]>, value: T) {
        let value = if method.is_some() { Known::ForOneMethod(value) } else { Known::ForEveryMethod(value) };
        let method = method.unwrap_or_default();
        let length = path.len().saturating_add(method.len());
        let Some(slot) = Self::position(path).and_then(|position| self.slots.get_mut(position)) else {
            return;
        };
        let Some(request) = slot.request.get_mut(..length) else { return };
        request.iter_mut().zip(path.iter().chain(method)).for_each(|(to, from)| *to = *from);
        slot.path_length = path.len();
        slot.length = length;
        slot.value = Some(value);
    }

    /// The slot of a path. Paths that collide on purpose cost no more than unknown paths.
    fn position(path: &[u8]) -> Option<usize> {
        if path.len() > LONGEST {
            return None;
        }
        // hashbrown's own hasher takes 2,000 to 8,600 instructions more for a call.
        usize::try_from(FxBuildHasher.hash_one(path) & LAST_SLOT).ok()
    }
}

/// Like `==`, which WebAssembly compares byte by byte: 270 to 750 instructions more for a call with a longer path.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<8>(), other.as_chunks());
    one.len() == other.len()
        && words.iter().zip(other_words).all(|(word, other)| word == other)
        && rest == other_rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<T: Copy>(cache: &RouteCache<T>, method: &str, path: &str) -> Option<T> {
        cache.get(path.as_bytes(), || method.as_bytes())
    }

    #[test]
    fn lookup_compares_method_and_whole_path() {
        let mut cache = RouteCache::new();
        cache.put(b"/score", Some(b"POST"), 1);
        assert_eq!(get(&cache, "POST", "/score"), Some(1));
        for (method, path) in
            [("GET", "/score"), ("", "/scorePOST"), ("POST", "/scor"), ("OST", "/scoreP"), ("", "")]
        {
            assert_eq!(get(&cache, method, path), None, "{method} {path}");
        }
        cache.put(b"/score", Some(b"GET"), 2);
        assert_eq!((get(&cache, "GET", "/score"), get(&cache, "POST", "/score")), (Some(2), None));
    }

    #[test]
    fn value_for_all_methods_needs_no_method() {
        let mut cache = RouteCache::new();
        cache.put(b"/health", None, 1);
        assert_eq!(cache.get(b"/health", || panic!("read the method")), Some(1));
        assert_eq!(cache.get(b"/healthy", || panic!("read the method")), None);
        cache.put(b"/health", Some(b""), 2);
        assert_eq!((get(&cache, "", "/health"), get(&cache, "GET", "/health")), (Some(2), None));
    }

    #[test]
    fn cache_never_outgrows_its_slots() {
        let mut cache = RouteCache::new();
        let path = |number: usize| format!("/{number}{}", "x".repeat(number % 200));
        for number in 0..5_000 {
            cache.put(path(number).as_bytes(), Some(b"POST"), number);
            let held = get(&cache, "POST", &path(number));
            assert_eq!(held, Some(number).filter(|_| path(number).len() + 4 <= LONGEST));
        }
        let held = (0..5_000).filter(|number| get(&cache, "POST", &path(*number)).is_some());
        assert_eq!(held.count(), SLOTS);
    }
}
