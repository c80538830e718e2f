//! Random dialects are rejected with the place of each fault, or can be served.

use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use proptest::{collection, option, sample};
use scoretap_core::histogram::Histogram;
use scoretap_dialect::{Dialect, Dimension, Measure, merge};
use scoretap_exporter::cli::baseline::Baseline;
use scoretap_exporter::cli::labels::constants;
use scoretap_exporter::reading::decode::Decoder;
use scoretap_exporter::reading::identity::Identity;
use scoretap_exporter::render::encode::{Encoder, Format, Protobuf, Syntax, Text};
use scoretap_exporter::render::{RenderConfig, families};

use crate::cases;
use crate::files::check_faults;
use crate::formats::samples;
use crate::stats::lines;

/// A field that is usually present and usually valid.
fn field(key: &'static str, value: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    let wrong = one_of(vec!["~", "7", "[]", "{}", "nonsense", "!a b"]);
    let value = prop_oneof![30 => value, 1 => wrong];
    prop_oneof![30 => value.prop_map(move |value| format!("{key}: {value}, ")), 1 => Just(String::new())]
}

/// A field that is sometimes present.
fn optional(
    key: &'static str,
    value: impl Strategy<Value = String> + 'static,
) -> impl Strategy<Value = String> {
    option::weighted(0.4, field(key, value)).prop_map(Option::unwrap_or_default)
}

fn one_of(words: Vec<&'static str>) -> impl Strategy<Value = String> + Clone {
    sample::select(words).prop_map(str::to_owned)
}

fn list(items: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    collection::vec(items, 0..4).prop_map(|items| format!("[{}]", items.join(", ")))
}

fn label() -> impl Strategy<Value = String> {
    let values = one_of(Dimension::ALL.map(Dimension::as_str).to_vec());
    let value = prop_oneof![1 => values, 1 => one_of(vec!["status", "code", "code_class"])];
    value.prop_flat_map(|value| {
        let from = match &*value {
            "code" => vec!["\"200\"", "\"503\"", "2xx", "5xx"],
            "code_class" => vec!["2xx", "5xx", "\"0\""],
            _ => vec!["success", "failure", "cancelled", "timeout"],
        };
        let from = one_of(from);
        let pairs = collection::btree_map(from, one_of(vec!["good", "bad", "success"]), 0..4);
        let rename = pairs.prop_map(|pairs| {
            let pairs: Vec<String> = pairs.iter().map(|(from, to)| format!("{from}: {to}")).collect();
            format!("rename: {{{}}}, ", pairs.join(", "))
        });
        let codes = list(one_of(vec!["200", "500"])).prop_map(|codes| format!("from_the_start: {codes}, "));
        // Fields that such a label does not take are rejected.
        let often = |fits: bool| if fits { 0.7 } else { 0.02 };
        let rename = option::weighted(
            often(["status", "error_type", "code", "code_class"].contains(&&*value)),
            rename,
        );
        let codes = option::weighted(often(value.starts_with("code")), codes);
        let name = field("name", one_of(vec!["a", "b", "c", "status", "tenant", "env", "le", "1"]));
        (name, field("value", Just(value)), rename, codes).prop_map(|(name, value, rename, codes)| {
            format!("{{{name}{value}{}{}}}", rename.unwrap_or_default(), codes.unwrap_or_default())
        })
    })
}

fn family() -> impl Strategy<Value = String> {
    let measure = prop_oneof![
        3 => Just(Measure::Calls),
        3 => Just(Measure::Distribution(Histogram::Duration)),
        1 => sample::select(Measure::all()),
    ];
    let names = one_of(vec!["a", "b", "a_seconds", "a_seconds_count", "http"]);
    (measure, names, option::weighted(0.5, list(label()))).prop_flat_map(|(measure, name, labels)| {
        let labels = labels.map(|labels| format!("labels: {labels}, ")).unwrap_or_default();
        (
            field(
                "name",
                one_of(vec!["", "_total", "_info", "_seconds"])
                    .prop_map(move |suffix| format!("{name}{suffix}")),
            ),
            field("help", Just("\"A \\\"b\\\"\\nc\\\\\"".to_owned())),
            field("measure", Just(measure.as_str().to_owned())),
            optional("type", one_of(measure.kinds().iter().map(|kind| kind.as_str()).collect())),
            optional("unit", one_of(vec!["seconds", "milliseconds", "microseconds"])),
            optional("only", list(one_of(vec!["success", "failure", "cancelled"]))),
            optional("values", list(one_of(vec!["input", "output", "stop", "number"]))),
            optional("bounds_seconds", list(one_of(vec!["0.005", "1", "0.000000001", "1e300"]))),
        )
            .prop_map(move |(name, help, measure, kind, unit, only, values, bounds)| {
                let is_time = measure.contains("duration");
                let unit = if is_time { unit } else { String::new() };
                // Usually only histograms have bounds.
                let bounds = if is_time && !kind.contains("summary") && !kind.contains("counter") {
                    bounds
                } else {
                    String::new()
                };
                let values =
                    if measure.contains("token") || bounds.is_empty() { values } else { String::new() };
                format!("{{{name}{help}{measure}{kind}{unit}{only}{values}{bounds}{labels}}}")
            })
    })
}

