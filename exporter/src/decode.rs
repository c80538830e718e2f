//! From Envoy's lines to what was measured: names are decoded, models get their labels, equal series are added up.
//!
//! This is the only place that sees a statistic's name, and it leaves the grammar to `scoretap_core::name`. What
//! the result is called in an exposition is none of its business.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::hash_map::EntryRef;
use hashbrown::{Equivalent, HashMap};
use scoretap_core::histogram::{Cell, DEFAULT_TIME_BOUNDS, Histogram, SIZE_BOUNDS};
use scoretap_core::name::{ENVOY_PREFIX, Model, Series, Stat};
use scoretap_core::outcome::{Outcome, Status};

use crate::identity::Identity;

/// What Envoy said in one read.
#[derive(Debug, Default)]
pub struct Reading {
    /// In the order of their keys; no key occurs twice.
    pub series: Vec<(Key, Measured)>,
    /// In force for each histogram, increasing.
    pub bounds: Bounds,
    /// Calls that a route matched.
    pub matched: u64,
    /// Calls that none did.
    pub unmatched: u64,
    /// Calls whose model went into the series that stands for all beyond the limit.
    pub overflow: u64,
    /// Whether the filter runs as configured; `None` where none ever ran.
    pub config_valid: Option<bool>,
    /// Requests that Envoy finished on the app's listener, where it keeps that statistic.
    pub envoy_requests: Option<u64>,
    /// Calls that the app is working on, where Envoy keeps that statistic.
    pub in_flight: Option<u64>,
    /// How many statistics have our prefix and no meaning to us: a filter of another version.
    pub unknown: usize,
}

/// Whose calls these are, as labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `model_name`
    pub model: String,
    /// `model_version`
    pub version: String,
    /// `route`
    pub route: String,
}

/// All that was measured of one key's calls.
#[derive(Debug, Default, PartialEq)]
pub struct Measured {
    outcomes: BTreeMap<Outcome, u64>,
    /// What was answered, in order.
    pub responses: Vec<Response>,
    distributions: BTreeMap<(Histogram, Status), Distribution>,
}

/// Calls with one method that were answered with one code.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Response {
    /// The request's.
    pub method: String,
    /// The status that was sent; `0` where none was.
    pub code: String,
    /// How many.
    pub count: u64,
}

/// The values of one histogram, and the cells that they fell into.
#[derive(Debug, Default, PartialEq)]
pub struct Distribution {
    /// In no order; a cell may occur more than once.
    pub cells: Vec<(Cell, u64)>,
    /// In nanoseconds or bytes.
    pub sum: u64,
}

impl Measured {
    /// How many calls ended in one way.
    pub fn calls(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// How many calls ended with one status.
    pub fn calls_with(&self, status: Status) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| outcome.status() == status).map(|(_, count)| count).sum()
    }

    /// What was measured of calls with one status, if anything was.
    pub fn distribution(&self, histogram: Histogram, status: Status) -> Option<&Distribution> {
        self.distributions.get(&(histogram, status))
    }

    fn count(&mut self, outcome: Outcome, method: &str, code: u16, count: u64) {
        let total = self.outcomes.entry(outcome).or_default();
        *total = total.saturating_add(count);
        let code = code.to_string();
        let same = |response: &&mut Response| response.method == method && response.code == code;
        if let Some(response) = self.responses.iter_mut().find(same) {
            response.count = response.count.saturating_add(count);
        } else {
            self.responses.push(Response { method: method.to_owned(), code, count });
        }
    }

    fn distribution_mut(&mut self, histogram: Histogram, status: Status) -> &mut Distribution {
        self.distributions.entry((histogram, status)).or_default()
    }
}

/// The bounds in force, of each histogram.
#[derive(Debug, Default)]
pub struct Bounds {
    configured: Vec<(Histogram, u64, Vec<u64>)>,
}

impl Bounds {
    /// Those that were configured last, or else the default ones.
    pub fn of(&self, histogram: Histogram) -> &[u64] {
        let configured = self.configured.iter().find(|(of, _, _)| *of == histogram);
        match configured {
            Some((_, _, bounds)) => bounds,
            None if histogram.is_time() => &DEFAULT_TIME_BOUNDS,
            None => &SIZE_BOUNDS,
        }
    }

    fn configured(&mut self, histogram: Histogram, since: u64, bounds: &[u64]) {
        if self.configured.iter().any(|(of, when, _)| *of == histogram && *when >= since) {
            return;
        }
        self.configured.retain(|(of, _, _)| *of != histogram);
        let increasing: BTreeSet<u64> = bounds.iter().copied().collect();
        self.configured.push((histogram, since, increasing.into_iter().collect()));
    }
}

