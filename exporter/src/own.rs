//! What the exporter says of itself and of how far the filter's counts can be trusted.

use std::time::Duration;

use crate::decode::Reading;
use crate::family::{Family, Points, Sample, Unit};

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The labels of these families.
pub const LABELS: [&str; 2] = ["result", "version"];

/// The families that are there even where Envoy could not be read.
pub fn always<'a>(is_up: bool, took: Duration, constants: &'a [(String, String)]) -> [Family<'a>; 3] {
    [
        Family {
            name: "scoretap_up",
            help: "1 where the last read of Envoy succeeded.",
            unit: None,
            points: gauge(f64::from(u8::from(is_up)), constants),
        },
        Family {
            name: "scoretap_scrape_duration_seconds",
            help: "How long this read of Envoy took.",
            unit: Some(Unit::Seconds),
            points: gauge(took.as_secs_f64(), constants),
        },
        Family {
            name: "scoretap_build_info",
            help: "The build of this exporter.",
            unit: None,
            points: Points::Info(vec![labels(Some(("version", VERSION)), constants)]),
        },
    ]
}

/// The families that come from Envoy.
pub fn of_reading<'a>(reading: &Reading, constants: &'a [(String, String)]) -> Vec<Family<'a>> {
    let mut families = Vec::new();
    if let Some(is_valid) = reading.config_valid {
        families.push(Family {
            name: "scoretap_config_valid",
            help: "0 where the filter runs without its configuration, which is not valid.",
            unit: None,
            points: gauge(f64::from(u8::from(is_valid)), constants),
        });
    }
    let seen = |result, value| Sample { labels: labels(Some(("result", result)), constants), value };
    families.push(Family {
        name: "scoretap_calls_seen_total",
        help: "Calls that the filter saw, by whether a route matched.",
        unit: None,
        points: Points::Counter(vec![seen("matched", reading.matched), seen("unmatched", reading.unmatched)]),
    });
    if let Some(requests) = reading.envoy_requests {
        families.push(Family {
            name: "scoretap_envoy_requests_total",
            help: "Finished requests that Envoy itself counted where the filter should have seen them.",
            unit: None,
            points: counter(requests, constants),
        });
    }
    families.push(Family {
        name: "scoretap_series_overflow_total",
        help: "Calls whose model went into \"other\", as there were too many models.",
        unit: None,
        points: counter(reading.overflow, constants),
    });
    families
}

fn gauge(value: f64, constants: &[(String, String)]) -> Points<'_> {
    Points::Gauge(vec![Sample { labels: labels(None, constants), value }])
}

fn counter(value: u64, constants: &[(String, String)]) -> Points<'_> {
    Points::Counter(vec![Sample { labels: labels(None, constants), value }])
}

fn labels<'a>(
    own: Option<(&'static str, &'static str)>,
    constants: &'a [(String, String)],
) -> Vec<(&'a str, &'a str)> {
    own.into_iter().chain(constants.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
}