fn dialects() -> impl Strategy<Value = String> {
    (field("dialect", Just("mine".to_owned())), field("families", list(family())))
        .prop_map(|(name, families)| format!("{{{name}{families}}}"))
}

fn exposition(config: &RenderConfig, lines: &[String], mut encoder: impl Encoder) -> Vec<u8> {
    let mut decoder = Decoder::new(&config.identity);
    for line in lines {
        decoder.line(line.trim_end_matches('\n')).unwrap();
    }
    families::write(config, &decoder.finish(&[]), &mut encoder);
    encoder.finish()
}

/// A dialect is rejected with its faults, or all formats serve the same series, each once.
fn check(text: &str, lines: &[String], tenant: Option<&str>, beside: &str) {
    let dialect = match Dialect::parse("mine.yaml", text) {
        Ok(dialect) => dialect,
        Err(faults) => return check_faults("mine.yaml", text, &faults),
    };
    let beside = Dialect::built_in(beside).unwrap().unwrap();
    let families = match merge(&[dialect, beside]) {
        Ok(families) => families,
        Err(faults) => return check_origin(&faults, &["--dialect: "]),
    };
    let constants = match constants(&["env=prod".to_owned()], tenant, &families) {
        Ok(constants) => constants,
        Err(faults) => return check_origin(&faults, &["--label \"env=prod\": ", "environment TENANT="]),
    };
    let config = RenderConfig {
        families,
        baseline: Baseline::default(),
        identity: Identity::default(),
        constants,
        created_samples: false,
        dialect_valid: None,
        baseline_valid: None,
    };
    let said = samples(Format::Text, &exposition(&config, lines, Text::new(Syntax::Prometheus, Vec::new())));
    let openmetrics = exposition(&config, lines, Text::new(Syntax::OpenMetrics, Vec::new()));
    assert_eq!(samples(Format::OpenMetrics, &openmetrics), said);
    let protobuf = exposition(&config, lines, Protobuf::new(Vec::new()));
    assert_eq!(samples(Format::Protobuf, &protobuf), said);
    for (_, labels) in said.keys() {
        let constant = |(name, value): &(String, String)| labels.get(name) == Some(value);
        assert!(config.constants.iter().all(constant), "{labels:?}");
    }
}

fn check_origin(faults: &[String], origins: &[&str]) {
    let has_one = |fault: &String| origins.iter().any(|origin| fault.starts_with(origin));
    assert!(!faults.is_empty() && faults.iter().all(has_one), "{faults:?}");
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn dialect_is_servable_or_rejected_with_places(
        text in dialects(),
        lines in lines(),
        tenant in option::of(Just("acme")),
        beside in sample::select(vec!["prediction", "fastapi"]),
    ) {
        check(&text, &lines, tenant, beside);
    }
}

#[test]
fn statuses_of_one_name_are_one_histogram() {
    let text = "{dialect: mine, families: [{name: a_seconds, help: A., measure: duration, labels: \
                [{name: status, value: status, rename: {failure: bad, cancelled: bad}}]}]}";
    let families = Dialect::parse("mine.yaml", text).unwrap().families;
    let config = RenderConfig {
        families,
        baseline: Baseline::default(),
        identity: Identity::default(),
        constants: Vec::new(),
        created_samples: false,
        dialect_valid: None,
        baseline_valid: None,
    };
    let line = |status| format!("wasmcustom.scoretap.cell.r.~.~.POST./r.duration.{status}.inf: 1\n");
    let lines = [line("failure"), line("cancelled"), line("success")];
    let text = exposition(&config, &lines, Text::new(Syntax::Prometheus, Vec::new()));
    let said = String::from_utf8(text.clone()).unwrap();
    assert!(said.contains("\na_seconds_count{status=\"bad\"} 2\n"), "{said}");
    samples(Format::Text, &text);
}
