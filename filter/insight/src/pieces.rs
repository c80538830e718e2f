//! The pieces in which Envoy hands over bodies: up to a megabyte each.

use scoretap_host as host;

/// How much of a piece is copied out of Envoy at a time.
const SLICE: usize = 16 * 1024;
/// How much is read between two looks at the clock.
const STEP: usize = 4 * 1024;
/// The same for compressed data, which may become a hundred times as much.
const COMPRESSED_STEP: usize = 256;
/// How long one callback may read, in nanoseconds, because the worker's other streams wait.
const LONGEST: u64 = 1_000_000;
/// A byte counts as this many nanoseconds at most, because the clock goes on while the worker itself waits for a
/// processor. No content that we know takes longer.
const LONGEST_PER_BYTE: u64 = 24;

/// A piece that a callback is for.
pub(crate) struct Piece {
    /// Asks the host for bytes of it.
    pub(crate) ask: fn(usize, usize) -> Option<Vec<u8>>,
    pub(crate) size: usize,
    /// When the callback began.
    pub(crate) began: u64,
}

/// Passes a piece to `sink`, in steps. `scannable` is how many bytes may be scanned, after decompression. `sink` returns
/// how many of them are left, or `None` to end. Returns false if the host did not
/// hand over all of the piece, or if there was not enough time.
pub(crate) fn read(
    Piece { ask, size, began }: Piece,
    is_inflating: bool,
    mut scannable: u64,
    mut sink: impl FnMut(&[u8]) -> Option<u64>,
) -> bool {
    let step = if is_inflating { COMPRESSED_STEP } else { STEP };
    let mut position: usize = 0;
    let mut since = began;
    let mut left = LONGEST;
    while position < size {
        let length = SLICE.min(size.saturating_sub(position));
        let Some(slice) = ask(position, length).filter(|slice| !slice.is_empty()) else { return false };
        let mut rest = slice.as_slice();
        while !rest.is_empty() {
            let (part, more) = rest.split_at_checked(step).unwrap_or((rest, &[]));
            rest = more;
            let Some(rest_scannable) = sink(part) else { return true };
            let scanned = scannable.saturating_sub(rest_scannable).max(part.len() as u64);
            scannable = rest_scannable;
            position = position.saturating_add(part.len());
            if position < size {
                let now = host::monotonic_time();
                let longest = scanned.saturating_mul(LONGEST_PER_BYTE);
                left = left.saturating_sub(now.saturating_sub(since).min(longest));
                since = now;
                if left == 0 {
                    return false;
                }
            }
        }
    }
    true
}
