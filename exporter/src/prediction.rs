//! The canonical metrics of calls: one table says what each family shows, by which labels.

use scoretap_core::histogram::Histogram;
use scoretap_core::outcome::{Outcome, Status};

use crate::decode::{Distribution, Key, Measured, Reading, Response};
use crate::family::{Buckets, Family, Labels, Points, Sample, Unit};
use crate::identity::Identity;

/// One row of the table: a family, where its samples come from and how they are labelled.
#[derive(Debug)]
pub struct Spec {
    /// The family's name.
    pub name: &'static str,
    /// What it tells.
    pub help: &'static str,
    unit: Option<Unit>,
    source: Source,
    /// Label names and what they hold.
    pub labels: &'static [(&'static str, Dimension)],
}

/// What a family's samples are made of.
#[derive(Clone, Copy, Debug)]
enum Source {
    Requests,
    Errors,
    Responses,
    Distribution(Histogram),
    InFlight,
    Models,
}

/// What a label can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// The model's name.
    Model,
    /// The model's version.
    Version,
    /// The route's name.
    Route,
    /// success, failure or cancelled.
    Status,
    /// What kind of failure.
    ErrorType,
    /// The request's method.
    Method,
    /// The response's status.
    Code,
    /// The pod's deployment.
    Deployment,
    /// What the model was made with.
    Framework,
}

/// All families of calls, in the order in which they are written.
pub const FAMILIES: &[Spec] = &[
    Spec {
        name: "prediction_requests_total",
        help: "Inference calls that ended, by how.",
        unit: None,
        source: Source::Requests,
        labels: BY_STATUS,
    },
    Spec {
        name: "prediction_errors_total",
        help: "Inference calls that failed, by the kind of failure.",
        unit: None,
        source: Source::Errors,
        labels: &[MODEL, VERSION, ROUTE, ("error_type", Dimension::ErrorType)],
    },
    Spec {
        name: "prediction_responses_total",
        help: "Inference calls by method and HTTP status; code 0 where no response was sent.",
        unit: None,
        source: Source::Responses,
        labels: &[MODEL, VERSION, ROUTE, ("method", Dimension::Method), ("code", Dimension::Code)],
    },
    Spec {
        name: "prediction_duration_seconds",
        help: "Time from the first byte of the request to the last byte of the response.",
        unit: Some(Unit::Seconds),
        source: Source::Distribution(Histogram::Duration),
        labels: BY_STATUS,
    },
    Spec {
        name: "prediction_backend_latency_seconds",
        help: "Time until the first byte of the app's response.",
        unit: Some(Unit::Seconds),
        source: Source::Distribution(Histogram::BackendLatency),
        labels: BY_STATUS,
    },
    Spec {
        name: "prediction_request_bytes",
        help: "Size of the request's body.",
        unit: Some(Unit::Bytes),
        source: Source::Distribution(Histogram::RequestBytes),
        labels: BY_STATUS,
    },
    Spec {
        name: "prediction_response_bytes",
        help: "Size of the response's body.",
        unit: Some(Unit::Bytes),
        source: Source::Distribution(Histogram::ResponseBytes),
        labels: BY_STATUS,
    },
    Spec {
        name: "prediction_requests_in_flight",
        help: "Requests that the app is working on.",
        unit: None,
        source: Source::InFlight,
        labels: &[],
    },
    Spec {
        name: "model_info",
        help: "The models that this pod serves or was asked for.",
        unit: None,
        source: Source::Models,
        labels: &[MODEL, VERSION, ("deployment", Dimension::Deployment), ("framework", Dimension::Framework)],
    },
];

const MODEL: (&str, Dimension) = ("model_name", Dimension::Model);
const VERSION: (&str, Dimension) = ("model_version", Dimension::Version);
const ROUTE: (&str, Dimension) = ("route", Dimension::Route);
const BY_STATUS: &[(&str, Dimension)] = &[MODEL, VERSION, ROUTE, ("status", Dimension::Status)];

/// The families of a reading; `constants` are labels of every sample.
pub fn families<'a>(
    reading: &'a Reading,
    identity: &'a Identity,
    constants: &'a [(String, String)],
) -> impl Iterator<Item = Family<'a>> {
    FAMILIES.iter().map(move |spec| Family {
        name: spec.name,
        help: spec.help,
        unit: spec.unit,
        points: Collector { spec, reading, identity, constants }.points(),
    })
}

