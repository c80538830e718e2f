//! The table's rows, one for each model and version of a namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::exposition::{Labels, Series};

pub(crate) const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// Namespace, model, version.
pub(crate) type Key = (String, String, String);

/// A row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) calls_per_second: f64,
    /// Calls since the counters began: `success`, `cancelled` and each kind of failure.
    pub(crate) outcomes: BTreeMap<String, f64>,
    /// Seconds.
    pub(crate) quantiles: [Option<f64>; 3],
    pub(crate) bodies: Bodies,
}

/// Numbers that only pods with insight have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bodies {
    pub(crate) rows_per_second: Option<f64>,
    /// Successful responses whose body reports an error, since the counters began.
    pub(crate) errors: Option<f64>,
    /// Output tokens that the server reported.
    pub(crate) tokens_per_second: Option<f64>,
    /// The median of the time to the first token, in seconds.
    pub(crate) first_token: Option<f64>,
}

/// All rows.
pub(crate) type Rows = BTreeMap<Key, Row>;

/// The key of a row, from its labels.
pub(crate) fn key(namespace: Option<&str>, labels: &Labels) -> Key {
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let namespace = namespace.map_or_else(|| label("namespace"), str::to_owned);
    (namespace, label("model_name"), label("model_version"))
}

/// `-o json`
pub(crate) fn to_json(rows: &Rows) -> Value {
    let row = |((namespace, model, version), row): (&Key, &Row)| {
        let [p50, p95, p99] = row.quantiles;
        let Bodies { rows_per_second, errors, tokens_per_second, first_token } = &row.bodies;
        json!({
            "namespace": namespace,
            "model": model,
            "version": version,
            "callsPerSecond": row.calls_per_second,
            "outcomes": row.outcomes,
            "seconds": {"p50": p50, "p95": p95, "p99": p99},
            "rowsPerSecond": rows_per_second,
            "errorsInAnswers": errors,
            "outputTokensPerSecond": tokens_per_second,
            "secondsToFirstToken": first_token,
        })
    };
    rows.iter().map(row).collect()
}

/// The series of one pod at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scrape {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) series: Vec<Series>,
}

/// Rows from two scrapes of the same pods. Quantiles cover the calls between the scrapes, or all calls so far if there
/// were none between.
pub(crate) fn between(first: &[Scrape], last: &[Scrape], time: Duration) -> Rows {
    let before = Before::of(first);
    let mut rows = Rows::new();
    let mut buckets: BTreeMap<Key, [Buckets; 2]> = BTreeMap::new();
    let mut first_tokens: BTreeMap<Key, [Buckets; 2]> = BTreeMap::new();
    let seconds = time.as_secs_f64().max(0.001);
    for scrape in last {
        for series in &scrape.series {
            let key = key(Some(&scrape.namespace), &series.labels);
            let since = before.since(scrape, series);
            match series.name.as_str() {
                "prediction_requests_total" => {
                    let row = rows.entry(key).or_default();
                    row.calls_per_second += since / seconds;
                    add(row, series.labels.get("status").filter(|status| *status != "failure"), series.value);
                }
                "prediction_errors_total" => {
                    add(rows.entry(key).or_default(), series.labels.get("error_type"), series.value);
                }
                "prediction_duration_seconds_bucket" => {
                    add_bucket(buckets.entry(key).or_default(), series, since);
                }
                "prediction_time_to_first_token_seconds_bucket" => {
                    add_bucket(first_tokens.entry(key).or_default(), series, since);
                }
                "prediction_rows_sum" => {
                    *rows.entry(key).or_default().bodies.rows_per_second.get_or_insert_default() +=
                        since / seconds;
                }
                "prediction_error_bodies_total" => {
                    *rows.entry(key).or_default().bodies.errors.get_or_insert_default() += series.value;
                }
                "prediction_tokens_total"
                    if series.labels.get("token_type").is_some_and(|kind| kind == "output") =>
                {
                    *rows.entry(key).or_default().bodies.tokens_per_second.get_or_insert_default() +=
                        since / seconds;
                }
                _ => {}
            }
        }
    }
    for (key, buckets) in &buckets {
        let buckets = latest(buckets);
        rows.entry(key.clone()).or_default().quantiles = QUANTILES.map(|quantile| buckets.quantile(quantile));
    }
    for (key, buckets) in &first_tokens {
        rows.entry(key.clone()).or_default().bodies.first_token = latest(buckets).quantile(0.5);
    }
    rows
}

