//! Counts failed reads of Envoy, by reason.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::envoy::admin::ReadError;

/// The kind of a failed read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Connecting failed.
    Unreachable,
    /// The answer was not complete in time.
    Timeout,
    /// Envoy answered with a status other than 200.
    Refused,
    /// The answer was not HTTP, or ended too soon.
    Broken,
    /// The answer was complete, but not statistics.
    Garbage,
    /// The answer was too long.
    TooLarge,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Unreachable, Self::Timeout, Self::Refused, Self::Broken, Self::Garbage, Self::TooLarge];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Garbage => "garbage",
            Self::TooLarge => "too_large",
        }
    }
}

impl From<&ReadError> for Reason {
    fn from(error: &ReadError) -> Self {
        match error {
            ReadError::Unreachable(_) => Self::Unreachable,
            ReadError::TimedOut(_) => Self::Timeout,
            ReadError::Refused { .. } => Self::Refused,
            ReadError::Broken(_) => Self::Broken,
            ReadError::NotLines(_) | ReadError::NotAStatistic(_) => Self::Garbage,
            ReadError::TooLarge => Self::TooLarge,
        }
    }
}

/// Counts of failed scrapes, by reason.
#[derive(Debug, Default)]
pub struct ScrapeErrors([AtomicU64; Reason::ALL.len()]);

impl ScrapeErrors {
    /// Counts one failed scrape.
    pub fn count(&self, reason: Reason) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The failed scrapes so far.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}
