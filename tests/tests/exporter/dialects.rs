//! Each dialect, asked what the dashboards and alerts ask that it is for.
//!
//! Rates are asked for after a second round of calls, as of a series that only just began Prometheus knows none. All
//! series are scraped together, so that what it extrapolates cancels out of every quotient.

use std::time::Duration;

use scoretap_tests::http::{Call, Endpoint, Protocol};
use scoretap_tests::stack::Stack;

use crate::support::Prometheus;

const ROW: &str = "[1, 2, 3, 4, 5, 6, 7, 8, 9]";

/// The calls of a round.
const FAST: usize = 60;
const SLOW: usize = 33;
const SLOWEST: usize = 3;
const WRONG: usize = 7;
const CRASHING: usize = 5;

const SUCCESSES: usize = FAST + SLOW + SLOWEST;
const ALL: usize = SUCCESSES + WRONG + CRASHING;

fn round() -> Vec<Call> {
    let sleeping = |milliseconds: u64| {
        Call::post("/score", format!(r#"{{"data": [{ROW}], "sleep_ms": {milliseconds}}}"#))
    };
    let wrong = Call::post("/score", r#"{"data": [[1]], "sleep_ms": 300}"#);
    let crashing = Call::post("/score", r#"{"data": [["a", 2, 3, 4, 5, 6, 7, 8, 9]], "sleep_ms": 300}"#);
    let kinds = [
        (sleeping(300), FAST),
        (sleeping(1200), SLOW),
        (sleeping(3000), SLOWEST),
        (wrong, WRONG),
        (crashing, CRASHING),
    ];
    kinds.into_iter().flat_map(|(call, count)| std::iter::repeat_n(call, count)).collect()
}

/// One query and what it must say: the share of `of` calls in all, or a time from one to another.
enum Truth {
    Share(usize, usize),
    Calls(usize),
    Between(f64, f64),
}

fn check(prometheus: &Prometheus, expression: &str, truth: &Truth) {
    match truth {
        Truth::Share(some, all) => prometheus.check_within(expression, *some as f64 / *all as f64, 1e-6),
        // A rate extrapolates from the scraped time to the whole window.
        Truth::Calls(count) => {
            let found = prometheus.value(expression).unwrap_or_else(|| panic!("{expression} is not there"));
            let least = *count as f64 * 0.999;
            assert!((least..=least * 1.5).contains(&found), "{expression}: {found}, not about {count}");
        }
        Truth::Between(low, high) => {
            let found = prometheus.value(expression).unwrap_or_else(|| panic!("{expression} is not there"));
            assert!((*low..=*high).contains(&found), "{expression}: {found}, not {low} to {high}");
        }
    }
}

/// The names of a dialect for a counter with codes, a counter of successes and a histogram.
struct Names {
    requests: &'static str,
    failed: &'static str,
    succeeded: &'static str,
    histogram: &'static str,
    /// Whether the histogram has these classes of calls, too.
    timed: usize,
    /// The label that tells calls apart, and values with their counts.
    by: (&'static str, &'static [(&'static str, usize)]),
}

const BY_CODE: &[(&str, usize)] = &[("200", SUCCESSES), ("422", WRONG), ("500", CRASHING)];

const DIALECTS: [Names; 5] = [
    Names {
        requests: "prediction_requests_total",
        failed: "prediction_requests_total{status=\"failure\"}",
        succeeded: "prediction_requests_total{status=\"success\"}",
        histogram: "prediction_duration_seconds",
        timed: ALL,
        by: ("status", &[("success", SUCCESSES), ("failure", WRONG + CRASHING), ("cancelled", 0)]),
    },
    Names {
        requests: "model_predictions_total",
        failed: "model_errors_total",
        succeeded: "model_predictions_total{status=\"success\"}",
        histogram: "model_prediction_duration_seconds",
        timed: ALL,
        by: ("status", &[("success", SUCCESSES), ("error", WRONG + CRASHING)]),
    },
    Names {
        requests: "fastapi_requests_total",
        failed: "fastapi_requests_total{status=~\"[45]..\"}",
        succeeded: "fastapi_requests_total{method=\"POST\",path=\"/score\",status=\"200\"}",
        histogram: "fastapi_request_duration_seconds",
        timed: ALL,
        by: ("status", BY_CODE),
    },
    Names {
        requests: "http_requests_total",
        failed: "http_requests_total{status=~\"4..|5..\"}",
        succeeded: "mlflow_predictions_total",
        histogram: "mlflow_model_request_duration_seconds",
        timed: ALL,
        by: ("status", BY_CODE),
    },
    Names {
        requests: "api_request_total",
        failed: "api_request_total{http_status!=\"200\"}",
        succeeded: "api_prediction_total",
        histogram: "api_request_duration_seconds",
        timed: ALL,
        by: ("http_status", BY_CODE),
    },
];

/// Rate by namespace and by status, error ratio, predictions per second, quantiles, the average as sum over count.
fn queries(names: &Names) -> Vec<(String, Truth)> {
    let Names { requests, failed, succeeded, histogram, timed, by: (label, values) } = names;
    let rate = |selector: &str| format!("sum(rate({selector}[2m]))");
    let mut queries = vec![
        (format!("sum by (namespace) (rate({requests}[2m])) * 120"), Truth::Calls(ALL)),
        (
            format!("sum by (namespace) (rate({requests}{{namespace=\"ml\"}}[2m])) / {}", rate(requests))
                .replace(" / sum", " / on() sum"),
            Truth::Share(1, 1),
        ),
        (format!("{} / {}", rate(failed), rate(requests)), Truth::Share(WRONG + CRASHING, ALL)),
        (format!("{} * 120", rate(succeeded)), Truth::Calls(SUCCESSES)),
        (format!("{} / {}", rate(&format!("{histogram}_count")), rate(requests)), Truth::Share(*timed, ALL)),
        (
            format!("{} / {}", rate(&format!("{histogram}_sum")), rate(&format!("{histogram}_count"))),
            Truth::Between(0.65, 1.0),
        ),
    ];
    for (value, count) in *values {
        let share = format!(
            "sum by ({label}) (rate({requests}{{{label}=\"{value}\"}}[2m])) / on() {}",
            rate(requests)
        );
        queries.push((share, Truth::Share(*count, ALL)));
    }
    // 300 ms, 1.2 s and 3 s lie in buckets with these bounds in every dialect.
    for (share, low, high) in [(0.5, 0.1, 0.5), (0.95, 1.0, 2.5), (0.99, 2.5, 5.0)] {
        let buckets = format!("sum by (le) (rate({histogram}_bucket[2m]))");
        queries.push((format!("histogram_quantile({share}, {buckets})"), Truth::Between(low, high)));
    }
    queries
}

#[test]
fn dashboard_queries_of_dialects_give_true_values() {
    let stack = Stack::builder("exporter-dialects")
        .exporter_args(&["--dialect", "prediction,fastapi,mlflow"])
        .start()
        .unwrap();
    let Endpoint::Tcp(first) = stack.exporter else { panic!("the exporter is on TCP") };
    // model_info means something else in each of these: one exporter each.
    let [model, api] = ["model", "api"].map(|dialect| beside(&stack, dialect));
    assert_eq!(call_all(&stack), ALL);
    let targets = [("first", first), ("model", model.1), ("api", api.1)];
    let prometheus = Prometheus::start("exporter-dialects-prometheus", &targets, &[]);
    let total = |names: &Names| format!("sum({})", names.requests);
    for names in &DIALECTS {
        prometheus.wait_for(&total(names), ALL as f64);
    }
    assert_eq!(call_all(&stack), ALL);
    for names in &DIALECTS {
        prometheus.wait_for(&total(names), 2.0 * ALL as f64);
    }
    // The app says so, too.
    assert_eq!(stack.app_calls().iter().filter(|call| call.status == 200).count(), 2 * SUCCESSES);
    for names in &DIALECTS {
        for (expression, truth) in queries(names) {
            check(&prometheus, &expression, &truth);
        }
    }
    prometheus.check(
        "sum(rate(model_errors_total{error_type=\"model_error\"}[2m])) / sum(rate(model_errors_total[2m]))",
        CRASHING as f64 / (WRONG + CRASHING) as f64,
    );
}

/// How many of a round were answered.
fn call_all(stack: &Stack) -> usize {
    let answers = stack.load(Protocol::Http1, 8).run(round());
    stack.settle();
    answers.iter().filter(|answer| answer.is_ok()).count()
}

/// One more exporter for the same Envoy.
fn beside(stack: &Stack, dialect: &str) -> (scoretap_tests::child::Child, std::net::SocketAddr) {
    let Endpoint::Unix(admin) = &stack.admin else { panic!("the admin interface is a socket") };
    let address = scoretap_tests::apps::local(scoretap_tests::ports::free());
    let mut command = std::process::Command::new(scoretap_tests::workspace::exporter());
    command.args(["--web.listen-address", &address.to_string(), "--dialect", dialect]);
    command.arg("--envoy.admin").arg(format!("unix://{}", admin.display()));
    let log = stack.folders.logs.join(format!("exporter-{dialect}.log"));
    let mut child = scoretap_tests::child::Child::spawn("an exporter", &command, &log).unwrap();
    let ready = || scoretap_tests::http::get(&Endpoint::Tcp(address), "/-/ready").is_ok();
    child.wait_ready(Duration::from_secs(30), ready).unwrap();
    (child, address)
}
