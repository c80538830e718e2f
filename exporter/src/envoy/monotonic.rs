//! Envoy's own count of finished requests, kept from going backwards.
//!
//! Envoy prints the requests in progress a moment before their total, and what begins or ends in between makes the
//! difference of the two too large or too small by a few. A counter that dips by one looks restarted to `rate()`, which
//! then adds all of it once more.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::reading::measured::EnvoyRequests;

/// What the last read said.
#[derive(Debug, Default)]
pub struct Monotonic {
    last: Mutex<Option<(Instant, EnvoyRequests)>>,
}

impl Monotonic {
    /// What to say of a read that was begun at `begun` and is over now: never less than before, unless Envoy restarted.
    pub fn finished(&self, begun: Instant, read: EnvoyRequests) -> EnvoyRequests {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let steady = match *last {
            Some((_, before)) if read.begun >= before.begun => before.finished.max(read.finished),
            // Reads may overtake each other: only one that began after the other was over can tell of a restart.
            Some((over, before)) if begun < over => {
                return EnvoyRequests { finished: before.finished, ..read };
            }
            Some(_) | None => read.finished,
        };
        let steady = EnvoyRequests { finished: steady, ..read };
        *last = Some((Instant::now(), steady));
        steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(counter: &Monotonic, began: Instant, begun: u64, active: u64) -> u64 {
        counter.finished(began, EnvoyRequests { begun, finished: begun - active }).finished
    }

    #[test]
    fn a_dip_between_two_reads_is_not_shown() {
        let counter = Monotonic::default();
        assert_eq!(finished(&counter, Instant::now(), 100, 1), 99);
        assert_eq!(finished(&counter, Instant::now(), 100, 2), 99);
        assert_eq!(finished(&counter, Instant::now(), 101, 1), 100);
    }

    #[test]
    fn a_restart_of_envoy_is() {
        let counter = Monotonic::default();
        assert_eq!(finished(&counter, Instant::now(), 100, 0), 100);
        assert_eq!(finished(&counter, Instant::now(), 7, 2), 5);
        assert_eq!(finished(&counter, Instant::now(), 8, 2), 6);
    }

    #[test]
    fn a_read_that_was_overtaken_is_no_restart() {
        let counter = Monotonic::default();
        let slow = Instant::now();
        assert_eq!(finished(&counter, Instant::now(), 100, 0), 100);
        assert_eq!(finished(&counter, slow, 90, 0), 100);
        assert_eq!(finished(&counter, Instant::now(), 110, 0), 110);
    }
}
