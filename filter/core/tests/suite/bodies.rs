//! Calls whose bodies insight has read: outcomes, model names, and the counters of what was read.

use std::collections::BTreeSet;

use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::{collection, option, sample};
use scoretap_core::config::Config;
use scoretap_core::name::Stat;
use scoretap_core::observe::Observer;
use scoretap_core::outcome::flag;
use scoretap_scan::answer::{About, AnswerScanner};
use scoretap_scan::columns::{Column, Key};
use scoretap_scan::record::{Finding, Generation, Record, Rows, Scanned, Tokens};
use scoretap_scan::request::{self, RequestScanner};
use scoretap_scan::text::Text;

use scoretap_test_support::host::{Ended, Host};

const INSIGHT: &str = r#"{"insight": {}}"#;
/// Envoy's flags and details for the end of a call.
const CALLER_LEFT: (u64, &[u8]) = (flag::DC, b"downstream_remote_disconnect");
const APP_BROKE_OFF: (u64, &[u8]) =
    (flag::UPE, b"upstream_reset_after_response_started{connection_termination}");
pub(crate) const COMPLETE: (u64, &[u8]) = (0, b"via_upstream");

pub(crate) fn call(path: &str, (flags, details): (u64, &[u8]), record: Option<Record>) -> Ended {
    Ended {
        headers: vec![(":method", b"POST".to_vec()), (":path", path.into())],
        code: Some(200),
        flags,
        details: Some(details.to_vec()),
        record,
        ..Ended::default()
    }
}

/// An answer of JSON that insight has read whole.
fn answer(body: &str) -> Record {
    let about = About { content_type: b"application/json", most_bytes: 1 << 20, ..About::default() };
    let mut scanner = AnswerScanner::new(&about);
    scanner.feed(body.as_bytes(), 0);
    scanner.finish()
}

fn predicted(body: &str) -> Ended {
    call("/score", COMPLETE, Some(answer(body)))
}

fn named(asked: &str, answered: &str) -> Record {
    Record {
        scanned: Scanned::Whole,
        request_model: Text::from(asked.as_bytes()),
        model: Text::from(answered.as_bytes()),
        generation: Some(Generation::default()),
        ..Record::default()
    }
}

fn stream(is_ended: bool) -> Record {
    let generation = Generation { is_stream: true, is_ended, ..Generation::default() };
    Record { scanned: Scanned::Whole, generation: Some(generation), ..Record::default() }
}

/// The counters with this prefix, without it.
pub(crate) fn counters(host: &Host, prefix: &str) -> Vec<String> {
    let prefix = format!("scoretap.{prefix}.");
    let counted = host.statistics().into_iter();
    let counted =
        counted.filter_map(|(name, count)| Some(format!("{} {count}", name.strip_prefix(&prefix)?)));
    let mut counted: Vec<String> = counted.collect();
    counted.sort();
    counted
}

pub(crate) fn observed(configuration: &str, calls: &[Ended]) -> Host {
    let host = Host::default();
    let mut observer = Observer::new(Some(Config::parse(configuration.as_bytes()).unwrap()));
    calls.iter().for_each(|call| observer.observe(call, &host));
    host
}

#[track_caller]
fn check_outcome(configuration: &str, call: Ended, expected: &str) {
    let calls = counters(&observed(configuration, &[call]), "call");
    let [counted] = calls.as_slice() else { panic!("one counter of calls: {calls:?}") };
    assert_eq!(counted.rsplit('.').next().unwrap(), format!("{expected} 1"));
}

#[track_caller]
fn check_read(configuration: &str, calls: &[Ended], expected: &[&str]) {
    assert_eq!(counters(&observed(configuration, calls), "read"), expected);
}

#[test]
fn stream_is_cancelled_only_before_its_own_end() {
    let chat = |end, record| call("/v1/chat/completions", end, record);
    check_outcome(INSIGHT, chat(CALLER_LEFT, Some(stream(true))), "success");
    check_outcome(INSIGHT, chat(CALLER_LEFT, Some(stream(false))), "cancelled");
    check_outcome(INSIGHT, chat(CALLER_LEFT, None), "cancelled");
    check_outcome("{}", chat(CALLER_LEFT, Some(stream(true))), "cancelled");
    check_outcome(INSIGHT, chat(APP_BROKE_OFF, Some(stream(false))), "truncated");
    check_outcome(INSIGHT, chat(COMPLETE, Some(stream(true))), "success");
}

#[test]
fn error_event_fails_the_call_whoever_leaves() {
    for end in [COMPLETE, CALLER_LEFT] {
        let record = Record { error: Finding::Structured, ..stream(false) };
        check_outcome(INSIGHT, call("/v1/completions", end, Some(record)), "reported_error");
    }
}

