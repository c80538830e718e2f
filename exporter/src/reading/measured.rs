//! The measurements of one read of Envoy: typed values without metric names.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use scoretap_core::histogram::{Cell, DEFAULT_TIME_BOUNDS, Histogram, SIZE_BOUNDS, cell_index};
use scoretap_core::name::Ended;
use scoretap_core::outcome::{Outcome, Status};

use crate::as_float;
use crate::reading::bodies::Bodies;

/// One read of Envoy.
#[derive(Debug, Default)]
pub struct Reading {
    /// In the order of their keys; no key occurs twice.
    pub series: Vec<(Key, Measured)>,
    /// The bounds in force for each histogram, increasing.
    pub bounds: Bounds,
    /// Calls that a route matched.
    pub matched: u64,
    /// Calls that no route matched.
    pub unmatched: u64,
    /// Calls that insight saw; `None` if it never ran.
    pub insight_seen: Option<u64>,
    /// Records of calls that insight could not hand over.
    pub insight_lost: u64,
    /// Calls counted in the series `other`, because there were too many models.
    pub overflow: u64,
    /// Whether the filter's configuration is valid; `None` if no filter ever ran.
    pub config_valid: Option<bool>,
    /// Requests on the app's listener, if Envoy has that statistic.
    pub envoy_requests: Option<EnvoyRequests>,
    /// Calls that the app is working on, if Envoy has that statistic.
    pub in_flight: Option<u64>,
    /// Reloads of the filter's VMs, if Envoy has that statistic.
    pub vm_reloads: Option<VmReloads>,
    /// How long Envoy has run, in whole seconds, if Envoy has that statistic.
    pub uptime: Option<Duration>,
    /// When Envoy started, once `envoy::appearance` has dated the reading.
    pub started: Option<SystemTime>,
    /// Statistics with our prefix that cannot be decoded: the filter is of another version.
    pub unknown: usize,
    /// Whether durations have the resolution of native histograms.
    pub is_native: bool,
}

/// Attempts to restart a crashed VM, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmReloads {
    /// The VM runs again.
    pub success: u64,
    /// The VM did not start.
    pub failure: u64,
    /// Envoy did not try, because the last attempt was too recent.
    pub backoff: u64,
}

/// Envoy's own count of the requests that the filter should have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvoyRequests {
    /// All requests so far.
    pub begun: u64,
    /// Finished requests.
    pub finished: u64,
}

/// The labels of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub version: String,
    /// The route's name.
    pub route: String,
    /// The request's method; empty for an expected route whose endpoints are not known before its first call.
    pub method: String,
    /// The template that the path matched; empty whenever the method is.
    pub template: String,
}

/// The measurements of one series.
#[derive(Debug, Default, PartialEq)]
pub struct Measured {
    /// Counts of calls, by outcome and HTTP status.
    pub calls: Vec<Calls>,
    /// When the series was 0.
    pub created: Option<SystemTime>,
    /// The measurements of bodies, which name no endpoint.
    pub bodies: Bodies,
    distributions: BTreeMap<(Histogram, Ended), Distribution>,
}

/// The calls with one outcome and one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// How the calls ended.
    pub outcome: Outcome,
    /// The HTTP status; 0 if no response was sent.
    pub code: u16,
    /// The number of calls.
    pub count: u64,
    /// When the count was 0.
    pub created: Option<SystemTime>,
}

/// The values of one histogram.
#[derive(Debug, Default, PartialEq)]
pub struct Distribution {
    /// Values by cell, in no order; a cell may occur more than once.
    pub cells: Vec<(Cell, u64)>,
    /// The sum of all values, in nanoseconds or bytes.
    pub sum: u64,
    /// When the count was 0.
    pub created: Option<SystemTime>,
}

/// The index of the bucket that a cell counts for. `bounds.len()` is the +Inf bucket. A cell whose own bound is not
/// among `bounds` counts for the next one above, so that no value is shown as smaller than it was.
pub fn bucket_index(bounds: &[u64], cell: Cell) -> usize {
    cell.le.map_or(bounds.len(), |le| cell_index(bounds, le))
}

/// The earlier of the times that are known.
pub fn earlier(one: Option<SystemTime>, other: Option<SystemTime>) -> Option<SystemTime> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Measured {
    /// The values of calls with this status, by how the calls ended.
    pub fn distributions(
        &self,
        histogram: Histogram,
        status: Status,
    ) -> impl Iterator<Item = (Ended, &Distribution)> {
        let first = Ended { status, code: None };
        let last = Ended { status, code: Some(u16::MAX) };
        let range = self.distributions.range((histogram, first)..=(histogram, last));
        range.map(|((_, ended), distribution)| (*ended, distribution))
    }

    pub(crate) fn distributions_mut(
        &mut self,
    ) -> impl Iterator<Item = (&(Histogram, Ended), &mut Distribution)> {
        self.distributions.iter_mut()
    }

    pub(super) fn count(&mut self, outcome: Outcome, code: u16, count: u64) {
        let same = |calls: &&mut Calls| (calls.outcome, calls.code) == (outcome, code);
        match self.calls.iter_mut().find(same) {
            Some(calls) => calls.count = calls.count.saturating_add(count),
            None => self.calls.push(Calls { outcome, code, count, created: None }),
        }
    }

    pub(super) fn distribution_mut(&mut self, histogram: Histogram, ended: Ended) -> &mut Distribution {
        self.distributions.entry((histogram, ended)).or_default()
    }
}

/// The bounds in force for each histogram.
#[derive(Debug, Default)]
pub struct Bounds {
    configured: Vec<(Histogram, u64, Vec<u64>)>,
}

impl Bounds {
    /// The bounds that were configured last, or the default ones.
    pub fn of(&self, histogram: Histogram) -> &[u64] {
        let configured = self.configured.iter().find(|(of, _, _)| *of == histogram);
        match configured {
            Some((_, _, bounds)) => bounds,
            None if histogram.is_time() => &DEFAULT_TIME_BOUNDS,
            None => &SIZE_BOUNDS,
        }
    }

    pub(super) fn configured(&mut self, histogram: Histogram, since: u64, bounds: &[u64]) {
        let mut bounds = bounds.to_vec();
        bounds.sort_unstable();
        // Bounds that are equal as floats would make one bucket twice.
        bounds.dedup_by_key(|bound| as_float(*bound) / 1e9);
        // If two configurations have the same time, the greater bounds win, so the order of the lines does not matter.
        let is_later = |(of, when, other): &(Histogram, u64, Vec<u64>)| {
            *of == histogram && (*when, other) >= (since, &bounds)
        };
        if self.configured.iter().any(is_later) {
            return;
        }
        self.configured.retain(|(of, _, _)| *of != histogram);
        self.configured.push((histogram, since, bounds));
    }
}
