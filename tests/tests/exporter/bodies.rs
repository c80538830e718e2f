//! The metrics of bodies, as a real Prometheus and other people's dashboards see them.

use std::process::Command;

use scoretap_tests::http::{self, Call, Endpoint, Protocol};
use scoretap_tests::monitoring::serve;
use scoretap_tests::stack::Folders;
use scoretap_tests::workspace;

use crate::support::{Made, Prometheus};

/// The statistics of the golden file, and an exporter that reads them.
fn made(name: &str, args: &[&str]) -> Made {
    let stats = workspace::root().join("exporter/tests/golden/insight.stats");
    Made::start(name, std::fs::read_to_string(stats).unwrap(), args)
}

#[test]
fn values_have_the_same_buckets_in_every_format() {
    const NATIVE: &str = "--enable-feature=native-histograms";
    let made = made("exporter-bodies", &[]);
    let exporter = Endpoint::Tcp(made.exporter);
    let text = serve(move || {
        let call = Call::get("/metrics").header("accept", "text/plain;version=0.0.4");
        http::call(&exporter, Protocol::Http1, call).unwrap().text()
    })
    .unwrap();
    let targets = [("openmetrics", made.exporter), ("text", text)];
    let classic = Prometheus::start("exporter-bodies-classic", &targets, &[]);
    let native = Prometheus::start("exporter-bodies-native", &[("protobuf", made.exporter)], &[NATIVE]);
    for (prometheus, job) in [(&classic, "openmetrics"), (&classic, "text"), (&native, "protobuf")] {
        prometheus.wait_for(&format!("scoretap_up{{job=\"{job}\"}}"), 1.0);
        let of = |name: &str, labels: &str| format!("prediction_{name}{{job=\"{job}\"{labels}}}");
        prometheus.check(&format!("count({})", of("value_bucket", "")), 64.0);
        prometheus.check(&of("value_bucket", ",le=\"-1e+06\""), 1.0);
        prometheus.check(&of("value_bucket", ",le=\"0.6\""), 63.0);
        prometheus.check(&of("value_bucket", ",le=\"+Inf\""), 66.0);
        let cells = of("value_cells_total", "");
        prometheus.check(
            &format!(
                "count({cells} and on (bin) label_replace({}, \"bin\", \"$1\", \"le\", \"(.*)\"))",
                of("value_bucket", "")
            ),
            64.0,
        );
        prometheus.check(&format!("sum({cells})"), 66.0);
        // No average can be computed: the sum is absent, or NaN where Prometheus makes one of protobuf.
        let sum = prometheus.value(&of("value_sum", ""));
        assert!(sum.is_none_or(f64::is_nan), "{job}: {sum:?}");
        prometheus.check(&of("tokens_total", ",token_type=\"output\",source=\"usage\""), 240.0);
        prometheus.check(&of("call_tokens_sum", ",token_type=\"output\""), 240.0);
    }
}

/// Makes a baseline of what one exporter has counted, and serves it with another one.
#[test]
fn baseline_has_the_cells_of_the_counters() {
    let folders = Folders::create("exporter-baseline").unwrap();
    let (counted, file) = (folders.run.join("metrics.txt"), folders.run.join("baseline.yaml"));
    let exposition = made("exporter-baseline-counted", &[]).scrape("text/plain;version=0.0.4");
    std::fs::write(&counted, exposition).unwrap();
    let mut make = Command::new(workspace::cli());
    make.args(["baseline", "make"]).arg(&counted).arg("--output").arg(&file);
    assert!(make.status().unwrap().success());
    let made = made("exporter-baseline-served", &["--baseline", file.to_str().unwrap()]);
    let prometheus = Prometheus::start("exporter-baseline", &[("model", made.exporter)], &[]);
    prometheus.wait_for("scoretap_up", 1.0);
    for (of, family, label) in
        [("value", "prediction_value_cells_total", "bin"), ("class", "prediction_classes_total", "class")]
    {
        let counted = format!(
            "sum by (model_name, route, cell) (label_replace({family} > 0, \"cell\", \"$1\", \"{label}\", \"(.*)\"))"
        );
        let baseline =
            format!("sum by (model_name, route, cell) (scoretap_baseline_predictions{{of=\"{of}\"}})");
        let cells = prometheus.value(&format!("count({counted})")).unwrap();
        prometheus.check(&format!("count({baseline} == {counted})"), cells);
        prometheus.check(&format!("count({baseline})"), cells);
    }
    // The labels of the cumulated shares and of the counters' buckets are equal, as drift is measured by both.
    let by = "sum by (model_name, route, le)";
    let ratio =
        format!("{by} (label_replace(scoretap_baseline_value_ratio, \"le\", \"$1\", \"cell\", \"(.*)\"))");
    let counted = format!(
        "{by} (prediction_value_bucket{{le!=\"+Inf\"}}) / ignoring (le) group_left () sum by (model_name, route) (prediction_value_bucket{{le=\"+Inf\"}} > 0)"
    );
    prometheus.check(&format!("count(abs({ratio} - {counted}) < 1e-9)"), 63.0);
    prometheus.check(&format!("count({ratio})"), 63.0);
}