#[test]
fn structured_error_in_2xx_is_a_failure() {
    let error = r#"{"error": "model not loaded"}"#;
    check_outcome(INSIGHT, predicted(error), "reported_error");
    check_outcome(r#"{"insight": {"error_bodies": "count"}}"#, predicted(error), "success");
    check_outcome("{}", predicted(error), "success");
    check_outcome(INSIGHT, predicted(r#"{"error": 0.12}"#), "success");
    check_outcome(INSIGHT, predicted(r#""Traceback (most recent call last): ...""#), "success");
    check_outcome(INSIGHT, Ended { code: Some(500), ..predicted(error) }, "model_error");
    let found = r#"{"insight": {}, "error_types": {"404": "success"}}"#;
    check_outcome(found, Ended { code: Some(404), ..predicted(error) }, "success");
}

#[test]
fn predictions_count_rows_kinds_cells_and_classes() {
    check_read(
        INSIGHT,
        &[predicted(r#"{"predictions": [1.5, 3, null, "cat", "cat", NaN, ""]}"#)],
        &[
            "score.~.~.class.3 1",
            "score.~.~.class.cat 2",
            "score.~.~.rows.3 1",
            "score.~.~.rows_sum 7",
            "score.~.~.scanned.whole 1",
            "score.~.~.value.45 1",
            "score.~.~.value.46 1",
            "score.~.~.values.empty 1",
            "score.~.~.values.nan 1",
            "score.~.~.values.null 1",
            "score.~.~.values.number 2",
            "score.~.~.values.string 2",
        ],
    );
}

#[test]
fn answers_without_2xx_are_not_counted() {
    check_read(INSIGHT, &[Ended { code: Some(500), ..predicted("[1]") }], &[]);
    check_read(INSIGHT, &[call("/other", COMPLETE, Some(answer("[1]")))], &[]);
    check_read("{}", &[predicted("[1]")], &[]);
    check_read(INSIGHT, &[call("/score", COMPLETE, None)], &[]);
}

#[test]
fn switched_off_parts_are_not_counted() {
    let body = r#"["a", 0.5]"#;
    let off = r#"{"insight": {"predictions": false, "llm": false}}"#;
    check_read(off, &[predicted(body)], &["score.~.~.scanned.whole 1"]);
    let chat = call("/v1/chat/completions", COMPLETE, Some(stream(true)));
    check_read(off, &[chat], &["openai.~.~.scanned.whole 1"]);
    let host = observed(r#"{"insight": {"classes": 0}}"#, &[predicted(body)]);
    assert!(!counters(&host, "read").iter().any(|counter| counter.contains("class")));
}

#[test]
fn repeats_are_equal_predictions_one_after_the_other() {
    let repeats = |bodies: &[&str]| {
        let calls: Vec<Ended> = bodies.iter().map(|body| predicted(body)).collect();
        let read = counters(&observed(INSIGHT, &calls), "read");
        read.iter().find_map(|counter| counter.strip_prefix("score.~.~.repeats ")?.parse().ok()).unwrap_or(0)
    };
    assert_eq!(repeats(&[r#"{"id": 1, "result": [3]}"#, r#"{"id": 2, "result": [3]}"#, "[3]"]), 2);
    assert_eq!(repeats(&["[1]", "[2]", "[1]"]), 0);
    assert_eq!(repeats(&["[]", "[]", r#"{"error": "x"}"#, r#"{"error": "x"}"#]), 0);
}

#[test]
fn errors_in_2xx_are_counted_without_rows() {
    check_read(
        INSIGHT,
        &[predicted(r#"{"error": "x"}"#)],
        &["score.~.~.errors 1", "score.~.~.scanned.whole 1"],
    );
}

#[test]
fn workers_share_the_limit_of_classes() {
    let configuration = r#"{"insight": {"classes": 3}}"#;
    let host = Host::default();
    for worker in 0..4 {
        let mut observer = Observer::new(Some(Config::parse(configuration.as_bytes()).unwrap()));
        for number in 0..10 {
            observer.observe(&predicted(&format!("[\"class {}\"]", number + worker)), &host);
        }
    }
    let read = counters(&host, "read");
    let classes: Vec<&String> = read.iter().filter(|counter| counter.contains(".class.")).collect();
    let expected = ["class.* 31", "class.class%200 1", "class.class%201 2", "class.class%202 3"]
        .map(|c| format!("score.~.~.{c}"));
    let sums: u64 = classes.iter().map(|c| c.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(sums, 40);
    assert_eq!(classes[1..], expected[1..].iter().collect::<Vec<_>>());
}

#[test]
fn llm_answers_count_tokens_times_and_ends() {
    let generation = Generation {
        is_stream: true,
        is_ended: true,
        tokens: Tokens { input: Some(20), output: Some(11), cached: Some(16), reasoning: None },
        content_events: 5,
        first_content: Some(30_000_000),
        last_content: Some(330_000_000),
        gaps: vec![(6, 4)],
        ..Generation::default()
    };
    let record = Record { generation: Some(generation), ..named("m", "m") };
    check_read(
        INSIGHT,
        &[call("/v1/chat/completions", COMPLETE, Some(record))],
        &[
            "openai.m.~.call_tokens.input.3 1",
            "openai.m.~.call_tokens.output.2 1",
            "openai.m.~.events 5",
            "openai.m.~.first_token.4 1",
            "openai.m.~.first_token_sum 30000000",
            "openai.m.~.gap.6 4",
            "openai.m.~.gap_sum 300000000",
            "openai.m.~.scanned.whole 1",
            "openai.m.~.stream.complete 1",
            "openai.m.~.token_time.2 1",
            "openai.m.~.token_time_sum 30000000",
            "openai.m.~.tokens.cached 16",
            "openai.m.~.tokens.input 20",
            "openai.m.~.tokens.output 11",
            "openai.m.~.usage.reported 1",
        ],
    );
}

#[test]
fn time_per_token_needs_usage_and_two_events() {
    let has_time = |output: Option<u64>, content_events: u64| {
        let tokens = Tokens { output, ..Tokens::default() };
        let (first_content, last_content) = (Some(1), Some(100));
        let generation = Generation {
            is_stream: true,
            tokens,
            content_events,
            first_content,
            last_content,
            ..Generation::default()
        };
        let record = Record { generation: Some(generation), ..named("", "") };
        let host = observed(INSIGHT, &[call("/v1/completions", COMPLETE, Some(record))]);
        counters(&host, "read").iter().any(|counter| counter.contains("token_time"))
    };
    assert!(has_time(Some(2), 2));
    for (output, events) in [(None, 2), (Some(0), 2), (Some(1), 2), (Some(2), 1)] {
        assert!(!has_time(output, events), "{output:?} {events}");
    }
}

#[test]
fn streams_end_complete_cut_off_or_abandoned() {
    let end = |end, is_ended| {
        let host = observed(INSIGHT, &[call("/v1/completions", end, Some(stream(is_ended)))]);
        let read = counters(&host, "read");
        assert!(read.contains(&"openai.~.~.usage.absent 1".to_owned()), "{read:?}");
        read.iter().find_map(|counter| Some(counter.strip_prefix("openai.~.~.stream.")?.to_owned())).unwrap()
    };
    assert_eq!(end(COMPLETE, true), "complete 1");
    assert_eq!(end(CALLER_LEFT, true), "complete 1");
    assert_eq!(end(COMPLETE, false), "complete 1");
    assert_eq!(end(CALLER_LEFT, false), "abandoned 1");
    assert_eq!(end(APP_BROKE_OFF, false), "cut_off 1");
}

#[test]
fn stream_with_an_error_is_cut_off() {
    for is_ended in [true, false] {
        let record = Record { error: Finding::Structured, ..stream(is_ended) };
        let host = observed(INSIGHT, &[call("/v1/completions", COMPLETE, Some(record))]);
        let read = counters(&host, "read");
        assert!(read.contains(&"openai.~.~.stream.cut_off 1".to_owned()), "{read:?}");
    }
}

#[test]
fn switched_off_routes_report_no_errors() {
    let predictions = r#"{"insight": {"predictions": false}}"#;
    let error = predicted(r#"{"error": "model not loaded"}"#);
    check_read(predictions, std::slice::from_ref(&error), &["score.~.~.scanned.whole 1"]);
    check_outcome(predictions, error, "success");
    let chat = call("/v1/completions", COMPLETE, Some(Record { error: Finding::Structured, ..stream(true) }));
    check_outcome(r#"{"insight": {"llm": false}}"#, chat, "success");
}

#[test]
fn name_that_another_worker_admitted_is_known() {
    let host = Host::default();
    let worker = || Observer::new(Some(Config::parse(INSIGHT.as_bytes()).unwrap()));
    let chat = |record| call("/v1/chat/completions", COMPLETE, Some(record));
    worker().observe(&chat(named("m", "m")), &host);
    for asked in ["m", "made-up"] {
        worker().observe(&Ended { code: Some(404), ..chat(named(asked, "")) }, &host);
    }
    let path = "POST./v1/chat/completions";
    let expected = [
        format!("openai.m.~.{path}.200.success 1"),
        format!("openai.m.~.{path}.404.not_found 1"),
        format!("openai.~.~.{path}.404.not_found 1"),
    ];
    assert_eq!(counters(&host, "call"), expected);
}

#[test]
fn absent_usage_is_counted_only_for_llms() {
    let unread = Record { scanned: Scanned::Compressed, ..Record::default() };
    let calls = ["/v1/chat/completions", "/score"].map(|path| call(path, COMPLETE, Some(unread.clone())));
    let expected =
        ["openai.~.~.scanned.compressed 1", "openai.~.~.usage.absent 1", "score.~.~.scanned.compressed 1"];
    check_read(INSIGHT, &calls, &expected);
}

#[test]
fn request_names_the_model_only_after_an_answer() {
    let chat = |record| call("/v1/chat/completions", COMPLETE, Some(record));
    let failed = |asked| Ended { code: Some(404), ..chat(named(asked, "")) };
    let host = observed(
        INSIGHT,
        &[failed("m"), chat(named("made-up", "m")), failed("m"), failed("made-up"), chat(named("", ""))],
    );
    let path = "POST./v1/chat/completions";
    let expected = [
        format!("openai.m.~.{path}.200.success 1"),
        format!("openai.m.~.{path}.404.not_found 1"),
        format!("openai.~.~.{path}.200.success 1"),
        format!("openai.~.~.{path}.404.not_found 2"),
    ];
    assert_eq!(counters(&host, "call"), expected);
    let cells = counters(&host, "cell");
    assert_eq!(cells.iter().filter(|cell| cell.starts_with("openai.m.~.")).count(), 2, "{cells:?}");
}

#[test]
fn grpc_answer_names_model_and_version() {
    let record = Record { version: Text::from(&b"3"[..]), ..named("iris", "iris") };
    let infer = call("/inference.GRPCInferenceService/ModelInfer", COMPLETE, Some(record));
    let host = observed(INSIGHT, &[infer]);
    assert!(counters(&host, "call")[0].starts_with("kserve-grpc.iris.3."), "{:?}", counters(&host, "call"));
}

#[test]
fn failed_call_counts_under_the_answered_version() {
    let versioned = |record: Record| Record { version: Text::from(&b"3"[..]), ..record };
    let infer = |record| call("/inference.GRPCInferenceService/ModelInfer", COMPLETE, Some(record));
    let failed = |call| Ended { code: Some(500), ..call };
    let elsewhere = call("/v1/chat/completions", COMPLETE, Some(named("iris", "")));
    let calls = [
        infer(versioned(named("iris", "iris"))),
        failed(infer(named("iris", ""))),
        infer(named("iris", "other")),
        failed(elsewhere),
    ];
    let host = observed(INSIGHT, &calls);
    let path = "POST./inference%2EGRPCInferenceService/ModelInfer";
    let expected = [
        format!("kserve-grpc.iris.3.{path}.200.success 1"),
        format!("kserve-grpc.iris.3.{path}.500.model_error 1"),
        format!("kserve-grpc.other.~.{path}.200.success 1"),
        "openai.~.~.POST./v1/chat/completions.500.model_error 1".to_owned(),
    ];
    assert_eq!(counters(&host, "call"), expected);
}

#[test]
fn echoed_names_get_twenty_series_across_workers() {
    let host = Host::default();
    for worker in 0..3 {
        let mut observer = Observer::new(Some(Config::parse(INSIGHT.as_bytes()).unwrap()));
        for number in 0..50 {
            let name = format!("{worker}-{number}");
            observer.observe(&call("/v1/completions", COMPLETE, Some(named(&name, &name))), &host);
        }
    }
    let calls = counters(&host, "call");
    assert_eq!(calls.len(), 21);
    assert!(calls.iter().any(|counter| counter.starts_with("openai.*.*.") && counter.ends_with(" 130")));
}

/// A request with these values of the column `age`, and an answer.
fn with_column(path: &str, values: &str) -> Ended {
    let columns = [Column { key: Key::Name("age".to_owned()), min: 0.0, max: 120.0 }];
    let about = request::About { most_bytes: 1 << 20, ..request::About::default() };
    let mut request = RequestScanner::new(&about, &columns);
    request.feed(format!("{{\"age\": {values}}}").as_bytes(), &columns);
    call(path, COMPLETE, Some(Record { columns: request.finish(&columns).columns, ..answer("[1]") }))
}

const COLUMN: &str = r#"{"insight": {"columns": [{"name": "age", "min": 0, "max": 120}]}}"#;

#[test]
fn columns_count_kinds_and_cells() {
    let host = observed(COLUMN, &[with_column("/score", "[30, null, 130, 30]")]);
    let counted: Vec<String> =
        counters(&host, "read").into_iter().filter(|counter| counter.contains("column")).collect();
    let expected = [
        "score.~.~.column.age.null 1",
        "score.~.~.column.age.number 2",
        "score.~.~.column.age.out_of_range 1",
        "score.~.~.column_value.age.49 2",
        "score.~.~.column_value.age.51 1",
    ];
    assert_eq!(counted, expected);
    for (name, _) in host.statistics() {
        assert!(Stat::decode(&name).is_some(), "{name}");
    }
}

#[test]
fn columns_are_counted_for_four_models() {
    let host = Host::default();
    let config = || Some(Config::parse(COLUMN.as_bytes()).unwrap());
    let mut workers = [Observer::new(config()), Observer::new(config())];
    for model in (0..6).chain(0..6) {
        let call = with_column(&format!("/v1/models/m{model}:predict"), "[1, 2]");
        workers.iter_mut().for_each(|worker| worker.observe(&call, &host));
    }
    let all = counters(&host, "read");
    let of = |part: &str| all.iter().filter(|counter| counter.contains(part)).cloned().collect::<Vec<_>>();
    // Each of the others has two calls of each worker with two values.
    assert_eq!(
        (of(".column.age.number 8").len(), of(".column.").len(), of(".cut 8").len()),
        (4, 4, 2),
        "{all:?}"
    );
}

fn rows() -> impl Strategy<Value = Rows> {
    let classes = collection::vec((collection::vec(any::<u8>(), 1..6), any::<u32>()), 0..20);
    let cells = collection::vec((0..64_u8, any::<u32>()), 0..9);
    (any::<u64>(), cells, classes, any::<u32>(), any::<u64>()).prop_map(
        |(rows, cells, classes, other_classes, fingerprint)| Rows {
            rows,
            cells,
            classes,
            other_classes,
            fingerprint,
            ..Rows::default()
        },
    )
}

fn generations() -> impl Strategy<Value = Generation> {
    let number = || option::of(prop_oneof![0..100_u64, any::<u64>()]);
    let tokens = (number(), number(), number(), number());
    let tokens =
        tokens.prop_map(|(input, output, cached, reasoning)| Tokens { input, output, cached, reasoning });
    (any::<(bool, bool)>(), tokens, any::<u64>(), number(), number()).prop_map(
        |((is_stream, is_ended), tokens, content_events, first_content, last_content)| Generation {
            is_stream,
            is_ended,
            tokens,
            content_events,
            first_content,
            last_content,
            ..Generation::default()
        },
    )
}

fn records() -> impl Strategy<Value = Record> {
    let name = || collection::vec(any::<u8>(), 0..4);
    let finding = sample::select(vec![Finding::Nothing, Finding::Mentioned, Finding::Structured]);
    let scanned = sample::select(Scanned::ALL.to_vec());
    (name(), name(), finding, scanned, option::of(rows()), option::of(generations())).prop_map(
        |(request_model, model, error, scanned, rows, generation)| Record {
            scanned,
            request_model: Text::from(&request_model[..]),
            model: Text::from(&model[..]),
            error,
            rows,
            generation,
            ..Record::default()
        },
    )
}

proptest! {
    #[test]
    fn any_record_keeps_calls_exact_and_series_bounded(records in collection::vec(records(), 1..60)) {
        let paths = ["/score", "/v1/completions"];
        let calls: Vec<Ended> = records
            .iter()
            .zip(paths.iter().cycle())
            .map(|(record, path)| call(path, CALLER_LEFT, Some(record.clone())))
            .collect();
        let host = observed(r#"{"insight": {"classes": 2}}"#, &calls);
        let ended = counters(&host, "call");
        let count = |counter: &String| counter.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
        assert_eq!(ended.iter().map(count).sum::<usize>(), calls.len());
        let all = counters(&host, "read");
        let classes = all.iter().filter(|counter| counter.starts_with("score.~.~.class."));
        assert!(classes.count() <= 3, "{all:?}");
        // Names of bodies, and for each route the pod's own series and `other`.
        let series: BTreeSet<String> = all.iter().map(|name| name.split('.').take(3).collect()).collect();
        assert!(series.len() <= 20 + 2 * 2, "{series:?}");
        for (name, _) in host.statistics() {
            assert!(Stat::decode(&name).is_some(), "{name}");
        }
    }
}
