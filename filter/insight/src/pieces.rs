//! The pieces in which Envoy hands over bodies: up to a megabyte each.

use scoretap_host as host;

/// How much of a piece is copied out of Envoy at a time.
pub(crate) const SLICE: usize = 16 * 1024;
/// How long one callback may read, in nanoseconds, because the worker's other streams wait.
const LONGEST: u64 = 1_000_000;

/// Passes a piece of `size` bytes to `sink`, in steps, until `sink` returns false. Returns false if the host did not
/// hand over all of it, or if there was not enough time since `began`.
pub(crate) fn read(
    ask: fn(usize, usize) -> Option<Vec<u8>>,
    size: usize,
    step: usize,
    began: u64,
    mut sink: impl FnMut(&[u8]) -> bool,
) -> bool {
    let mut position: usize = 0;
    while position < size {
        let length = SLICE.min(size.saturating_sub(position));
        let Some(slice) = ask(position, length).filter(|slice| !slice.is_empty()) else { return false };
        let mut rest = slice.as_slice();
        while !rest.is_empty() {
            let (part, more) = rest.split_at_checked(step).unwrap_or((rest, &[]));
            rest = more;
            if !sink(part) {
                return true;
            }
            position = position.saturating_add(part.len());
            if position < size && host::monotonic_time().saturating_sub(began) > LONGEST {
                return false;
            }
        }
    }
    true
}
