//! HTTP requests to this exporter, by the code of the answer, and those in progress.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hyper::StatusCode;

/// Codes that have a series before the first such answer, so that their rate is right from the first one on.
const FROM_THE_START: [StatusCode; 2] = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];

/// Counts requests. The handler chooses the codes, so there are few.
#[derive(Debug)]
pub struct HttpRequests {
    by_code: Mutex<BTreeMap<StatusCode, u64>>,
    in_flight: AtomicU64,
}

impl Default for HttpRequests {
    fn default() -> Self {
        Self {
            by_code: Mutex::new(FROM_THE_START.map(|code| (code, 0)).into()),
            in_flight: AtomicU64::new(0),
        }
    }
}

impl HttpRequests {
    /// A request that begins now and ends when the guard is dropped.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// Counts an answer.
    pub fn count(&self, code: StatusCode) {
        let mut by_code = self.by_code.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_code.entry(code).or_default();
        *count = count.saturating_add(1);
    }

    /// Answers so far, by code.
    pub fn by_code(&self) -> Vec<(StatusCode, u64)> {
        let by_code = self.by_code.lock().unwrap_or_else(PoisonError::into_inner);
        by_code.iter().map(|(code, count)| (*code, *count)).collect()
    }

    /// Requests in progress.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// A request in progress.
#[derive(Debug)]
pub struct InFlight<'a>(&'a HttpRequests);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
