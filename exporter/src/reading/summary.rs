//! The numbers that people look at first: for each route and model how many calls, which errors, how long.

use std::collections::BTreeMap;

use scoretap_core::histogram::Histogram;
use scoretap_core::outcome::{Outcome, Status};

use crate::as_float;
use scoretap_dialect::bodies::{BodyCount, BodyHistogram};

use crate::reading::bodies::{Bodies, FixedCells};
use crate::reading::measured::{Key, Measured, Reading, bucket_index};

/// One route of one model.
#[derive(Debug, PartialEq)]
pub struct Row<'a> {
    /// The route's name.
    pub route: &'a str,
    /// The model's name.
    pub model: &'a str,
    /// The model's version.
    pub version: &'a str,
    /// Calls that ended.
    pub requests: u64,
    /// The same by outcome, in the order of `Outcome::ALL`, without those that never occurred.
    pub outcomes: Vec<(Outcome, u64)>,
    /// The calls in each bucket, by its upper bound in nanoseconds. The last bucket has no bound.
    pub cells: Vec<(Option<u64>, u64)>,
    /// How long they took.
    pub quantiles: Quantiles,
    /// The content of their bodies, if insight reads them.
    pub answers: Option<Answers>,
}

/// The numbers of bodies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Predictions, unless an LLM answers.
    pub rows: Option<u64>,
    /// Successful responses whose body reports an error.
    pub errors: u64,
    /// The numbers of an LLM.
    pub generations: Option<Generations>,
}

/// The numbers of an LLM.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generations {
    /// Input tokens that the server reported.
    pub input: u64,
    /// Output tokens that the server reported.
    pub output: u64,
    /// Answers without a usage, whose tokens are unknown.
    pub without_usage: u64,
    /// The time to the first token.
    pub first_token: Quantiles,
}

/// Times that half, 95 % and 99 % of all calls did not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// The median.
    pub p50: Quantile,
    /// 95 %.
    pub p95: Quantile,
    /// 99 %.
    pub p99: Quantile,
}

/// A time in seconds, as exact as the buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Quantile {
    /// There were no calls.
    #[default]
    None,
    /// About this value.
    About(f64),
    /// More than the highest bound.
    Above(f64),
}

/// The `most` busiest rows, and how many there are in all.
pub fn rows(reading: &Reading, most: usize) -> (Vec<Row<'_>>, usize) {
    let mut groups: BTreeMap<(&str, &str, &str), Vec<&Measured>> = BTreeMap::new();
    for (Key { model, version, route, method: _, template: _ }, measured) in &reading.series {
        groups.entry((route, model, version)).or_default().push(measured);
    }
    let all = groups.len();
    let mut rows: Vec<Row<'_>> =
        groups.into_iter().map(|(key, measured)| row(reading, key, &measured)).collect();
    // Stable: rows of equal counts stay in the order of their names.
    rows.sort_by_key(|row| std::cmp::Reverse(row.requests));
    rows.truncate(most);
    (rows, all)
}

fn row<'a>(
    reading: &Reading,
    (route, model, version): (&'a str, &'a str, &'a str),
    measured: &[&Measured],
) -> Row<'a> {
    let calls = || measured.iter().flat_map(|measured| &measured.calls);
    let total = |outcome: Option<Outcome>| {
        let counted = calls().filter(|calls| outcome.is_none_or(|outcome| calls.outcome == outcome));
        counted.fold(0_u64, |sum, calls| sum.saturating_add(calls.count))
    };
    let outcomes = Outcome::ALL.map(|outcome| (outcome, total(Some(outcome))));
    let bounds = reading.bounds.of(Histogram::Duration);
    let counts = cells(bounds, measured);
    let quantiles = quantiles(bounds, &counts);
    let upper = bounds.iter().copied().map(Some).chain([None]);
    Row {
        route,
        model,
        version,
        requests: total(None),
        outcomes: outcomes.into_iter().filter(|(_, count)| *count > 0).collect(),
        cells: upper.zip(counts).collect(),
        quantiles,
        answers: answers(measured),
    }
}