fn add_bucket([recent, all]: &mut [Buckets; 2], series: &Series, since: f64) {
    let le = series.labels.get("le").and_then(|le| le.parse().ok()).unwrap_or(f64::INFINITY);
    recent.add(le, since);
    all.add(le, series.value);
}

/// The calls between the scrapes, or all calls if there were none.
fn latest([recent, all]: &[Buckets; 2]) -> &Buckets {
    if recent.total() > 0.0 { recent } else { all }
}

fn add(row: &mut Row, outcome: Option<&String>, calls: f64) {
    if let Some(outcome) = outcome {
        *row.outcomes.entry(outcome.clone()).or_default() += calls;
    }
}

/// Counters of an earlier scrape.
struct Before<'a> {
    values: BTreeMap<(&'a str, &'a str, &'a str, &'a Labels), f64>,
    pods: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Before<'a> {
    fn of(scrapes: &'a [Scrape]) -> Self {
        let values = scrapes.iter().flat_map(|scrape| {
            let series = scrape.series.iter();
            series.map(|series| {
                let key =
                    (scrape.namespace.as_str(), scrape.pod.as_str(), series.name.as_str(), &series.labels);
                (key, series.value)
            })
        });
        let pods = scrapes.iter().map(|scrape| (scrape.namespace.as_str(), scrape.pod.as_str()));
        Self { values: values.collect(), pods: pods.collect() }
    }

    /// The increase of a counter. A counter that shrank restarted at zero. Without an earlier scrape, a pod has no
    /// increase.
    fn since(&self, scrape: &Scrape, series: &Series) -> f64 {
        if !self.pods.contains(&(scrape.namespace.as_str(), scrape.pod.as_str())) {
            return 0.0;
        }
        let key = (scrape.namespace.as_str(), scrape.pod.as_str(), series.name.as_str(), &series.labels);
        let before = self.values.get(&key).copied().unwrap_or_default();
        if series.value < before { series.value } else { series.value - before }
    }
}

/// A classic histogram: upper bounds and the number of calls up to each.
#[derive(Clone, Debug, Default)]
struct Buckets(BTreeMap<u64, (f64, f64)>);

impl Buckets {
    fn add(&mut self, bound: f64, calls: f64) {
        // Positive floats sort like their bits.
        self.0.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += calls;
    }

    fn total(&self) -> f64 {
        self.0.values().last().map_or(0.0, |(_, calls)| *calls)
    }

