//! Sizes, which do not depend on the load of the machine.

use std::fs;

use scoretap_core::config::Insight;
use scoretap_core::outcome::{Outcome, Status};
use scoretap_scan::cells::VALUE_BOUNDS;
use scoretap_scan::record::{Kind, Scanned};
use scoretap_tests::stack::Folders;
use scoretap_tests::{rendered, workspace};
use serde_json::Value;

use crate::support::Made;

/// One call of each of so many models, as the filter counts them.
fn stats(models: usize) -> String {
    let line = |number: usize| {
        let series = format!("kserve-v1.model-{number:05}.~.POST./v1/models/{{model}}%3Apredict");
        let prefix = "wasmcustom.scoretap";
        format!(
            "{prefix}.call.{series}.200.success: 1\n{prefix}.cell.{series}.duration.success.5000000: 1\n\
             {prefix}.sum.{series}.duration.success: 3123456\n"
        )
    };
    (0..models).map(line).collect()
}

#[test]
fn the_binary_has_at_most_6_mb() {
    let size = fs::metadata(workspace::exporter()).unwrap().len();
    assert!(size <= 6_000_000, "{size} bytes");
}

#[test]
fn memory_stays_in_its_limits() {
    for (models, most) in [(1000, 25.0), (5000, 50.0)] {
        let made = Made::start(&format!("exporter-memory-{models}"), stats(models), &[]);
        assert!(made.most_memory() <= 10.0, "{} MB idle", made.most_memory());
        for _ in 0..10 {
            let text = made.scrape("text/plain;version=0.0.4");
            assert_eq!(text.matches("\nprediction_duration_seconds_count{").count(), models + 1);
            made.scrape("application/openmetrics-text;version=1.0.0");
        }
        assert!(made.most_memory() <= most, "{} MB at {models} models", made.most_memory());
    }
}

/// So many models, each of which has ended in every way, with every histogram and as many bounds as there may be, and with
/// predictions of every kind, in every cell and of every class.
fn full_stats(models: usize) -> String {
    let readings = readings();
    let bounds: Vec<_> = (1..=40).map(|bound| (bound * 1_000_000).to_string()).collect();
    let mut stats = "wasmcustom.scoretap.insight_seen: 1\n".to_owned();
    for family in ["duration", "backend_duration"] {
        stats += &format!("wasmcustom.scoretap.bounds.{family}.{}: 1\n", bounds.join("_"));
    }
    for number in 0..models {
        let model = format!("kserve-v1.model-{number:05}.~");
        let series = format!("{model}.POST./v1/models/{{model}}%3Apredict");
        for outcome in Outcome::ALL {
            stats += &format!("wasmcustom.scoretap.call.{series}.200.{}: 1\n", outcome.as_str());
        }
        for (family, status) in ["duration", "backend_duration", "request_bytes", "response_bytes"]
            .iter()
            .flat_map(|family| Status::ALL.map(|status| (family, status.as_str())))
        {
            stats += &format!("wasmcustom.scoretap.cell.{series}.{family}.{status}.inf: 1\n");
            stats += &format!("wasmcustom.scoretap.sum.{series}.{family}.{status}: 1\n");
        }
        let columns = if number < MODELS_WITH_COLUMNS { columns() } else { Vec::new() };
        for reading in readings.iter().chain(&columns) {
            stats += &format!("wasmcustom.scoretap.read.{model}.{reading}: 1\n");
        }
    }
    stats
}

/// The most that insight counts for a model. An LLM's answers have fewer samples than predictions.
fn readings() -> Vec<String> {
    let classes = Insight::default().classes;
    let mut readings: Vec<String> = (0..classes).map(|class| format!("class.{class}")).collect();
    readings.extend((0..=VALUE_BOUNDS.len()).map(|cell| format!("value.{cell}")));
    readings.extend(["class.*", "rows.0", "rows_sum", "cut", "errors", "repeats"].map(str::to_owned));
    readings.extend(Kind::ALL.map(|kind| format!("values.{}", kind.as_str())));
    readings.extend(Scanned::ALL.map(|scanned| format!("scanned.{}", scanned.as_str())));
    readings
}

/// Only so many models have input columns.
const MODELS_WITH_COLUMNS: usize = 4;

/// As many columns as there may be, each with a number in every cell.
fn columns() -> Vec<String> {
    let column = |column: usize| {
        let cells = (0..=VALUE_BOUNDS.len()).map(move |cell| format!("column_value.c{column}.{cell}"));
        cells.chain([format!("column.c{column}.number")])
    };
    (0..scoretap_scan::columns::MOST).flat_map(column).collect()
}

/// How many samples each configuration of a scraper takes from a sidecar.
fn sample_limits() -> Vec<(&'static str, u64)> {
    let limit =
        |from: &'static str, value: &Value| (from, value.as_u64().unwrap_or_else(|| panic!("{from}")));
    let monitor =
        |case, kind| rendered::object(case, kind, "scoretap").unwrap()["spec"]["sampleLimit"].take();
    let job = |text: &str| -> Value {
        let mut config: Value = serde_norway::from_str(text).unwrap();
        config["scrape_configs"][0]["sample_limit"].take()
    };
    let plain = rendered::file("plain", "scoretap-prometheus", "prometheus.yml").unwrap();
    let compose = fs::read_to_string(workspace::root().join("examples/compose/prometheus.yml")).unwrap();
    vec![
        limit("PodMonitor", &monitor("policy", "PodMonitor")),
        limit("ServiceMonitor", &monitor("services", "ServiceMonitor")),
        limit("scoretap-prometheus", &job(&plain)),
        limit("examples/compose/prometheus.yml", &job(&compose)),
    ]
}

/// The most cells in the most entries that a baseline may have.
fn full_baseline() -> String {
    let cells: Vec<String> = VALUE_BOUNDS[..25].iter().map(|bound| format!("'{bound}': 1")).collect();
    let entry = |route: usize| format!("- {{route: r{route}, values: {{{}}}}}\n", cells.join(", "));
    format!("models:\n{}", (0..20).map(entry).collect::<String>())
}

/// A scrape with more than the limit would be refused whole.
#[test]
fn default_series_limit_fits_the_exporters_memory() {
    let folders = Folders::create("exporter-samples-baseline").unwrap();
    let file = folders.run.join("baseline.yaml");
    fs::write(&file, full_baseline()).unwrap();
    let made = Made::start("exporter-samples", full_stats(200), &["--baseline", file.to_str().unwrap()]);
    let text = made.scrape("application/openmetrics-text;version=1.0.0");
    let samples = text.lines().filter(|line| !line.starts_with('#')).count() as u64;
    assert!(
        (117_500..=118_500).contains(&samples),
        "{samples} samples: monitors.yaml of the chart says 118,000"
    );
    for (file, limit) in sample_limits() {
        assert!(samples < limit, "{file}: {samples} samples, of which {limit} are taken");
        assert_eq!(limit, sample_limits()[0].1, "{file}: one limit for all");
    }
    // The container's limit is 64Mi.
    assert!(made.most_memory() < 60.0, "{} MB", made.most_memory());
}
