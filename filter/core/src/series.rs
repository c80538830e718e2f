//! Which series get counters of their own: at most so many in the whole Envoy process, however many callers name.
//!
//! Every worker's VM has a table of its own; they agree through a [`Ledger`] that all of them see and that outlives
//! them: an append-only list of the series admitted so far. A VM reads each entry once, and when it has read as many
//! as the limit allows it never asks again.

use hashbrown::HashMap;

/// A list that all VMs of a process share.
pub trait Ledger {
    /// Writes `entry` at `position` if nothing is there yet.
    fn claim(&self, position: u32, entry: &str) -> Claim;
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is there now.
    Written,
    /// Another VM had written this there before.
    Taken(String),
    /// The host did not do it.
    Failed,
}

/// The series of one VM, by their encoded names, each with what is kept for it.
#[derive(Debug)]
pub struct SeriesTable<T> {
    limit: u32,
    read: u32,
    series: HashMap<String, T>,
}

impl<T: Default> SeriesTable<T> {
    /// An empty table; the ledger may know more already.
    pub fn new(limit: u32) -> Self {
        Self { limit, read: 0, series: HashMap::new() }
    }

    /// Whether the series is among the first so many; if there is room, it now is.
    pub fn admit(&mut self, name: &str, ledger: &impl Ledger) -> bool {
        if self.series.contains_key(name) {
            return true;
        }
        while self.read < self.limit {
            let entry = match ledger.claim(self.read, name) {
                Claim::Written => name.into(),
                Claim::Taken(entry) => entry,
                Claim::Failed => return false,
            };
            self.read = self.read.saturating_add(1);
            let found = *entry == *name;
            self.series.entry(entry).or_default();
            if found {
                return true;
            }
        }
        false
    }

    /// Whether no other series will be admitted any more.
    pub fn is_full(&self) -> bool {
        self.read >= self.limit
    }

    /// What is kept for a series: one that was admitted, or one that the limit does not concern.
    pub fn get(&mut self, name: &str) -> &mut T {
        self.series.entry_ref(name).or_default()
    }
}
