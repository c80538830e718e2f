//! Decides which series get counters of their own: a bounded number, even if callers make up names.
//!
//! Each VM has a table of the series that it has counted. The VMs agree through [`SharedData`], which outlives them. It
//! has one key for each admitted series, and one tally of them. A restarted VM looks each name up at its first call, so
//! an unknown name takes a fixed number of host calls. Envoy shares the data between VMs of one `vm_id`, so the limit
//! applies to them together.

use std::borrow::Cow;

use hashbrown::HashMap;

/// Values that the VMs of one `vm_id` share.
pub trait SharedData {
    /// The value of a key.
    fn get(&self, key: &str) -> Read;
    /// Writes a value if the key still is as expected.
    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Write;
}

/// The result of reading a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The key has a value.
    Found {
        /// The value.
        value: Vec<u8>,
        /// Changes whenever the value is written.
        version: u32,
    },
    /// The key does not exist.
    Absent,
    /// The host did not answer.
    Failed,
}

/// The state of a key that a writer requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The key does not exist.
    Absent,
    /// The value has this version.
    Version(u32),
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The value was written.
    Done,
    /// Another VM was faster; nothing has changed.
    Conflict,
    /// The host rejected the write.
    Failed,
}

/// How much a call proves that its model exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The app answered for it.
    Shown,
    /// The app failed, or the caller did not wait. Such names get at most a quarter of the limit.
    Unclear,
    /// The call was rejected, as calls for made-up names are. Such names are not admitted.
    Refused,
}

/// Whether a series has counters of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It has.
    Admitted,
    /// It has not, but a later call may change that.
    NotYet,
    /// It has not and never will: the limit is reached.
    Never,
}

const TALLY: &str = "scoretap.series";
/// How often a write is repeated because other VMs were faster.
const ATTEMPTS: u32 = 4;

/// How many series were admitted.
#[derive(Clone, Copy, Default)]
struct Tally {
    all: u32,
    unclear: u32,
}

impl Tally {
    fn decode(value: &[u8]) -> Option<Self> {
        let ([all, unclear], []) = value.as_chunks::<4>() else { return None };
        Some(Self { all: u32::from_le_bytes(*all), unclear: u32::from_le_bytes(*unclear) })
    }

    fn encode(self) -> [u8; 8] {
        (u64::from(self.all) | u64::from(self.unclear) << 32).to_le_bytes()
    }

    const fn has_room(self, limit: u32, evidence: Evidence) -> bool {
        let room = self.all < limit;
        match evidence {
            Evidence::Shown => room,
            Evidence::Unclear => room && self.unclear < limit / 4,
            Evidence::Refused => false,
        }
    }

    const fn with(self, evidence: Evidence) -> Self {
        let unclear = matches!(evidence, Evidence::Unclear) as u32;
        Self { all: self.all.saturating_add(1), unclear: self.unclear.saturating_add(unclear) }
    }

    const fn without(self, evidence: Evidence) -> Self {
        let unclear = matches!(evidence, Evidence::Unclear) as u32;
        Self { all: self.all.saturating_sub(1), unclear: self.unclear.saturating_sub(unclear) }
    }
}

/// The series of one VM, by their encoded names, each with a value.
#[derive(Debug)]
pub struct SeriesTable<T> {
    /// The key of the tally. The keys of series begin with it.
    key: Cow<'static, str>,
    limit: u32,
    is_full: bool,
    series: HashMap<String, T>,
}

impl<T: Default> SeriesTable<T> {
    /// An empty table; other VMs may have admitted series already.
    pub fn new(limit: u32) -> Self {
        Self::with_key(Cow::Borrowed(TALLY), limit)
    }

    /// A table with a limit of its own, which the VMs share under `key`.
    pub(crate) fn with_key(key: Cow<'static, str>, limit: u32) -> Self {
        Self { key, limit, is_full: false, series: HashMap::new() }
    }

    /// Whether the series is in this VM's table, so that its calls may be counted.
    pub fn contains(&self, name: &str) -> bool {
        self.series.contains_key(name)
    }

    /// Admits the series if another VM has admitted it, or if there is room for names with this evidence.
    pub fn admit(&mut self, name: &str, evidence: Evidence, data: &impl SharedData) -> Admission {
        if self.contains(name) {
            return Admission::Admitted;
        }
        let mut key = String::with_capacity(self.key.len().saturating_add(name.len()).saturating_add(1));
        [&self.key, ".", name].into_iter().for_each(|part| key.push_str(part));
        match data.get(&key) {
            Read::Found { .. } => return self.insert(name),
            Read::Failed => return Admission::NotYet,
            Read::Absent if self.is_full => return Admission::Never,
            Read::Absent => {}
        }
        if !self.reserve(evidence, data) {
            return Admission::NotYet;
        }
        let written = data.set(&key, b"1", Expected::Absent);
        if written != Write::Done {
            self.release(evidence, data);
        }
        if written == Write::Failed { Admission::NotYet } else { self.insert(name) }
    }

    /// The value of a series that was admitted or that the limit does not concern.
    pub fn get(&mut self, name: &str) -> &mut T {
        self.series.entry_ref(name).or_default()
    }

    fn insert(&mut self, name: &str) -> Admission {
        self.get(name);
        Admission::Admitted
    }

    /// Counts one more series, before its key is written, so that there are never more keys than the limit.
    fn reserve(&mut self, evidence: Evidence, data: &impl SharedData) -> bool {
        if evidence == Evidence::Refused {
            return false;
        }
        let limit = self.limit;
        let mut is_full = false;
        let reserved = change(&self.key, data, |tally| {
            is_full = tally.all >= limit;
            tally.has_room(limit, evidence).then(|| tally.with(evidence))
        });
        // Takes effect from the next call on: the VM that took the last place may not have written its key yet.
        self.is_full = is_full;
        reserved
    }

    /// Undoes a reservation.
    fn release(&self, evidence: Evidence, data: &impl SharedData) {
        change(&self.key, data, |tally| Some(tally.without(evidence)));
    }
}

/// Replaces the tally with the one that `next` returns, if any. Returns whether it did.
fn change(key: &str, data: &impl SharedData, mut next: impl FnMut(Tally) -> Option<Tally>) -> bool {
    for _ in 0..ATTEMPTS {
        let (tally, expected) = match data.get(key) {
            Read::Found { value, version } => (Tally::decode(&value), Expected::Version(version)),
            Read::Absent => (Some(Tally::default()), Expected::Absent),
            Read::Failed => return false,
        };
        let Some(next) = tally.and_then(&mut next) else { return false };
        let written = data.set(key, &next.encode(), expected);
        if written != Write::Conflict {
            return written == Write::Done;
        }
    }
    false
}