    /// Computes PromQL's `histogram_quantile`. `None` if nothing was counted.
    fn quantile(&self, quantile: f64) -> Option<f64> {
        let total = self.total();
        if total <= 0.0 {
            return None;
        }
        let rank = quantile * total;
        let (mut lower, mut before) = (0.0, 0.0);
        for (upper, calls) in self.0.values().copied() {
            if calls >= rank {
                let is_open = upper.is_infinite();
                let share = if calls > before { (rank - before) / (calls - before) } else { 0.0 };
                return Some(if is_open { lower } else { lower + (upper - lower) * share });
            }
            (lower, before) = (upper, calls);
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::exposition::parse;

    fn scrape(pod: &str, text: &str) -> Scrape {
        Scrape { namespace: "tenant-a".to_owned(), pod: pod.to_owned(), series: parse(text) }
    }

    fn exposition(success: u32, failed: u32, short: u32, all: u32) -> String {
        format!(
            "prediction_requests_total{{model_name=\"m\",model_version=\"1\",route=\"score\",status=\"success\"}} {success}\n\
             prediction_requests_total{{model_name=\"m\",model_version=\"1\",route=\"score\",status=\"failure\"}} {failed}\n\
             prediction_errors_total{{model_name=\"m\",model_version=\"1\",route=\"score\",error_type=\"timeout\"}} {failed}\n\
             prediction_duration_seconds_bucket{{model_name=\"m\",model_version=\"1\",status=\"success\",le=\"0.1\"}} {short}\n\
             prediction_duration_seconds_bucket{{model_name=\"m\",model_version=\"1\",status=\"success\",le=\"+Inf\"}} {all}\n"
        )
    }

    fn only(rows: &Rows) -> &Row {
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.values().next().unwrap()
    }

    #[test]
    fn rate_and_quantiles_cover_time_between_scrapes() {
        let first = [scrape("a", &exposition(10, 2, 0, 12))];
        let last = [scrape("a", &exposition(28, 4, 20, 32))];
        let rows = between(&first, &last, Duration::from_secs(5));
        let row = only(&rows);
        assert!((row.calls_per_second - 4.0).abs() < 1e-9, "{row:?}");
        assert_eq!(row.outcomes, BTreeMap::from([("success".to_owned(), 28.0), ("timeout".to_owned(), 4.0)]));
        assert!((row.quantiles[0].unwrap() - 0.05).abs() < 1e-9, "{row:?}");
    }

    #[test]
    fn bodies_add_rows_tokens_and_first_token() {
        let text = |rows: u32, errors: u32, tokens: u32, fast: u32| {
            format!(
                "prediction_rows_sum{{model_name=\"m\",model_version=\"1\"}} {rows}\n\
                 prediction_error_bodies_total{{model_name=\"m\",model_version=\"1\"}} {errors}\n\
                 prediction_tokens_total{{model_name=\"m\",model_version=\"1\",token_type=\"input\"}} 900\n\
                 prediction_tokens_total{{model_name=\"m\",model_version=\"1\",token_type=\"output\"}} {tokens}\n\
                 prediction_time_to_first_token_seconds_bucket{{model_name=\"m\",model_version=\"1\",le=\"0.2\"}} {fast}\n\
                 prediction_time_to_first_token_seconds_bucket{{model_name=\"m\",model_version=\"1\",le=\"+Inf\"}} {fast}\n"
            )
        };
        let (first, last) = ([scrape("a", &text(10, 1, 20, 2))], [scrape("a", &text(40, 3, 100, 8))]);
        let rows = between(&first, &last, Duration::from_secs(10));
        let expected = Bodies {
            rows_per_second: Some(3.0),
            errors: Some(3.0),
            tokens_per_second: Some(8.0),
            first_token: Some(0.1),
        };
        assert_eq!(only(&rows).bodies, expected);
        let without = between(&[], &[scrape("a", &exposition(5, 0, 5, 5))], Duration::from_secs(10));
        assert_eq!(only(&without).bodies, Bodies::default());
    }

    #[test]
    fn restarted_pod_counts_from_zero() {
        let first = [scrape("a", &exposition(100, 0, 100, 100))];
        let last = [scrape("a", &exposition(5, 0, 5, 5))];
        let row = only(&between(&first, &last, Duration::from_secs(5))).clone();
        assert!((row.calls_per_second - 1.0).abs() < 1e-9, "{row:?}");
    }

    #[test]
    fn new_pod_adds_calls_and_no_rate() {
        let last = [scrape("a", &exposition(5, 0, 5, 5))];
        let row = only(&between(&[], &last, Duration::from_secs(5))).clone();
        assert!(row.calls_per_second.abs() < 1e-9, "{row:?}");
        assert!((row.outcomes["success"] - 5.0).abs() < 1e-9);
        assert!(row.quantiles[2].is_some(), "quantiles of all calls where none is recent");
    }

    #[test]
    fn quantiles_are_those_of_histogram_quantile() {
        let mut buckets = Buckets::default();
        for (bound, calls) in [(0.1, 0.0), (0.5, 50.0), (1.0, 90.0), (f64::INFINITY, 100.0)] {
            buckets.add(bound, calls);
        }
        for (quantile, expected) in [(0.25, 0.3), (0.5, 0.5), (0.7, 0.75), (0.99, 1.0)] {
            let found = buckets.quantile(quantile).unwrap();
            assert!((found - expected).abs() < 1e-9, "{quantile}: {found}, expected {expected}");
        }
        assert_eq!(Buckets::default().quantile(0.5), None);
    }
}
