//! Why Envoy could not be read, counted by kinds that an alert can tell apart.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::envoy::admin::ReadError;

/// The kind of a failed read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody listens there, or not for us.
    Unreachable,
    /// There was no complete answer in time.
    Timeout,
    /// Envoy answered something other than 200.
    Refused,
    /// The answer was no HTTP, or broke off.
    Broken,
    /// The answer was complete, and no statistics.
    Garbage,
    /// The answer had no end.
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

/// How many scrapes failed, by reason.
#[derive(Debug, Default)]
pub struct ScrapeErrors([AtomicU64; Reason::ALL.len()]);

impl ScrapeErrors {
    /// One more.
    pub fn count(&self, reason: Reason) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many so far.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}
