//! From scrapes to a table: rates and quantiles over the last seconds, errors since the start.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::time::{Duration, Instant};

use scoretap_tests::exposition::{Exposition, Labels};

/// Rates and quantiles are those of this time.
const WINDOW: Duration = Duration::from_secs(10);

const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// From this share of repeated answers on, a row has the remark [`SILENT`].
const SAME_FOR_EVERYBODY: f64 = 0.9;
/// With fewer answers, no share is shown.
const FEWEST_ANSWERS: f64 = 10.0;

/// The remark beside a model that fails without an error.
pub(super) const SILENT: &str = "  <- the same answer for everybody";

/// The scrapes of the last [`WINDOW`].
#[derive(Default)]
pub(super) struct History {
    scrapes: VecDeque<(Instant, Exposition)>,
}

impl History {
    /// Adds a scrape and forgets what is too old.
    pub(super) fn add(&mut self, now: Instant, scrape: Exposition) {
        while self.scrapes.front().is_some_and(|(then, _)| now.duration_since(*then) > WINDOW) {
            self.scrapes.pop_front();
        }
        self.scrapes.push_back((now, scrape));
    }

    /// The table as of the last scrape.
    pub(super) fn table(&self, table: Table) -> String {
        match (self.scrapes.front(), self.scrapes.back()) {
            (Some((from, first)), Some((to, last))) => table(first, last, to.duration_since(*from)),
            _ => String::new(),
        }
    }
}

type Row = (String, String);

/// Makes a table of the first and the last scrape and the time between them.
pub(super) type Table = fn(&Exposition, &Exposition, Duration) -> String;

/// The table of the scorer.
pub(super) fn of_scorer(first: &Exposition, last: &Exposition, time: Duration) -> String {
    let rows: BTreeSet<Row> =
        last.select("prediction_requests_total", &[]).map(|(labels, _)| row_of(labels)).collect();
    let errors = error_types(last);
    let mut text = format!("{:<12}{:<12}{:>8}{:>9}", "route", "model", "calls/s", "success");
    errors.iter().for_each(|error| push(&mut text, &format!("{error:>width$}", width = width(error))));
    push(&mut text, &format!("{:>8}{:>8}{:>8}{:>10}\n", "p50", "p95", "p99", "repeated"));
    for (route, model) in &rows {
        push(&mut text, &line(first, last, time, (route, model), &errors));
    }
    push(&mut text, &format!("\n{}", totals(last)));
    text
}

fn line(
    first: &Exposition,
    last: &Exposition,
    time: Duration,
    row: (&str, &str),
    errors: &[String],
) -> String {
    let labels = [("route", row.0), ("model_name", row.1)];
    let calls = |scrape: &Exposition| scrape.sum("prediction_requests_total", &labels);
    let rate = (calls(last) - calls(first)) / time.as_secs_f64().max(1.0);
    let success = last.sum("prediction_requests_total", &[labels[0], labels[1], ("status", "success")]);
    let mut text = format!("{:<12}{:<12}{rate:>8.1}{success:>9}", row.0, row.1);
    for error in errors {
        push(&mut text, &format!("{:>width$}", count(last, labels, error), width = width(error)));
    }
    let buckets = buckets("prediction_duration_seconds_bucket", first, last, &labels);
    for quantile in QUANTILES {
        push(&mut text, &format!("{:>8}", milliseconds(quantile_of(&buckets, quantile))));
    }
    push(&mut text, &repeated(first, last, &labels));
    text + "\n"
}

/// The share of the window's answers whose predictions equal those of the answer before.
fn repeated(first: &Exposition, last: &Exposition, labels: &[(&str, &str)]) -> String {
    let grown = |name| last.sum(name, labels) - first.sum(name, labels);
    let answers = grown("prediction_rows_count");
    if answers < FEWEST_ANSWERS {
        return format!("{:>10}", "-");
    }
    let share = grown("prediction_repeats_total") / answers;
    let remark = if share >= SAME_FOR_EVERYBODY { SILENT } else { "" };
    format!("{:>8.0} %{remark}", share * 100.0)
}

/// A caller who left is no error of the model, but belongs beside them.
fn count(scrape: &Exposition, labels: [(&str, &str); 2], error: &str) -> f64 {
    let [route, model] = labels;
    match error {
        "cancelled" => scrape.sum("prediction_requests_total", &[route, model, ("status", "cancelled")]),
        error => scrape.sum("prediction_errors_total", &[route, model, ("error_type", error)]),
    }
}

/// The outcomes that have occurred.
fn error_types(scrape: &Exposition) -> Vec<String> {
    let happened = scrape.select("prediction_errors_total", &[]).filter(|(_, value)| *value > 0.0);
    let types: BTreeSet<String> =
        happened.filter_map(|(labels, _)| labels.get("error_type").cloned()).collect();
    types.into_iter().chain(["cancelled".to_owned()]).collect()
}

