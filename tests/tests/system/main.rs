//! The whole system on real Envoy, with real model servers, in both ways in: what is exported is what happened.

mod configuration;
mod counts;
mod crash;
mod hostile;
mod numbers;
mod outcomes;

use scoretap_tests::exposition::Exposition;
use scoretap_tests::http::Call;
use scoretap_tests::stack::{Stack, WayIn};

/// A row that the scorer's model accepts.
const ROW: &str = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;

fn score() -> Call {
    Call::post("/score", ROW)
}

/// Every call that the filter saw.
fn seen(metrics: &Exposition) -> f64 {
    metrics.sum("scoretap_calls_seen_total", &[])
}

/// Every finished request that Envoy itself counted.
fn by_envoy(metrics: &Exposition) -> f64 {
    metrics.sum("scoretap_envoy_requests_total", &[])
}

/// Runs a test in both ways in, each on a stack of its own.
fn in_both_ways(name: &str, test: impl Fn(&str, WayIn)) {
    for way_in in WayIn::ALL {
        test(&format!("{name}-{}", way_in.as_str()), way_in);
    }
}

/// The sum of `prediction_responses_total` over all series with these labels, once Envoy has nothing in flight.
#[track_caller]
fn responses(stack: &Stack, labels: &[(&str, &str)]) -> f64 {
    stack.settle();
    stack.metrics().sum("prediction_responses_total", labels)
}
