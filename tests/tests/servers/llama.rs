//! llama.cpp's server, driven by the official client of OpenAI.

use scoretap_tests::apps::{Llama, Tokens};
use scoretap_tests::bootstrap::Bootstrap;
use scoretap_tests::exposition::Exposition;
use scoretap_tests::ports;
use scoretap_tests::stack::{Folders, Stack, Upstream};

const STREAMS: usize = 100;
const CALLS: usize = 5;

/// Kinds of calls that report a usage.
const REPORTING: [&str; 7] =
    ["chat", "completions", "completion_streams", "responses", "response_streams", "messages", "embeddings"];

/// The calls between two scrapes.
struct Counted {
    before: Exposition,
    after: Exposition,
}

impl Counted {
    #[track_caller]
    fn grown(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.after.sum(name, labels) - self.before.sum(name, labels)
    }

    #[track_caller]
    fn check(&self, kind: &str, name: &str, labels: &[(&str, &str)], expected: usize) {
        let grown = self.grown(name, labels);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let expected = expected as f64;
        assert!(
            (grown - expected).abs() < f64::EPSILON,
            "{kind}: {name} {labels:?}: {grown}, not {expected}"
        );
    }

    fn tokens(&self) -> Tokens {
        let tokens =
            |kind| self.grown("prediction_tokens_total", &[("token_type", kind), ("model_name", "tiny")]);
        Tokens { input: tokens("input"), output: tokens("output") }
    }

    #[track_caller]
    fn check_successes(&self, kind: &str, calls: usize) {
        for status in ["success", "failure", "cancelled"] {
            let expected = if status == "success" { calls } else { 0 };
            self.check(
                kind,
                "prediction_requests_total",
                &[("status", status), ("model_name", "tiny")],
                expected,
            );
        }
    }
}

struct Served {
    llama: Llama,
    stack: Stack,
}

impl Served {
    fn start() -> Self {
        let folders = Folders::create("llama").unwrap();
        let llama = Llama::start(&folders.logs, ports::free()).unwrap();
        let stack = Stack::builder("llama")
            .upstream(Upstream::Http1(llama.address))
            .edit_cluster(Bootstrap::use_connections_once)
            .filter_config(r#"{"routes": [{"preset": "openai"}], "insight": {}}"#)
            .with_insight()
            .start()
            .unwrap();
        Self { llama, stack }
    }

    /// Makes calls of a kind. Returns what was counted of them, what the client was told and what the server says.
    #[track_caller]
    fn drive(&self, kind: &str, calls: usize) -> (Counted, Tokens, Tokens) {
        let (before, server) = (self.stack.metrics(), self.llama.counted().unwrap());
        let told = Llama::drive(self.stack.address, kind, calls).unwrap();
        self.stack.settle();
        let after = self.llama.counted().unwrap();
        let counted = Counted { before, after: self.stack.metrics() };
        let server = Tokens { input: after.input - server.input, output: after.output - server.output };
        (counted, told, server)
    }
}

#[test]
fn llama_calls_and_tokens_are_exact() {
    let served = Served::start();
    complete_streams(&served);
    for kind in REPORTING {
        let (counted, told, server) = served.drive(kind, CALLS);
        counted.check_successes(kind, CALLS);
        counted.check(kind, "prediction_usage_total", &[("usage", "reported")], CALLS);
        assert_eq!((counted.tokens(), told), (server, server), "{kind}");
    }
    streams_without_usage(&served);
    abandoned_streams(&served);
    long_bounds(&served);
}

fn complete_streams(served: &Served) {
    let (counted, told, server) = served.drive("streams", STREAMS);
    counted.check_successes("streams", STREAMS);
    counted.check("streams", "prediction_streams_total", &[("end", "complete")], STREAMS);
    counted.check("streams", "prediction_time_to_first_token_seconds_count", &[], STREAMS);
    counted.check("streams", "prediction_finish_total", &[], STREAMS);
    assert!(server.input > 0.0 && server.output > 0.0, "{server:?}");
    assert_eq!((counted.tokens(), told), (server, server));
}

fn streams_without_usage(served: &Served) {
    let (counted, ..) = served.drive("without_usage", CALLS);
    counted.check_successes("without usage", CALLS);
    counted.check("without usage", "prediction_usage_total", &[("usage", "absent")], CALLS);
    counted.check("without usage", "prediction_tokens_total", &[], 0);
}

fn abandoned_streams(served: &Served) {
    let (counted, ..) = served.drive("leave", CALLS);
    counted.check("leave", "prediction_requests_total", &[("status", "cancelled")], CALLS);
    counted.check("leave", "prediction_requests_total", &[("status", "success")], 0);
    counted.check("leave", "prediction_streams_total", &[("end", "abandoned")], CALLS);
}

/// A pod whose routes are an LLM's has bounds from 50 ms to 10 minutes.
fn long_bounds(served: &Served) {
    let metrics = served.stack.metrics();
    let buckets = metrics.select("prediction_duration_seconds_bucket", &[("model_name", "tiny")]);
    let mut bounds: Vec<f64> = buckets.filter_map(|(labels, _)| labels.get("le")?.parse().ok()).collect();
    bounds.retain(|bound| bound.is_finite());
    bounds.sort_by(f64::total_cmp);
    assert_eq!((bounds.first(), bounds.last()), (Some(&0.05), Some(&600.0)));
}
