//! When each count appeared, for created timestamps.
//!
//! Envoy creates a counter with its first increment, so `rate()` would lose what is counted before the first scrape that
//! shows it. A created timestamp tells Prometheus when the count was still 0: at the last read without it.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hashbrown::HashMap;
use scoretap_core::histogram::Histogram;
use scoretap_core::name::Ended;
use scoretap_core::outcome::Outcome;

use crate::reading::measured::Reading;
use scoretap_dialect::bodies::{BodyCount, BodyHistogram};

/// When a read began, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Began {
    /// Orders reads.
    pub instant: Instant,
    /// For timestamps.
    pub time: SystemTime,
}

impl Began {
    /// A read that begins now.
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }
}

/// Remembers the counts of the last read and when each appeared.
#[derive(Debug, Default)]
pub struct Appearances {
    hasher: RandomState,
    last: Mutex<Option<Last>>,
}

/// The last read.
#[derive(Debug)]
struct Last {
    began: SystemTime,
    over: Instant,
    uptime: Option<Duration>,
    started: Option<SystemTime>,
    /// By the hash of the key and the part, so that no names are stored.
    counts: Counts,
}

type Counts = HashMap<u64, Count>;

#[derive(Clone, Copy, Debug)]
struct Count {
    created: Option<SystemTime>,
    value: u64,
}

/// A part of a series with a created time of its own.
#[derive(Hash)]
enum Part<'a> {
    Series,
    Calls(Outcome, u16),
    Distribution(Histogram, Ended),
    Bodies(BodyCount, &'a str, &'a str),
    BodyDistribution(BodyHistogram, &'a str),
}

impl Appearances {
    /// Sets the created times in a read that has just ended.
    pub fn date(&self, began: Began, reading: &mut Reading) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Reads can overlap. A read that began before the last one ended cannot show a restart.
        if let Some(last) = last.as_ref().filter(|last| began.instant < last.over) {
            let known = |hash, _| {
                last.counts.get(&hash).map_or(Some(last.began.min(began.time)), |count| count.created)
            };
            self.visit(reading, known);
            reading.started = last.started;
            return;
        }
        let continued = last.as_ref().and_then(|last| self.continued(last, began, reading));
        let next = continued.unwrap_or_else(|| self.restarted(began, reading));
        reading.started = next.started;
        *last = Some(next);
    }

    /// Dates counts by the last read. Returns `None` if Envoy restarted since: a count disappeared or decreased, or the
    /// uptime decreased.
    fn continued(&self, last: &Last, began: Began, reading: &mut Reading) -> Option<Last> {
        if reading.uptime.zip(last.uptime).is_some_and(|(now, before)| now < before) {
            return None;
        }
        // A clock that was set back must not date a count into the future.
        let appeared = Some(last.began.min(began.time));
        let mut kept = 0_usize;
        let mut is_lower = false;
        let mut counts = HashMap::with_capacity(last.counts.len());
        self.visit(reading, |hash, value| {
            let created = match last.counts.get(&hash) {
                Some(count) => {
                    kept += 1;
                    is_lower |= value < count.value;
                    count.created
                }
                None => appeared,
            };
            counts.insert(hash, Count { created, value });
            created
        });
        let is_restarted = is_lower || kept < last.counts.len();
        let started = last.started.or_else(|| start(began, reading));
        (!is_restarted).then(|| Last::new(began, reading, started, counts))
    }

    /// Dates every count at Envoy's start.
    fn restarted(&self, began: Began, reading: &mut Reading) -> Last {
        let created = start(began, reading);
        let mut counts = HashMap::new();
        self.visit(reading, |hash, value| {
            counts.insert(hash, Count { created, value });
            created
        });
        Last::new(began, reading, created, counts)
    }

    /// Sets the created time of every count to what `created` returns for its hash and value.
    fn visit(&self, reading: &mut Reading, mut created: impl FnMut(u64, u64) -> Option<SystemTime>) {
        for (key, measured) in &mut reading.series {
            let key = self.hasher.hash_one(&*key);
            let hash = |part: Part<'_>| self.hasher.hash_one((key, part));
            measured.created = created(hash(Part::Series), 0);
            for calls in &mut measured.calls {
                calls.created = created(hash(Part::Calls(calls.outcome, calls.code)), calls.count);
            }
            for ((histogram, ended), distribution) in measured.distributions_mut() {
                let count =
                    distribution.cells.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
                distribution.created = created(hash(Part::Distribution(*histogram, *ended)), count);
            }
            for ((of, column, value), count) in measured.bodies.counts_mut() {
                count.created = created(hash(Part::Bodies(*of, column, value)), count.count);
            }
            for ((of, value), cells) in measured.bodies.histograms_mut() {
                cells.created = created(hash(Part::BodyDistribution(*of, value)), cells.count());
            }
        }
    }
}