/// Each panel of Envoy AI Gateway's `examples/monitoring/grafana-dashboard.json`, and what it shows of the golden file.
const AI_GATEWAY: [(&str, &str, usize); 12] = [
    ("Total Requests", "sum(gen_ai_server_request_duration_seconds_count)", 1),
    ("Total Tokens", "sum(gen_ai_client_token_usage_sum{gen_ai_token_type=~\"input|output\"})", 1),
    (
        "P95 TTFT",
        "histogram_quantile(0.95, sum(rate(gen_ai_server_time_to_first_token_seconds_bucket[15m])) by (le))",
        1,
    ),
    (
        "P95 Request Duration",
        "histogram_quantile(0.95, sum(rate(gen_ai_server_request_duration_seconds_bucket[15m])) by (le))",
        1,
    ),
    // The types cached and reasoning are missing.
    ("Token Usage by Type", "sum by (gen_ai_token_type) (gen_ai_client_token_usage_sum)", 2),
    (
        "Request Duration Percentiles",
        "histogram_quantile(0.99, sum(rate(gen_ai_server_request_duration_seconds_bucket[1m])) by (le))",
        1,
    ),
    (
        "Time per Output Token",
        "histogram_quantile(0.95, sum(rate(gen_ai_server_time_per_output_token_seconds_bucket[1m])) by (le))",
        1,
    ),
    // The labels of the request's and the provider's model are missing, so all models share a row.
    (
        "Original Model vs Response Model",
        "sum by (gen_ai_original_model, gen_ai_response_model, gen_ai_provider_name) (gen_ai_server_request_duration_seconds_count)",
        1,
    ),
    ("Request Throughput", "sum(rate(gen_ai_server_request_duration_seconds_count[1m]))", 1),
    ("Token Consumption Rate", "sum by (gen_ai_token_type) (rate(gen_ai_client_token_usage_sum[1m]))", 2),
    (
        "Error Rate",
        "sum(gen_ai_server_request_duration_seconds_count{error_type!=\"\"}) / sum(gen_ai_server_request_duration_seconds_count)",
        1,
    ),
    (
        "Success Rate by Model",
        "1 - ((sum by (gen_ai_original_model) (gen_ai_server_request_duration_seconds_count{error_type!=\"\"})) or (sum by (gen_ai_original_model) (gen_ai_server_request_duration_seconds_count) * 0)) / sum by (gen_ai_original_model) (gen_ai_server_request_duration_seconds_count)",
        1,
    ),
];

#[test]
fn ai_gateways_dashboard_has_data_in_every_panel() {
    let made = made("exporter-ai-gateway", &["--dialect", "gen_ai"]);
    let prometheus = Prometheus::start("exporter-ai-gateway", &[("llm", made.exporter)], &[]);
    // A rate needs two scrapes.
    prometheus.wait_for("count_over_time(scoretap_up[1m]) > bool 2", 1.0);
    for (panel, expression, series) in AI_GATEWAY {
        assert_eq!(prometheus.query(expression).len(), series, "{panel}");
    }
    prometheus.check("sum(gen_ai_client_token_usage_sum)", 400.0);
    prometheus.check("sum(gen_ai_server_request_duration_seconds_count{error_type!=\"\"})", 2.0);
}
