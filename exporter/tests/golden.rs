//! Expositions, byte for byte: `golden/NAME.stats` is Envoy's answer, `.txt` and `.openmetrics` are the expositions.
//!
//! `cargo xtask generate` writes them. Review the difference before you commit it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use clap::Parser;
use scoretap_exporter::cli::args::Args;
use scoretap_exporter::cli::config::Config;
use scoretap_exporter::envoy::appearance::{Appearances, Began};
use scoretap_exporter::envoy::errors::ScrapeErrors;
use scoretap_exporter::process::Resources;
use scoretap_exporter::reading::decode::Decoder;
use scoretap_exporter::reading::measured::Reading;
use scoretap_exporter::render::encode::Format;
use scoretap_exporter::render::exposition;
use scoretap_exporter::render::self_metrics::SelfState;
use scoretap_web::counts::Counts;

/// The setup of a pod.
#[derive(Default)]
struct Pod {
    flags: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const IRIS: Pod = Pod {
    flags: &["--label", "env=prod"],
    environment: &[
        ("MODEL_NAME", "iris"),
        ("MODEL_VERSION", "3"),
        ("DEPLOYMENT_NAME", "iris-blue"),
        ("MODEL_FRAMEWORK", "sklearn"),
        ("TENANT", "acme"),
    ],
};

impl Pod {
    fn config(&self) -> Config {
        let args = Args::try_parse_from(["scoretap-exporter"].iter().chain(self.flags)).unwrap();
        let value = |name: &str| {
            self.environment.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        Config::new(&args, value).unwrap()
    }
}

fn path(name: &str, extension: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.{extension}"))
}

fn reading(config: &Config, stats: &str) -> Reading {
    let mut decoder = Decoder::new(config.identity());
    for line in stats.lines() {
        decoder.line(line).unwrap();
    }
    decoder.finish(config.expected_routes())
}

#[track_caller]
fn check(name: &str, pod: &Pod) {
    let config = pod.config();
    let stats = std::fs::read_to_string(path(name, "stats")).unwrap();
    let reading = reading(&config, &stats);
    for (format, extension) in [(Format::Text, "txt"), (Format::OpenMetrics, "openmetrics")] {
        check_file(
            &path(name, extension),
            &exposition(
                config.render(),
                Some(&reading),
                &state(&ScrapeErrors::default(), &Counts::default()),
                format,
                Vec::new(),
            ),
        );
    }
}

/// A fixed state of the exporter.
fn state<'a>(errors: &'a ScrapeErrors, requests: &'a Counts) -> SelfState<'a> {
    let resources = Resources {
        resident_bytes: 6_291_456,
        cpu_seconds: 0.25,
        open_fds: 11,
        max_fds: Some(1_048_576),
        start_seconds: 1_800_000_000.5,
    };
    SelfState { took: Duration::from_micros(1250), errors, requests, resources: Some(resources) }
}

#[track_caller]
fn check_file(path: &Path, exposition: &[u8]) {
    if std::env::var_os("SCORETAP_GENERATE").is_some() {
        std::fs::write(path, exposition).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    let found = std::str::from_utf8(exposition).unwrap();
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{}:{}", path.display(), number + 1);
    }
    assert_eq!(found, expected, "{}", path.display());
}

#[test]
fn missing_filter_has_no_call_families() {
    check("no_filter", &Pod::default());
}

#[test]
fn expected_route_begins_at_zero() {
    check("no_calls", &IRIS);
}

#[test]
fn calls_are_served_by_outcome() {
    check("calls", &IRIS);
}

/// The same statistics under other names.
#[track_caller]
fn check_dialect(stats: &str, name: &'static str) {
    let config = Pod { flags: Vec::leak(vec!["--label", "env=prod", "--dialect", name]), ..IRIS }.config();
    let stats = std::fs::read_to_string(path(stats, "stats")).unwrap();
    let reading = reading(&config, &stats);
    for (format, extension) in [(Format::Text, "txt"), (Format::OpenMetrics, "openmetrics")] {
        let exposition = exposition(
            config.render(),
            Some(&reading),
            &state(&ScrapeErrors::default(), &Counts::default()),
            format,
            Vec::new(),
        );
        check_file(&path(&format!("dialect_{name}"), extension), &exposition);
    }
}

#[test]
fn every_dialect_has_its_names() {
    for name in ["model", "fastapi", "mlflow", "api"] {
        check_dialect("calls", name);
    }
}

#[test]
fn families_of_templates_count_their_routes_only() {
    check_dialect("mlflow_tracking", "mlflow-tracking");
}

#[test]
fn bodies_have_families_of_their_own() {
    check("insight", &IRIS);
}

#[test]
fn dialects_of_llms_show_tokens_and_times() {
    for name in ["gen_ai", "vllm", "inference_objective"] {
        check_dialect("insight", name);
    }
}

#[test]
fn dialects_without_calls_begin_at_zero() {
    check("no_calls_dialects", &Pod { flags: &["--dialect", "fastapi,mlflow,api"], ..IRIS });
}

#[test]
fn custom_dialect_is_served_beside_built_in_ones() {
    const FLAGS: &[&str] = &["--dialect-file", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/own.yaml")];
    check("dialect_own", &Pod { flags: FLAGS, ..Pod::default() });
}

#[test]
fn families_of_libraries_have_types_and_units() {
    const FLAGS: &[&str] =
        &["--dialect-file", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/libraries.yaml")];
    check("dialect_libraries", &Pod { flags: FLAGS, ..Pod::default() });
}

#[test]
fn hostile_names_are_escaped() {
    check("hostile_names", &Pod::default());
}

#[test]
fn invalid_configuration_is_reported() {
    check("config_invalid", &Pod::default());
}

#[test]
fn extra_histograms_have_their_bounds() {
    check("extra_histograms", &Pod { flags: &["--expect-route", "predict"], ..IRIS });
}

#[test]
fn unreadable_envoy_leaves_self_metrics() {
    let config = IRIS.config();
    for (format, extension) in [(Format::Text, "txt"), (Format::OpenMetrics, "openmetrics")] {
        check_file(
            &path("down", extension),
            &exposition(
                config.render(),
                None,
                &state(&ScrapeErrors::default(), &Counts::default()),
                format,
                Vec::new(),
            ),
        );
    }
}

#[test]
fn created_samples_follow_their_series() {
    const FLAGS: &[&str] = &["--openmetrics.created-samples"];
    let config = Pod { flags: FLAGS, ..Pod::default() }.config();
    let appearances = Appearances::default();
    let date = |calls: &str, second: u64| {
        let stats = format!("server.uptime: {second}\n{calls}");
        let mut reading = reading(&config, &stats);
        let time = UNIX_EPOCH + Duration::from_secs(1_800_000_000 + second);
        appearances.date(Began { instant: Instant::now(), time }, &mut reading);
        reading
    };
    date("", 60);
    date("", 75);
    let calls = "wasmcustom.scoretap.call.score.~.~.POST./score.500.model_error: 1\n\
                 wasmcustom.scoretap.cell.score.~.~.POST./score.duration.failure.1000000: 1\n\
                 wasmcustom.scoretap.call.kserve-v1.iris.~.POST./v1/models/{model}%3Apredict.200.success: 1\n\
                 wasmcustom.scoretap.read.score.~.~.usage.absent: 1\n\
                 wasmcustom.scoretap.read.score.~.~.rows.0: 1\n";
    let reading = date(calls, 90);
    let (errors, requests) = (ScrapeErrors::default(), Counts::default());
    let state = state(&errors, &requests);
    let exposition = exposition(config.render(), Some(&reading), &state, Format::OpenMetrics, Vec::new());
    check_file(&path("created", "openmetrics"), &exposition);
}
