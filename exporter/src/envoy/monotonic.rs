//! Keeps Envoy's own count of finished requests from going backwards.
//!
//! Envoy prints the active requests a moment before their total. Requests that begin or end in between make the difference
//! too large or too small by a few. `rate()` takes a dip by one for a restart and counts the whole value again.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::reading::measured::EnvoyRequests;

/// Remembers the last read.
#[derive(Debug, Default)]
pub struct Monotonic {
    last: Mutex<Option<(Instant, EnvoyRequests)>>,
}

impl Monotonic {
    /// The count for a read that began at `begun` and ends now. It is never less than before, unless Envoy restarted.
    pub fn finished(&self, begun: Instant, read: EnvoyRequests) -> EnvoyRequests {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let steady = match *last {
            Some((_, before)) if read.begun >= before.begun => before.finished.max(read.finished),
            // Reads can overlap. Only a read that began after the last one ended can show a restart.
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
    fn dip_between_two_reads_is_hidden() {
        let counter = Monotonic::default();
        assert_eq!(finished(&counter, Instant::now(), 100, 1), 99);
        assert_eq!(finished(&counter, Instant::now(), 100, 2), 99);
        assert_eq!(finished(&counter, Instant::now(), 101, 1), 100);
    }

    #[test]
    fn restart_of_envoy_is_shown() {
        let counter = Monotonic::default();
        assert_eq!(finished(&counter, Instant::now(), 100, 0), 100);
        assert_eq!(finished(&counter, Instant::now(), 7, 2), 5);
        assert_eq!(finished(&counter, Instant::now(), 8, 2), 6);
    }

    #[test]
    fn overtaken_read_is_not_a_restart() {
        let counter = Monotonic::default();
        let slow = Instant::now();
        assert_eq!(finished(&counter, Instant::now(), 100, 0), 100);
        assert_eq!(finished(&counter, slow, 90, 0), 100);
        assert_eq!(finished(&counter, Instant::now(), 110, 0), 110);
    }
}