struct Collector<'a> {
    spec: &'static Spec,
    reading: &'a Reading,
    identity: &'a Identity,
    constants: &'a [(String, String)],
}

impl<'a> Collector<'a> {
    fn points(&self) -> Points<'a> {
        match self.spec.source {
            Source::Requests => Points::Counter(self.requests()),
            Source::Errors => Points::Counter(self.errors()),
            Source::Responses => Points::Counter(self.responses()),
            Source::Distribution(histogram) => self.distributions(histogram),
            Source::InFlight => Points::Gauge(self.in_flight()),
            Source::Models => Points::Info(self.models()),
        }
    }

    /// Every status of a known series is there, at 0 if need be.
    fn requests(&self) -> Vec<Sample<'a, u64>> {
        let of = |(key, measured): &'a (Key, Measured)| {
            Status::ALL.map(|status| {
                let facts = Facts { status: status.as_str(), ..Facts::of(key) };
                self.sample(facts, measured.calls_with(status))
            })
        };
        self.reading.series.iter().flat_map(of).collect()
    }

    /// Every kind of failure of a known series is there, at 0 if need be.
    fn errors(&self) -> Vec<Sample<'a, u64>> {
        let of = |(key, measured): &'a (Key, Measured)| {
            Outcome::ALL.into_iter().filter_map(|outcome| {
                let facts = Facts { error_type: outcome.error_type()?, ..Facts::of(key) };
                Some(self.sample(facts, measured.calls(outcome)))
            })
        };
        self.reading.series.iter().flat_map(of).collect()
    }

    fn responses(&self) -> Vec<Sample<'a, u64>> {
        let of = |(key, measured): &'a (Key, Measured)| {
            measured.responses.iter().map(|Response { method, code, count }| {
                self.sample(Facts { method, code, ..Facts::of(key) }, *count)
            })
        };
        self.reading.series.iter().flat_map(of).collect()
    }

    /// A known series has the durations of its successes, at 0 if need be; everything else is there once used.
    fn distributions(&self, histogram: Histogram) -> Points<'a> {
        let bounds = self.reading.bounds.of(histogram);
        let unit = if histogram.is_time() { 1e9 } else { 1.0 };
        let none = Distribution::default();
        let mut samples = Vec::new();
        for (key, measured) in &self.reading.series {
            for status in Status::ALL {
                let expected = (histogram, status) == (Histogram::Duration, Status::Success);
                let used = measured.distribution(histogram, status);
                if let Some(distribution) = used.or_else(|| expected.then_some(&none)) {
                    let facts = Facts { status: status.as_str(), ..Facts::of(key) };
                    samples.push(self.sample(facts, buckets(distribution, bounds, unit)));
                }
            }
        }
        Points::Histogram { bounds: bounds.iter().map(|bound| as_float(*bound) / unit).collect(), samples }
    }

    fn in_flight(&self) -> Vec<Sample<'a, f64>> {
        let sample = |calls| self.sample(Facts::default(), as_float(calls));
        self.reading.in_flight.map(sample).into_iter().collect()
    }

    /// Keys are sorted by model first, so the routes of one model are neighbours.
    fn models(&self) -> Vec<Labels<'a>> {
        let mut keys: Vec<&Key> = self.reading.series.iter().map(|(key, _)| key).collect();
        keys.dedup_by_key(|key| (&key.model, &key.version));
        let facts = |key: &'a Key| Facts {
            deployment: self.identity.deployment(),
            framework: self.identity.framework(),
            ..Facts::of(key)
        };
        keys.into_iter().map(|key| self.labels(facts(key))).collect()
    }

    fn sample<V>(&self, facts: Facts<'a>, value: V) -> Sample<'a, V> {
        Sample { labels: self.labels(facts), value }
    }

    fn labels(&self, facts: Facts<'a>) -> Labels<'a> {
        let own = self.spec.labels.iter().map(|(name, dimension)| (*name, facts.get(*dimension)));
        own.chain(self.constants.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
    }
}

/// What is true of a sample; empty where nothing is.
#[derive(Clone, Copy, Default)]
struct Facts<'a> {
    model: &'a str,
    version: &'a str,
    route: &'a str,
    status: &'a str,
    error_type: &'a str,
    method: &'a str,
    code: &'a str,
    deployment: &'a str,
    framework: &'a str,
}

impl<'a> Facts<'a> {
    fn of(key: &'a Key) -> Self {
        let Key { model, version, route } = key;
        Self { model, version, route, ..Self::default() }
    }

    const fn get(&self, dimension: Dimension) -> &'a str {
        match dimension {
            Dimension::Model => self.model,
            Dimension::Version => self.version,
            Dimension::Route => self.route,
            Dimension::Status => self.status,
            Dimension::ErrorType => self.error_type,
            Dimension::Method => self.method,
            Dimension::Code => self.code,
            Dimension::Deployment => self.deployment,
            Dimension::Framework => self.framework,
        }
    }
}

