//! Any statistics in any order yield an exposition that parsers accept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use clap::Parser;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{collection, option, sample};
use scoretap_core::histogram::{Cell, Histogram, NativeBucket};
use scoretap_core::name::{ENVOY_PREFIX, Ended, Endpoint, Model, Series, Stat};
use scoretap_core::outcome::{Outcome, Status};
use scoretap_core::reading::{Reading, Spread, StreamEnd, Summed, TokenType, Usage};
use scoretap_exporter::cli::args::Args;
use scoretap_exporter::cli::config::Config;
use scoretap_exporter::envoy::errors::ScrapeErrors;
use scoretap_exporter::reading::decode::Decoder;
use scoretap_exporter::render::encode::Format;
use scoretap_exporter::render::exposition;
use scoretap_exporter::render::self_metrics::SelfState;
use scoretap_scan::record::{Finish, Kind, Scanned};
use scoretap_web::counts::Counts;

use crate::cases;
use crate::formats::{Samples, samples};

/// A Scoretap statistic, as Envoy writes it.
pub(crate) fn line(name: &str, value: u64) -> String {
    format!("{ENVOY_PREFIX}{name}: {value}\n")
}

fn words() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![
        6 => sample::select(vec!["a", "b", "", "unknown", "other"]).prop_map(Cow::Borrowed),
        1 => (60..200_usize).prop_map(|length| Cow::Owned("m".repeat(length))),
        2 => any::<String>().prop_map(Cow::Owned),
    ]
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, Just(u64::MAX), Just(u64::MAX - 1), any::<u64>(), 1..2_000_000_000_u64]
}

fn series() -> impl Strategy<Value = Series<'static>> {
    let named = (option::of(words()), option::of(words()))
        .prop_map(|(model, version)| Model::Named { model, version });
    let model = prop_oneof![4 => named, 1 => Just(Model::Other)];
    (words(), model).prop_map(|(route, model)| Series { route, model })
}

fn cells() -> impl Strategy<Value = Cell> {
    let native = prop_oneof![Just(NativeBucket::Zero), any::<i16>().prop_map(NativeBucket::Index)];
    (option::of(numbers()), option::of(native)).prop_map(|(le, native)| Cell { le, native })
}

fn readings() -> impl Strategy<Value = Reading<'static>> {
    let cell = sample::select(Spread::ALL.to_vec()).prop_flat_map(|spread| {
        let last = u8::try_from(spread.bounds().count()).unwrap();
        (0..=last).prop_map(move |cell| Reading::Cell(spread, cell))
    });
    prop_oneof![
        6 => cell,
        2 => sample::select(Summed::ALL.to_vec()).prop_map(Reading::Sum),
        2 => sample::select(Kind::ALL.to_vec()).prop_map(Reading::Values),
        2 => option::of(words()).prop_map(Reading::Class),
        3 => sample::select(vec![Reading::Repeats, Reading::Errors, Reading::Events, Reading::Cut]),
        2 => sample::select(TokenType::ALL.to_vec()).prop_map(Reading::Tokens),
        1 => sample::select(Finish::ALL.to_vec()).prop_map(Reading::Finish),
        1 => sample::select(Usage::ALL.to_vec()).prop_map(Reading::Usage),
        1 => sample::select(StreamEnd::ALL.to_vec()).prop_map(Reading::Stream),
        1 => sample::select(Scanned::ALL.to_vec()).prop_map(Reading::Scanned),
    ]
}

pub(crate) fn stats() -> impl Strategy<Value = Stat<'static>> {
    let endpoint = (words(), words()).prop_map(|(method, template)| Endpoint { method, template });
    let histogram = sample::select(Histogram::ALL.to_vec());
    let code = prop_oneof![3 => sample::select(vec![0, 200, 404, 503]), 1 => any::<u16>()];
    let ended = (sample::select(Status::ALL.to_vec()), option::weighted(0.3, code.clone()));
    let ended = ended.prop_map(|(status, code)| Ended { status, code });
    let of = (series(), endpoint, histogram.clone(), ended).boxed();
    let outcome = sample::select(Outcome::ALL.to_vec());
    prop_oneof![
        4 => (of.clone(), code, outcome).prop_map(|((series, endpoint, _, _), code, outcome)| {
            Stat::Call { series, endpoint, code, outcome }
        }),
        4 => (of.clone(), cells()).prop_map(|((series, endpoint, histogram, ended), cell)| {
            Stat::Cell { series, endpoint, histogram, ended, cell }
        }),
        2 => of.prop_map(|(series, endpoint, histogram, ended)| Stat::Sum { series, endpoint, histogram, ended }),
        1 => (histogram, collection::vec(numbers(), 1..6)).prop_map(|(histogram, bounds)| {
            Stat::Bounds { histogram, bounds: Cow::Owned(bounds) }
        }),
        4 => (series(), readings()).prop_map(|(series, reading)| Stat::Read { series, reading }),
        1 => Just(Stat::InsightSeen),
        1 => Just(Stat::InsightLost),
        1 => Just(Stat::Unmatched),
        1 => Just(Stat::Config),
    ]
}

