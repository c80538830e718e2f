//! Calls go through the filter's code and the exporter's. The exposition must show exactly these calls.

use std::time::Duration;

use clap::Parser;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{collection, sample};
use scoretap_core::histogram::DEFAULT_TIME_BOUNDS;
use scoretap_core::observe::Observer;
use scoretap_exporter::cli::args::Args;
use scoretap_exporter::cli::config::Config;
use scoretap_exporter::envoy::errors::ScrapeErrors;
use scoretap_exporter::envoy::lines::{Broken, Lines};
use scoretap_exporter::reading::decode::Decoder;
use scoretap_exporter::reading::measured::Reading;
use scoretap_exporter::render::encode::Format;
use scoretap_exporter::render::exposition;
use scoretap_exporter::render::self_metrics::SelfState;
use scoretap_web::counts::Counts;

use crate::cases;
use crate::formats::{Samples, samples};
use crate::stats::line;
use scoretap_test_support::exposition::Labels;
use scoretap_test_support::host::{Ended, Host};

/// A small limit, so that callers reach it.
const MAX_SERIES: usize = 4;
/// How many of them may be models that no call has shown to exist.
const MAX_UNCLEAR: usize = 1;

/// The evidence of a call that its model exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    Model,
    Unclear,
    Nothing,
}
use Shows::{Model, Nothing, Unclear};

type Ending = (u16, u64, &'static str, &'static str, Shows);

/// How a call can end: Envoy's status, flags and details, the outcome, and the evidence for the model.
const ENDINGS: [Ending; 13] = [
    (200, 0, "via_upstream", "success", Model),
    (302, 0, "via_upstream", "success", Unclear),
    (400, 0, "via_upstream", "invalid_input", Nothing),
    (403, 0, "via_upstream", "unauthorized", Nothing),
    (404, 0, "via_upstream", "not_found", Nothing),
    (429, 0, "via_upstream", "rate_limited", Nothing),
    (503, 0, "via_upstream", "model_error", Unclear),
    (504, 1 << 2, "response_timeout", "timeout", Unclear),
    (200, 1 << 2, "response_timeout", "timeout", Unclear),
    (
        503,
        1 << 5,
        "upstream_reset_before_response_started{remote_connection_failure}",
        "unavailable",
        Unclear,
    ),
    (503, 1 << 7, "upstream_reset_before_response_started{overflow}", "overloaded", Nothing),
    (200, 1 << 23, "upstream_reset_after_response_started{protocol_error}", "truncated", Unclear),
    (0, 1 << 14, "downstream_remote_disconnect", "cancelled", Unclear),
];

/// The target of a call: a route and the model that it names, or no route.
#[derive(Clone, Debug)]
enum Target {
    Score,
    KserveV1(Vec<u8>),
    KserveV2(Vec<u8>, Vec<u8>),
    Nowhere(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Asked {
    target: Target,
    /// Which bytes of the names are percent-encoded without need.
    encoded: u64,
    ending: Ending,
    nanoseconds: u64,
    worker: bool,
}

impl Asked {
    fn ended(&self) -> Ended {
        let (code, flags, details, ..) = self.ending;
        let name = |name: &[u8]| percent_encoded(name, self.encoded);
        let path = match &self.target {
            Target::Score => "/score?model=x".to_owned(),
            Target::KserveV1(model) => format!("/v1/models/{}:predict", name(model)),
            Target::KserveV2(model, version) => {
                format!("/v2/models/{}/versions/{}/infer", name(model), name(version))
            }
            Target::Nowhere(rest) => format!("/{}/", name(rest)),
        };
        Ended {
            headers: vec![(":method", b"POST".to_vec()), (":path", path.into_bytes())],
            code: Some(u64::from(code)).filter(|code| *code != 0),
            flags,
            details: Some(details.into()),
            nanoseconds: self.nanoseconds,
            ..Ended::default()
        }
    }
}

fn percent_encoded(name: &[u8], encoded: u64) -> String {
    let byte = |(position, byte): (usize, &u8)| {
        let needs = !byte.is_ascii_alphanumeric() || encoded >> (position % 64) & 1 == 1;
        if needs { format!("%{byte:02x}") } else { char::from(*byte).to_string() }
    };
    name.iter().enumerate().map(byte).collect()
}

/// Common names and random ones.
fn names() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => sample::select(vec!["a", "b", "unknown", "other", "a b", "~", "*", "100%"]).prop_map(Vec::from),
        1 => any::<String>().prop_filter("a name is not empty", |name| !name.is_empty()).prop_map(Vec::from),
        1 => collection::vec(any::<u8>(), 1..40),
        1 => Just(vec![b'm'; 257]),
    ]
}

fn durations() -> impl Strategy<Value = u64> {
    let near = sample::select(DEFAULT_TIME_BOUNDS.to_vec());
    prop_oneof![(near, 0..3_u64).prop_map(|(bound, more)| bound - 1 + more), 0..20_000_000_000_u64,]
}

fn calls() -> impl Strategy<Value = Vec<Asked>> {
    let target = prop_oneof![
        Just(Target::Score),
        names().prop_map(Target::KserveV1),
        (names(), names()).prop_map(|(model, version)| Target::KserveV2(model, version)),
        names().prop_map(Target::Nowhere),
    ];
    let call = (target, any::<u64>(), sample::select(ENDINGS.to_vec()), durations(), any::<bool>());
    let call = call.prop_map(|(target, encoded, ending, nanoseconds, worker)| Asked {
        target,
        encoded,
        ending,
        nanoseconds,
        worker,
    });
    collection::vec(call, 0..40)
}