/// A line that is none of Envoy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAStatistic {
    /// The beginning of it.
    pub line: String,
}

/// Takes Envoy's lines, in any order.
#[derive(Debug)]
pub struct Decoder<'a> {
    identity: &'a Identity,
    series: HashMap<Key, Measured>,
    reading: Reading,
    requests_begun: Option<u64>,
    requests_active: u64,
}

impl<'a> Decoder<'a> {
    /// A decoder that has seen nothing yet.
    pub fn new(identity: &'a Identity) -> Self {
        Self {
            identity,
            series: HashMap::new(),
            reading: Reading::default(),
            requests_begun: None,
            requests_active: 0,
        }
    }

    /// Takes one line, `name: value`.
    pub fn line(&mut self, line: &str) -> Result<(), NotAStatistic> {
        let parsed = line.rsplit_once(": ").and_then(|(name, value)| Some((name, value.parse().ok()?)));
        let Some((name, value)) = parsed else {
            return Err(NotAStatistic { line: line.chars().take(80).collect() });
        };
        match name.strip_prefix(ENVOY_PREFIX) {
            Some(name) => match Stat::decode(name) {
                Some(stat) => self.ours(stat, value),
                None => self.reading.unknown += 1,
            },
            None => self.envoys(name, value),
        }
        Ok(())
    }

    /// Says that there are no more lines. The pod's own model is known on `expected_routes`, called or not.
    pub fn finish(mut self, expected_routes: &[String]) -> Reading {
        for route in expected_routes {
            let (model, version) = self.identity.own();
            self.entry(&KeyRef { model, version, route });
        }
        let mut reading = self.reading;
        reading.series = self.series.into_iter().collect();
        reading.series.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (_, measured) in &mut reading.series {
            measured.responses.sort_unstable();
        }
        reading.envoy_requests = self.requests_begun.map(|begun| begun.saturating_sub(self.requests_active));
        reading
    }

    fn ours(&mut self, stat: Stat<'_>, value: u64) {
        match stat {
            Stat::Call { series, method, code, outcome } => {
                self.reading.matched = self.reading.matched.saturating_add(value);
                if series.model == Model::Other {
                    self.reading.overflow = self.reading.overflow.saturating_add(value);
                }
                self.measured(&series).count(outcome, &method, code, value);
            }
            Stat::Cell { series, histogram, status, cell } => {
                self.measured(&series).distribution_mut(histogram, status).cells.push((cell, value));
            }
            Stat::Sum { series, histogram, status } => {
                let distribution = self.measured(&series).distribution_mut(histogram, status);
                distribution.sum = distribution.sum.saturating_add(value);
            }
            Stat::Unmatched => self.reading.unmatched = value,
            Stat::Config => self.reading.config_valid = Some(value != 0),
            Stat::Bounds { histogram, bounds } => self.reading.bounds.configured(histogram, value, &bounds),
        }
    }

    /// What else was asked for; the patterns that chose it are the user's.
    fn envoys(&mut self, name: &str, value: u64) {
        // Envoy may count the requests of some callers once more, apart from the rest.
        if name.contains(".user_agent.") {
            return;
        }
        if name.starts_with("cluster.") && name.ends_with(".upstream_rq_active") {
            add(&mut self.reading.in_flight, value);
        } else if name.starts_with("http.") && name.ends_with(".downstream_rq_total") {
            add(&mut self.requests_begun, value);
        } else if name.starts_with("http.") && name.ends_with(".downstream_rq_active") {
            self.requests_active = self.requests_active.saturating_add(value);
        }
    }

    fn measured(&mut self, series: &Series<'_>) -> &mut Measured {
        let (model, version) = self.identity.resolve(&series.model);
        self.entry(&KeyRef { model, version, route: &series.route })
    }

    fn entry(&mut self, key: &KeyRef<'_>) -> &mut Measured {
        match self.series.entry_ref(key) {
            EntryRef::Occupied(entry) => entry.into_mut(),
            EntryRef::Vacant(entry) => entry.insert_with_key(Key::from(key), Measured::default()),
        }
    }
}

fn add(total: &mut Option<u64>, value: u64) {
    *total = Some(total.unwrap_or(0).saturating_add(value));
}

/// A [`Key`] that owns nothing; the order of fields is the same, so the hash is, too.
#[derive(Hash)]
struct KeyRef<'a> {
    model: &'a str,
    version: &'a str,
    route: &'a str,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let Key { model, version, route } = key;
        (self.model, self.version, self.route) == (model, version, route)
    }
}

impl From<&KeyRef<'_>> for Key {
    fn from(key: &KeyRef<'_>) -> Self {
        let KeyRef { model, version, route } = key;
        Self { model: (*model).to_owned(), version: (*version).to_owned(), route: (*route).to_owned() }
    }
}
