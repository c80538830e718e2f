//! Memory for what the host returns during one callback.
//!
//! The host calls back to allocate for every answer. All answers of a callback lie in one chunk that the next callback
//! uses again, so a call costs no allocation.

use std::cell::RefCell;

/// Holds the headers and properties of an ordinary call many times over.
const CHUNK: usize = 16 * 1024;

struct Arena {
    /// Never moved or freed during a callback. The first one is kept for the next.
    chunks: Vec<Vec<u8>>,
    /// How much of the last chunk is given away.
    used: usize,
}

thread_local! {
    static ARENA: RefCell<Arena> = const { RefCell::new(Arena { chunks: Vec::new(), used: 0 }) };
}

/// One callback of the host's: what it returned lives as long as this.
pub(crate) struct Callback(());

impl Callback {
    /// Forgets what earlier callbacks were given.
    pub(crate) fn begin() -> Self {
        ARENA.with(|arena| {
            if let Ok(mut arena) = arena.try_borrow_mut() {
                arena.chunks.truncate(1);
                arena.used = 0;
            }
        });
        Self(())
    }
}

/// Room for `size` bytes until the callback is over; null, which the host understands, where there is none.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    ARENA
        .with(|arena| {
            let mut arena = arena.try_borrow_mut().ok()?;
            arena.allocate(size)
        })
        .unwrap_or(std::ptr::null_mut())
}

impl Arena {
    fn allocate(&mut self, size: usize) -> Option<*mut u8> {
        let room = self.chunks.last().map_or(0, Vec::len).saturating_sub(self.used);
        if size > room {
            let mut chunk = Vec::new();
            let length = size.max(CHUNK);
            chunk.try_reserve_exact(length).ok()?;
            chunk.resize(length, 0);
            self.chunks.push(chunk);
            self.used = 0;
        }
        let end = self.used.saturating_add(size);
        let place = self.chunks.last_mut()?.get_mut(self.used..end)?;
        self.used = end;
        Some(place.as_mut_ptr())
    }
}