/// Envoy prints each name once.
pub(crate) fn lines() -> impl Strategy<Value = Vec<String>> {
    let ours = stats().prop_map(|stat| {
        let mut name = String::new();
        stat.encode(&mut name);
        name
    });
    let ours = collection::btree_map(ours, numbers(), 0..30);
    let names = vec![
        "http.inbound.downstream_rq_total",
        "http.inbound.downstream_rq_active",
        "http.inbound.user_agent.x.downstream_rq_total",
        "cluster.app.upstream_rq_active",
        "wasm.scoretap.vm_reload_success",
        "wasm.scoretap.vm_reload_nonsense",
        "wasmcustom.scoretap.of.another.version",
        "anything: at all",
    ];
    let envoys = collection::btree_map(sample::select(names), numbers(), 0..6);
    (ours, envoys).prop_map(|(ours, envoys): (BTreeMap<_, _>, BTreeMap<_, _>)| {
        let envoys = envoys.into_iter().map(|(name, value)| format!("{name}: {value}\n"));
        ours.into_iter().map(|(name, value)| line(&name, value)).chain(envoys).collect()
    })
}

fn rendered(config: &Config, lines: &[String], format: Format) -> Vec<u8> {
    let mut decoder = Decoder::new(config.identity());
    for line in lines {
        decoder.line(line.trim_end_matches('\n')).unwrap();
    }
    let reading = decoder.finish(config.expected_routes());
    exposition(
        config.render(),
        Some(&reading),
        &SelfState {
            took: Duration::ZERO,
            errors: &ScrapeErrors::default(),
            requests: &Counts::default(),
            resources: None,
        },
        format,
        Vec::new(),
    )
}

/// Checks that buckets are cumulative, and that the +Inf bucket is the count.
fn check_histograms(samples: &Samples) {
    let mut histograms: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), value) in samples {
        let Some(family) = name.strip_suffix("_bucket") else { continue };
        let mut labels = labels.clone();
        let le: f64 = labels.remove("le").unwrap().parse().unwrap();
        histograms.entry((format!("{family}_count"), labels)).or_default().push((le, *value));
    }
    for (count, mut buckets) in histograms {
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        assert!(buckets.is_sorted_by_key(|(_, value)| *value), "{count:?}: {buckets:?}");
        let (last, total) = buckets.last().unwrap();
        let counted = samples.get(&count).unwrap_or(total);
        assert_eq!((*last, total), (f64::INFINITY, counted), "{count:?}");
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn any_statistics_yield_parsable_expositions(
        (lines, shuffled) in lines().prop_flat_map(|lines| (Just(lines.clone()), Just(lines).prop_shuffle())),
        dialect in sample::select(vec!["prediction", "model", "fastapi,mlflow", "api", "gen_ai", "vllm,prediction", "inference_objective"]),
    ) {
        let args = Args::parse_from(["exporter", "--dialect", dialect, "--label", "a=\"\n\\", "--expect-route", "b"]);
        let config = Config::new(&args, |_| None).unwrap();
        let text = rendered(&config, &lines, Format::Text);
        let said = samples(Format::Text, &text);
        check_histograms(&said);
        for format in Format::ALL {
            assert_eq!(samples(format, &rendered(&config, &shuffled, format)), said, "{format:?}");
        }
        assert_eq!(rendered(&config, &shuffled, Format::Text), text);
    }

    #[test]
    fn line_with_whole_number_is_a_statistic(
        line in ".{0,60}", value in "(: {0,2}\\+?[0-9]{0,21} ?)?",
    ) {
        let line = format!("{line}{value}");
        let number = line.rsplit_once(": ").map(|(_, value)| value);
        let is_number = number.is_some_and(|digits| {
            let digits = digits.strip_prefix('+').unwrap_or(digits);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u64>().is_ok()
        });
        let config = Config::new(&Args::parse_from(["exporter"]), |_| None).unwrap();
        assert_eq!(Decoder::new(config.identity()).line(&line).is_ok(), is_number, "{line:?}");
    }
}