pub(super) fn totals(scrape: &Exposition) -> String {
    let one = |name| scrape.sum(name, &[]);
    format!(
        "seen by the filter {}, finished in Envoy {}, in flight {}\n",
        one("scoretap_calls_seen_total"),
        one("scoretap_envoy_requests_total"),
        one("prediction_requests_in_flight"),
    )
}

/// Upper bounds and how many values of the window were at most as large, over all other labels.
pub(super) fn buckets(
    name: &str,
    first: &Exposition,
    last: &Exposition,
    labels: &[(&str, &str)],
) -> Vec<(f64, f64)> {
    let mut buckets: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for (scrape, sign) in [(last, 1.0), (first, -1.0)] {
        for (labels, value) in scrape.select(name, labels) {
            let bound = labels.get("le").and_then(|le| le.parse().ok()).unwrap_or(f64::INFINITY);
            // The bits of positive floats are in their order.
            buckets.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += sign * value;
        }
    }
    buckets.into_values().collect()
}

/// As PromQL's `histogram_quantile` does it. `None` where nothing was counted.
pub(super) fn quantile_of(buckets: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let total = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    let rank = quantile * total;
    let index = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (lower, before) = if index == 0 { (0.0, 0.0) } else { buckets[index - 1] };
    let (upper, count) = buckets[index];
    if upper.is_infinite() {
        return Some(lower);
    }
    Some(lower + (upper - lower) * (rank - before) / (count - before))
}

pub(super) fn milliseconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.0} ms", seconds * 1000.0))
}

fn row_of(labels: &Labels) -> Row {
    let label = |name| labels.get(name).cloned().unwrap_or_default();
    (label("route"), label("model_name"))
}

fn width(error: &str) -> usize {
    error.len() + 2
}

/// Writing to a string cannot fail.
pub(super) fn push(text: &mut String, more: &str) {
    let _ = text.write_str(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_histogram_quantile() {
        let buckets = [(0.1, 0.0), (0.5, 50.0), (1.0, 90.0), (f64::INFINITY, 100.0)];
        for (quantile, expected) in [(0.25, 0.3), (0.5, 0.5), (0.7, 0.75), (0.99, 1.0)] {
            let found = quantile_of(&buckets, quantile).unwrap();
            assert!((found - expected).abs() < 1e-9, "{quantile}: {found} in place of {expected}");
        }
        assert_eq!(quantile_of(&[(1.0, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
    }

    #[test]
    fn row_shows_window_rates_and_total_errors() {
        let scrape = |calls: u32, long: u32, repeats: u32| {
            let text = format!(
                "prediction_requests_total{{model_name=\"m\",route=\"score\",status=\"success\"}} {calls}\n\
                 prediction_rows_count{{model_name=\"m\",route=\"score\"}} {calls}\n\
                 prediction_repeats_total{{model_name=\"m\",route=\"score\"}} {repeats}\n\
                 prediction_requests_total{{model_name=\"m\",route=\"score\",status=\"cancelled\"}} 2\n\
                 prediction_errors_total{{model_name=\"m\",route=\"score\",error_type=\"timeout\"}} 3\n\
                 prediction_errors_total{{model_name=\"m\",route=\"score\",error_type=\"truncated\"}} 0\n\
                 prediction_duration_seconds_bucket{{model_name=\"m\",route=\"score\",status=\"success\",le=\"0.1\"}} 5\n\
                 prediction_duration_seconds_bucket{{model_name=\"m\",route=\"score\",status=\"success\",le=\"0.2\"}} {long}\n\
                 prediction_duration_seconds_bucket{{model_name=\"m\",route=\"score\",status=\"success\",le=\"+Inf\"}} {long}\n\
                 scoretap_calls_seen_total{{result=\"matched\"}} 70\nscoretap_envoy_requests_total 70\n"
            );
            Exposition::parse(&text).unwrap()
        };
        let start = Instant::now();
        for (repeats, share) in [(12, "20 %"), (52, "100 %  <- the same answer for everybody")] {
            let mut history = History::default();
            history.add(start, scrape(10, 5, 2));
            history.add(start + Duration::from_secs(5), scrape(60, 15, repeats));
            let (left, right) = share.split_once(' ').unwrap();
            let expected = format!(
                "\
route       model        calls/s  success  timeout  cancelled     p50     p95     p99  repeated
score       m               10.0       60        3          2  150 ms  195 ms  199 ms{left:>8} {right}

seen by the filter 70, finished in Envoy 70, in flight 0
"
            );
            assert_eq!(history.table(of_scorer), expected);
        }
    }
}