impl Last {
    fn new(began: Began, reading: &Reading, started: Option<SystemTime>, counts: Counts) -> Self {
        Self { began: began.time, over: Instant::now(), uptime: reading.uptime, started, counts }
    }
}

/// When Envoy started, by its uptime, which it rounds down.
fn start(began: Began, reading: &Reading) -> Option<SystemTime> {
    reading.uptime.and_then(|uptime| began.time.checked_sub(uptime + Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::decode::Decoder;
    use crate::reading::identity::Identity;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    /// Reads at chosen times and returns the created time of each model's successes, in seconds.
    struct Reads(Appearances);

    impl Reads {
        fn read(&self, second: u64, uptime: u64, calls: &[(&str, u64)]) -> Vec<u64> {
            let identity = Identity::default();
            let mut decoder = Decoder::new(&identity);
            decoder.line(&format!("server.uptime: {uptime}")).unwrap();
            for (model, count) in calls {
                let name = format!("call.score.{model}.1.POST./score.200.success");
                decoder.line(&format!("wasmcustom.scoretap.{name}: {count}")).unwrap();
            }
            let mut reading = decoder.finish(&[]);
            let time = NOW + Duration::from_secs(second);
            self.0.date(Began { instant: Instant::now(), time }, &mut reading);
            let created =
                |created: Option<SystemTime>| created.unwrap().duration_since(NOW).unwrap().as_secs();
            reading.series.iter().map(|(_, measured)| created(measured.calls[0].created)).collect()
        }
    }

    #[test]
    fn first_read_dates_everything_at_envoys_start() {
        let reads = Reads(Appearances::default());
        assert_eq!(reads.read(1000, 99, &[("a", 1), ("b", 2)]), [900, 900]);
    }

    #[test]
    fn new_count_is_dated_at_the_read_before() {
        let reads = Reads(Appearances::default());
        assert_eq!(reads.read(1000, 99, &[("a", 1)]), [900]);
        assert_eq!(reads.read(1015, 114, &[("a", 1)]), [900]);
        assert_eq!(reads.read(1030, 129, &[("a", 1), ("b", 1)]), [900, 1015]);
        assert_eq!(reads.read(1045, 144, &[("a", 2), ("b", 9)]), [900, 1015]);
    }

    #[test]
    fn clock_set_back_dates_no_future_count() {
        let reads = Reads(Appearances::default());
        reads.read(1000, 99, &[("a", 1)]);
        assert_eq!(reads.read(950, 114, &[("a", 1), ("b", 1)]), [900, 950]);
    }

    #[test]
    fn restarted_envoy_dates_everything_at_its_start() {
        for (uptime, calls) in
            [(4, [("a", 9), ("b", 9)]), (200, [("a", 1), ("b", 9)]), (200, [("a", 9), ("c", 9)])]
        {
            let reads = Reads(Appearances::default());
            reads.read(1000, 99, &[("a", 5), ("b", 5)]);
            let started = 1300 - uptime - 1;
            assert_eq!(reads.read(1300, uptime, &calls), [started, started], "{uptime} {calls:?}");
        }
    }

    #[test]
    fn overtaken_read_is_no_restart() {
        let reads = Reads(Appearances::default());
        let slow = Instant::now();
        reads.read(1000, 99, &[("a", 5)]);
        let mut reading = Reading::default();
        reads.0.date(Began { instant: slow, time: NOW }, &mut reading);
        assert_eq!(reads.read(1015, 114, &[("a", 5)]), [900]);
    }
}