fn answers(measured: &[&Measured]) -> Option<Answers> {
    let bodies = || measured.iter().map(|measured| &measured.bodies).filter(|bodies| !bodies.is_empty());
    bodies().next()?;
    let total = |count: &dyn Fn(&Bodies) -> u64| bodies().map(count).fold(0, u64::saturating_add);
    let rows = |bodies: &Bodies| bodies.histogram(BodyHistogram::Rows, "").map_or(0, |rows| rows.sum);
    let mut first_token = FixedCells::default();
    bodies()
        .filter_map(|bodies| bodies.histogram(BodyHistogram::FirstToken, ""))
        .for_each(|cells| first_token.merge(cells));
    let generations = || Generations {
        input: total(&|bodies| bodies.count(BodyCount::Tokens, "input")),
        output: total(&|bodies| bodies.count(BodyCount::Tokens, "output")),
        without_usage: total(&|bodies| bodies.count(BodyCount::Usage, "absent")),
        first_token: quantiles(BodyHistogram::FirstToken.time_bounds(), &first_token.cells),
    };
    Some(Answers {
        rows: bodies().any(Bodies::has_predictions).then(|| total(&rows)),
        errors: total(&|bodies| bodies.total(BodyCount::ErrorBodies)),
        generations: bodies().any(Bodies::has_generations).then(generations),
    })
}

fn quantiles(bounds: &[u64], cells: &[u64]) -> Quantiles {
    let of = |share| quantile(bounds, cells, share);
    Quantiles { p50: of(0.5), p95: of(0.95), p99: of(0.99) }
}

fn cells(bounds: &[u64], measured: &[&Measured]) -> Vec<u64> {
    let mut cells = vec![0_u64; bounds.len() + 1];
    for status in Status::ALL {
        let distributions = measured.iter().flat_map(|one| one.distributions(Histogram::Duration, status));
        for (cell, count) in distributions.flat_map(|(_, distribution)| &distribution.cells) {
            let bucket = bucket_index(bounds, *cell);
            if let Some(sum) = cells.get_mut(bucket) {
                *sum = sum.saturating_add(*count);
            }
        }
    }
    cells
}

/// Estimates as Prometheus' `histogram_quantile` does: values lie evenly between the bounds of their bucket.
fn quantile(bounds: &[u64], cells: &[u64], share: f64) -> Quantile {
    let total = cells.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    if total == 0 {
        return Quantile::None;
    }
    let rank = share * as_float(total);
    let mut below = 0.0;
    let mut lower = 0.0;
    for (bound, count) in bounds.iter().zip(cells) {
        let (upper, count) = (as_float(*bound) / 1e9, as_float(*count));
        if count > 0.0 && below + count >= rank {
            return Quantile::About(lower + (upper - lower) * (rank - below) / count);
        }
        below += count;
        lower = upper;
    }
    Quantile::Above(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cells: &[u64], share: f64, expected: Quantile) {
        let bounds = [100_000_000, 200_000_000];
        match (quantile(&bounds, cells, share), expected) {
            (Quantile::About(found), Quantile::About(expected)) => {
                assert!((found - expected).abs() < 1e-9, "{found}");
            }
            (found, expected) => assert_eq!(found, expected),
        }
    }

    #[test]
    fn values_lie_evenly_in_their_bucket() {
        check(&[0, 0, 0], 0.5, Quantile::None);
        check(&[10, 0, 0], 0.5, Quantile::About(0.05));
        check(&[50, 50, 0], 0.5, Quantile::About(0.1));
        check(&[50, 50, 0], 0.95, Quantile::About(0.19));
        check(&[0, 0, 3], 0.5, Quantile::Above(0.2));
        check(&[9, 0, 1], 0.99, Quantile::Above(0.2));
    }
}
