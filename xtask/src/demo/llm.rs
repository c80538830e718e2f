//! `--llm`: llama.cpp's server with a tiny random model in place of the scorer.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use scoretap_tests::apps::Llama;
use scoretap_tests::bootstrap::Bootstrap;
use scoretap_tests::exposition::Exposition;
use scoretap_tests::http::Call;
use scoretap_tests::ports;
use scoretap_tests::stack::{Folders, Stack, Upstream};

use super::table::{buckets, milliseconds, push, quantile_of, totals};
use super::{APP, Demo, EXPORTER, LISTENER};

const QUANTILES: [f64; 2] = [0.5, 0.95];
const FINISH: [&str; 2] = ["stop", "length"];
const ENDS: [&str; 3] = ["complete", "cut_off", "abandoned"];

/// Starts the server, Envoy and the exporter.
pub(super) fn start() -> Result<Demo> {
    eprintln!("starting the LLM, Envoy and the exporter …");
    let logs = Folders::create("demo-llm")?.logs.clone();
    let llm = Llama::start(&logs, ports::preferred(APP))?;
    let stack = Stack::builder("demo")
        .upstream(Upstream::Http1(llm.address))
        .edit_cluster(Bootstrap::use_connections_once)
        .filter_config(r#"{"routes": [{"preset": "openai"}], "insight": {}}"#)
        .with_insight()
        .prefer_ports(LISTENER, EXPORTER)
        .exporter_args(&["--expect-route", "openai"])
        .exporter_env("MODEL_NAME", "tiny")
        .start()?;
    let address = stack.address;
    let introduction = format!(
        "The model is random, so its text is nonsense. Some callers leave, and some do not ask for a usage.\n\n\
         try   curl -d '{{\"model\": \"tiny\", \"messages\": [{{\"role\": \"user\", \"content\": \"hello\"}}], \
         \"max_tokens\": 20}}' http://{address}/v1/chat/completions\n"
    );
    Ok(Demo { stack, call, table, introduction, _llm: Some(llm) })
}

/// The `number`th call: streams with and without a usage, streams whose caller leaves, and answers in one piece.
fn call(number: usize) -> Call {
    let tokens = 10 + number * 7 % 60;
    let post = |more: &str, tokens: usize| {
        let messages = format!(r#"[{{"role": "user", "content": "question {number}"}}]"#);
        let body = format!(r#"{{"model": "tiny", "messages": {messages}, "max_tokens": {tokens}{more}}}"#);
        Call::post("/v1/chat/completions", body)
    };
    match number % 10 {
        0..5 => post(r#", "stream": true, "stream_options": {"include_usage": true}"#, tokens),
        5..7 => post(r#", "stream": true"#, tokens),
        7 => post(r#", "stream": true, "ignore_eos": true"#, 3000).abort_after(Duration::from_millis(80)),
        _ => post("", tokens),
    }
}

fn table(first: &Exposition, last: &Exposition, time: Duration) -> String {
    let models: BTreeSet<&str> = last
        .select("prediction_requests_total", &[])
        .filter_map(|(labels, _)| labels.get("model_name").map(String::as_str))
        .collect();
    let mut text = format!("{:<10}{:>8}{:>10}{:>10}", "model", "calls/s", "in tok/s", "out tok/s");
    push(&mut text, &format!("{:>10}{:>10}", "TTFT p50", "p95"));
    FINISH.iter().chain(&ENDS).for_each(|column| push(&mut text, &format!("{column:>11}")));
    push(&mut text, &format!("{:>11}{:>12}\n", "cancelled", "with usage"));
    for model in models {
        push(&mut text, &row(model, first, last, time));
    }
    push(&mut text, &format!("\n{}", totals(last)));
    text
}

fn row(model: &str, first: &Exposition, last: &Exposition, time: Duration) -> String {
    let model_label = ("model_name", model);
    let rate = |name: &str, labels: &[(&str, &str)]| {
        let labels = [&[model_label], labels].concat();
        (last.sum(name, &labels) - first.sum(name, &labels)) / time.as_secs_f64().max(1.0)
    };
    let total = |name: &str, label| last.sum(name, &[model_label, label]);
    let tokens = |kind| rate("prediction_tokens_total", &[("token_type", kind)]);
    let mut text = format!("{model:<10}{:>8.1}", rate("prediction_requests_total", &[]));
    push(&mut text, &format!("{:>10.0}{:>10.0}", tokens("input"), tokens("output")));
    let first_token = buckets("prediction_time_to_first_token_seconds_bucket", first, last, &[model_label]);
    for quantile in QUANTILES {
        push(&mut text, &format!("{:>10}", milliseconds(quantile_of(&first_token, quantile))));
    }
    let finish = FINISH.map(|reason| total("prediction_finish_total", ("reason", reason)));
    let ends = ENDS.map(|end| total("prediction_streams_total", ("end", end)));
    finish.iter().chain(&ends).for_each(|count| push(&mut text, &format!("{count:>11}")));
    let cancelled = total("prediction_requests_total", ("status", "cancelled"));
    push(&mut text, &format!("{cancelled:>11}{:>12}\n", coverage(last, model_label)));
    text
}

/// The share of answers that report their tokens.
fn coverage(scrape: &Exposition, model: (&str, &str)) -> String {
    let answers = scrape.sum("prediction_usage_total", &[model]);
    let reported = scrape.sum("prediction_usage_total", &[model, ("usage", "reported")]);
    if answers > 0.0 { format!("{:.0} %", 100.0 * reported / answers) } else { "-".to_owned() }
}