/// A cell lies in every bucket whose bound it does not exceed. Cells of bounds that are no longer in force count
/// for the next bound above, so that no value is ever shown as smaller than it was.
fn buckets(distribution: &Distribution, bounds: &[u64], unit: f64) -> Buckets {
    let mut cumulative = vec![0_u64; bounds.len()];
    let mut count = 0_u64;
    for (cell, values) in &distribution.cells {
        count = count.saturating_add(*values);
        let first = cell.le.map_or(bounds.len(), |le| bounds.partition_point(|bound| *bound < le));
        for bucket in cumulative.iter_mut().skip(first) {
            *bucket = bucket.saturating_add(*values);
        }
    }
    Buckets { cumulative, count, sum: as_float(distribution.sum) / unit }
}

#[expect(clippy::cast_precision_loss, reason = "a sample is a float; 2^53 ns are 104 days")]
const fn as_float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use scoretap_core::histogram::{Cell, NativeBucket};

    use super::*;

    fn cell(le: Option<u64>, count: u64) -> (Cell, u64) {
        (Cell { le, native: None }, count)
    }

    #[track_caller]
    fn check(cells: &[(Cell, u64)], bounds: &[u64], cumulative: &[u64], count: u64) {
        let distribution = Distribution { cells: cells.to_vec(), sum: 3 };
        let expected = Buckets { cumulative: cumulative.to_vec(), count, sum: 1.5 };
        assert_eq!(buckets(&distribution, bounds, 2.0), expected);
    }

    #[test]
    fn buckets_are_cumulative() {
        check(&[], &[10, 20], &[0, 0], 0);
        check(&[cell(Some(20), 2), cell(None, 4), cell(Some(10), 1)], &[10, 20], &[1, 3], 7);
    }

    #[test]
    fn the_parts_of_a_cell_add_up() {
        let part = |native, count| (Cell { le: Some(10), native: Some(native) }, count);
        let parts =
            [part(NativeBucket::Zero, 1), part(NativeBucket::Index(-3), 2), part(NativeBucket::Index(4), 4)];
        check(&parts, &[10, 20], &[7, 7], 7);
    }

    #[test]
    fn values_of_former_bounds_never_look_smaller_than_they_were() {
        check(&[cell(Some(5), 1), cell(Some(15), 2), cell(Some(99), 4)], &[10, 20], &[1, 3], 7);
    }

    #[test]
    fn no_bounds_leave_the_count() {
        check(&[cell(Some(5), 1), cell(None, 2)], &[], &[], 3);
    }

    #[test]
    fn names_and_labels_are_what_prometheus_allows_and_no_family_occurs_twice() {
        let mut names: Vec<&str> = FAMILIES.iter().map(|spec| spec.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FAMILIES.len());
        for Spec { name, help, unit, source, labels } in FAMILIES {
            let counts = matches!(source, Source::Requests | Source::Errors | Source::Responses);
            assert_eq!(name.ends_with("_total"), counts, "{name}");
            assert_eq!(name.ends_with("_info"), matches!(source, Source::Models), "{name}");
            assert!(unit.is_none_or(|unit| name.ends_with(unit.as_str())), "{name}");
            assert!(help.ends_with('.'), "{name}");
            let mut labels: Vec<&str> = labels.iter().map(|(label, _)| *label).collect();
            assert!(
                labels
                    .iter()
                    .chain([name])
                    .all(|word| { word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') })
            );
            labels.sort_unstable();
            let count = labels.len();
            labels.dedup();
            assert_eq!(labels.len(), count, "{name}");
        }
    }
}
