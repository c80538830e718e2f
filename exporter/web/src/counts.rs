//! Counts that an application turns into metrics of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use hyper::StatusCode;

/// Counts of one server since it started. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Counts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handshake_failures: AtomicU64,
    in_flight: AtomicU64,
    requests: Mutex<BTreeMap<StatusCode, u64>>,
    reloads: Mutex<Reloads>,
}

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// TLS handshakes that failed, and clients whose certificate has none of the allowed names.
    pub handshake_failures: u64,
    /// Requests whose answer is not sent completely.
    pub in_flight: u64,
    /// Answers by status code.
    pub requests: BTreeMap<StatusCode, u64>,
    /// How the web configuration was read.
    pub reloads: Reloads,
}

/// How the web configuration was read. The read at startup counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Whether the last read succeeded; `None` without a configuration file.
    pub last_succeeded: Option<bool>,
    /// When a read last succeeded.
    pub last_success: Option<SystemTime>,
    /// Changes that were put in force.
    pub successes: u64,
    /// Changes that were rejected.
    pub failures: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self(Arc::new(Inner {
            handshake_failures: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            // Other codes have no series before their first answer: each would cost every pod one.
            requests: Mutex::new([(StatusCode::OK, 0)].into()),
            reloads: Mutex::default(),
        }))
    }
}

impl Counts {
    /// The counts now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            handshake_failures: self.0.handshake_failures.load(Ordering::Relaxed),
            in_flight: self.0.in_flight.load(Ordering::Relaxed),
            requests: locked(&self.0.requests).clone(),
            reloads: *locked(&self.0.reloads),
        }
    }

    pub(crate) fn handshake_failure(&self) {
        self.0.handshake_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request_begins(&self) {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request_ends(&self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn answer(&self, code: StatusCode) {
        *locked(&self.0.requests).entry(code).or_default() += 1;
    }

    pub(crate) fn loaded(&self) {
        let mut reloads = locked(&self.0.reloads);
        reloads.last_succeeded = Some(true);
        reloads.last_success = Some(SystemTime::now());
    }

    pub(crate) fn reload(&self, succeeded: bool) {
        if succeeded {
            self.loaded();
        }
        let mut reloads = locked(&self.0.reloads);
        reloads.last_succeeded = Some(succeeded);
        let counter = if succeeded { &mut reloads.successes } else { &mut reloads.failures };
        *counter += 1;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_reload_keeps_the_time_of_success() {
        let counts = Counts::default();
        counts.loaded();
        let loaded = counts.snapshot().reloads;
        counts.reload(false);
        let rejected = Reloads { last_succeeded: Some(false), failures: 1, ..loaded };
        assert_eq!(counts.snapshot().reloads, rejected);
        counts.reload(true);
        let reloaded = counts.snapshot().reloads;
        assert_eq!((reloaded.last_succeeded, reloaded.successes, reloaded.failures), (Some(true), 1, 1));
    }
}
