//! Native histograms: from cells as the filter makes them to quantiles as Prometheus computes them.

use std::collections::BTreeMap;
use std::fs;

use scoretap_core::histogram::Histogram;
use scoretap_core::histogram::{Cell, DEFAULT_TIME_BOUNDS, NativeBucket, cell_index};
use scoretap_core::name::{ENVOY_PREFIX, Endpoint, Model, Series, Stat};
use scoretap_core::outcome::{Outcome, Status};
use scoretap_tests::http::Call;
use scoretap_tests::http::Endpoint as Address;
use scoretap_tests::stack::Stack;
use scoretap_tests::workspace;

use crate::support::{Made, Prometheus};

const NATIVE: &str = "--enable-feature=native-histograms";
const COUNT: usize = 10_000;

/// Nanoseconds, from some microseconds to many seconds, sorted: 10,000 values whose logarithms are spread like a bell.
fn durations() -> Vec<u64> {
    let mut state = 7_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let bell = |uniform: &mut dyn FnMut() -> f64| (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
    let mut durations: Vec<u64> =
        (0..COUNT).map(|_| (5e7 * (1.3 * bell(&mut uniform)).exp()) as u64).collect();
    durations.sort_unstable();
    durations
}

/// The statistics of a filter that has measured them.
fn stats(durations: &[u64]) -> String {
    let series = Series { route: "score".into(), model: Model::Named { model: None, version: None } };
    let endpoint = Endpoint { method: "POST".into(), template: "/score".into() };
    let mut cells: BTreeMap<Cell, u64> = BTreeMap::new();
    for duration in durations {
        let le = DEFAULT_TIME_BOUNDS.get(cell_index(&DEFAULT_TIME_BOUNDS, *duration)).copied();
        let cell = Cell { le, native: Some(NativeBucket::of_nanoseconds(*duration)) };
        *cells.entry(cell).or_default() += 1;
    }
    let (histogram, ended) = (Histogram::Duration, Status::Success.into());
    let mut lines: Vec<(Stat<'_>, u64)> = cells
        .into_iter()
        .map(|(cell, count)| {
            (Stat::Cell { series: series.clone(), endpoint: endpoint.clone(), histogram, ended, cell }, count)
        })
        .collect();
    let sum = durations.iter().sum();
    lines.push((Stat::Sum { series: series.clone(), endpoint: endpoint.clone(), histogram, ended }, sum));
    let count = durations.len() as u64;
    lines.push((Stat::Call { series, endpoint, code: 200, outcome: Outcome::Success }, count));
    let line = |(stat, value): (Stat<'_>, u64)| {
        let mut name = ENVOY_PREFIX.to_owned();
        stat.encode(&mut name);
        format!("{name}: {value}\n")
    };
    lines.into_iter().map(line).collect()
}

#[test]
fn native_quantiles_are_within_schema_error() {
    let durations = durations();
    let made = Made::start("exporter-native", stats(&durations), &[]);
    let prometheus = Prometheus::start("exporter-native-prometheus", &[("native", made.exporter)], &[NATIVE]);
    prometheus.wait_for("histogram_count(prediction_duration_seconds{status=\"success\"})", COUNT as f64);
    // Eight buckets for each doubling: two values in one bucket are at most this far apart.
    let error = 2_f64.powf(1.0 / 8.0) - 1.0;
    for share in [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999] {
        let truth = durations[(share * COUNT as f64).ceil() as usize - 1] as f64 / 1e9;
        let expression =
            format!("histogram_quantile({share}, prediction_duration_seconds{{status=\"success\"}})");
        prometheus.check_within(&expression, truth, error);
    }
    let sum: u64 = durations.iter().sum();
    let truth = sum as f64 / 1e9;
    prometheus.check_within("histogram_sum(prediction_duration_seconds{status=\"success\"})", truth, 1e-9);
}

#[test]
fn classic_buckets_of_the_same_cells_are_exact() {
    let durations = durations();
    let made = Made::start("exporter-native-classic", stats(&durations), &[]);
    // Without the feature the same Prometheus takes the classic buckets.
    let prometheus = Prometheus::start("exporter-classic-prometheus", &[("classic", made.exporter)], &[]);
    prometheus.wait_for("prediction_duration_seconds_count", COUNT as f64);
    for bound in DEFAULT_TIME_BOUNDS {
        let truth = durations.iter().filter(|duration| **duration <= bound).count() as f64;
        let seconds = format!("{:?}", bound as f64 / 1e9);
        prometheus.check(&format!("prediction_duration_seconds_bucket{{le=\"{seconds}\"}}"), truth);
    }
}

/// The rows of a table in docs/monitoring.md: a query of classic buckets and one of native histograms.
fn documented_pairs() -> Vec<(String, String)> {
    let text = fs::read_to_string(workspace::root().join("docs/monitoring.md")).unwrap();
    let (_, rest) = text.split_once("\n| | classic | native |\n|---|---|---|\n").unwrap();
    let rows = rest.lines().take_while(|line| line.starts_with('|'));
    let query = |code: &str| code.replace("[5m]", "").replace("rate(", "(");
    rows.map(|row| {
        let mut codes = row.split('`').skip(1).step_by(2).map(query);
        (codes.next().unwrap(), codes.next().unwrap())
    })
    .collect()
}

/// Both read the same data, once: without the rates, which need two scrapes.
#[test]
fn documented_native_queries_equal_classic_ones() {
    let made = Made::start("exporter-native-documented", stats(&durations()), &[]);
    let start = |name: &str, flags: &[&str]| Prometheus::start(name, &[("made", made.exporter)], flags);
    let (native, classic) =
        (start("exporter-documented-native", &[NATIVE]), start("exporter-documented", &[]));
    native.wait_for("histogram_count(prediction_duration_seconds{status=\"success\"})", COUNT as f64);
    classic.wait_for("prediction_duration_seconds_count", COUNT as f64);
    // Quantiles of classic buckets are inexact.
    let errors = [0.3, 0.01, 1e-9, 1e-9];
    let pairs = documented_pairs();
    assert_eq!(pairs.len(), errors.len());
    for ((of_classic, of_native), error) in pairs.iter().zip(errors) {
        native.check_within(of_native, classic.value(of_classic).unwrap(), error);
    }
}

#[test]
fn filter_measures_native_histograms_when_configured() {
    let config = r#"{"latency_resolution": "native"}"#;
    let stack = Stack::builder("exporter-native-filter").filter_config(config).start().unwrap();
    let body = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;
    for _ in 0..50 {
        assert_eq!(stack.call(Call::post("/score", body)).unwrap().status, 200);
    }
    stack.settle();
    let Address::Tcp(exporter) = stack.exporter else { panic!("the exporter is on TCP") };
    let prometheus = Prometheus::start("exporter-native-real", &[("native", exporter)], &[NATIVE]);
    let selector = "prediction_duration_seconds{status=\"success\"}";
    prometheus.wait_for(&format!("histogram_count({selector})"), 50.0);
    let metrics = stack.metrics();
    let labels = [("status", "success")];
    assert_eq!(metrics.sum("prediction_duration_seconds_count", &labels), 50.0);
    let sum = metrics.sum("prediction_duration_seconds_sum", &labels);
    prometheus.check_within(&format!("histogram_sum({selector})"), sum, 1e-9);
    let slowest = prometheus.value(&format!("histogram_quantile(1, {selector})")).unwrap();
    assert!(slowest > sum / 50.0 && slowest < 2.0 * sum, "{slowest}, all together {sum}");
}