/// The expected samples of these calls without zeros, added call by call.
fn expected(calls: &[Asked]) -> Samples {
    let mut samples = Samples::new();
    let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
        let labels: Labels =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        *samples.entry((name.to_owned(), labels)).or_default() += value;
    };
    let mut admitted: Vec<(&str, Vec<&[u8]>)> = Vec::new();
    let mut unclear = 0;
    for Asked { target, ending: (code, _, _, outcome, shows), nanoseconds, .. } in calls {
        let (route, named): (_, Vec<&[u8]>) = match target {
            Target::Score => ("score", vec![]),
            Target::KserveV1(model) => ("kserve-v1", vec![model]),
            Target::KserveV2(model, version) => ("kserve-v2", vec![model, version]),
            Target::Nowhere(_) => {
                add("scoretap_calls_seen_total", &[("result", "unmatched")], 1.0);
                continue;
            }
        };
        add("scoretap_calls_seen_total", &[("result", "matched")], 1.0);
        let labels: Option<Vec<&str>> = named.iter().map(|name| label(name)).collect();
        let series = (route, named);
        // The series of a route without a model does not count towards the limit.
        let has_room = admitted.len() < MAX_SERIES
            && match shows {
                Model => true,
                Unclear => unclear < MAX_UNCLEAR,
                Nothing => false,
            };
        if !series.1.is_empty() && labels.is_some() && !admitted.contains(&series) && has_room {
            unclear += usize::from(*shows == Unclear);
            admitted.push(series.clone());
        }
        let (model, version) = match labels.as_deref() {
            Some([]) => ("unknown", "unknown"),
            Some([model]) if admitted.contains(&series) => (*model, "unknown"),
            Some([model, version]) if admitted.contains(&series) => (*model, *version),
            _ => {
                add("scoretap_series_overflow_total", &[], 1.0);
                ("other", "other")
            }
        };
        let status = match *outcome {
            "success" | "cancelled" => outcome,
            _ => "failure",
        };
        let of = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            let own = [("model_name", model), ("model_version", version), ("route", route)];
            own.iter().chain(more).map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        let mut count = |name: &str, more: &[(&'static str, &str)], value: f64| {
            let labels = of(more);
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            add(name, &labels, value);
        };
        count("prediction_requests_total", &[("status", status)], 1.0);
        if status == "failure" {
            count("prediction_errors_total", &[("error_type", outcome)], 1.0);
        }
        count("prediction_responses_total", &[("method", "POST"), ("code", &code.to_string())], 1.0);
        for bound in DEFAULT_TIME_BOUNDS.iter().filter(|bound| nanoseconds <= bound) {
            let le = (*bound as f64 / 1e9).to_string();
            count("prediction_duration_seconds_bucket", &[("status", status), ("le", &le)], 1.0);
        }
        count("prediction_duration_seconds_bucket", &[("status", status), ("le", "inf")], 1.0);
        count("prediction_duration_seconds_count", &[("status", status)], 1.0);
        // In nanoseconds, so that it is exact.
        count("prediction_duration_seconds_sum", &[("status", status)], *nanoseconds as f64);
    }
    samples.retain(|_, value| *value != 0.0);
    samples
}

fn label(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok().filter(|name| name.len() <= 256 && !name.contains('\0'))
}

/// The samples of an exposition that come from calls.
fn found(exposition: Samples) -> Samples {
    const NAMES: [&str; 8] = [
        "prediction_requests_total",
        "prediction_errors_total",
        "prediction_responses_total",
        "prediction_duration_seconds_bucket",
        "prediction_duration_seconds_count",
        "prediction_duration_seconds_sum",
        "scoretap_calls_seen_total",
        "scoretap_series_overflow_total",
    ];
    let of_calls = exposition.into_iter().filter(|((name, _), _)| NAMES.contains(&name.as_str()));
    let in_nanoseconds = of_calls.map(|((name, labels), value)| {
        let is_sum = name == "prediction_duration_seconds_sum";
        ((name, labels), if is_sum { (value * 1e9).round() } else { value })
    });
    in_nanoseconds.filter(|(_, value)| *value != 0.0).collect()
}

/// The exposition of lines that arrive in pieces of this size.
fn read(config: &Config, body: &[u8], piece: usize) -> Reading {
    let mut decoder = Decoder::new(config.identity());
    let mut lines = Lines::default();
    for chunk in body.chunks(piece) {
        lines
            .feed(chunk, |line| {
                decoder.line(line).unwrap();
                Ok::<(), Broken>(())
            })
            .unwrap();
    }
    lines.finish().unwrap();
    decoder.finish(config.expected_routes())
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn every_format_serves_the_calls_made(
        calls in calls(), piece in 1..300_usize, native in any::<bool>(),
    ) {
        let host = Host::default();
        let resolution = if native { "native" } else { "classic" };
        let filter = format!("{{\"max_series\": {MAX_SERIES}, \"latency_resolution\": \"{resolution}\"}}");
        let worker = || Observer::new(scoretap_core::config::Config::parse(filter.as_bytes()).ok());
        let mut workers = [worker(), worker()];
        workers.iter_mut().for_each(|worker| worker.announce(&host, 1));
        for call in &calls {
            workers[usize::from(call.worker)].observe(&call.ended(), &host);
        }
        let config = Config::new(&Args::parse_from(["exporter"]), |_| None).unwrap();
        let body: String = host.statistics().iter().map(|(name, value)| line(name, *value)).collect();
        let reading = read(&config, body.as_bytes(), piece);
        for format in Format::ALL {
            let errors = ScrapeErrors::default();
            let exposition = exposition(config.render(), Some(&reading), &SelfState { took: Duration::ZERO, errors: &errors, requests: &Counts::default(), resources: None }, format, Vec::new());
            assert_eq!(found(samples(format, &exposition)), expected(&calls), "{format:?}");
        }
    }
}
