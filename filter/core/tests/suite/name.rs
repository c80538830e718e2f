use std::borrow::Cow;

use scoretap_core::histogram::{Cell, Histogram, NativeBucket};
use scoretap_core::name::{Ended, Endpoint, Model, Series, Stat};
use scoretap_core::outcome::{Outcome, Status};
use scoretap_core::reading::{Reading, Spread, StreamEnd, Summed, TokenType, Usage};
use scoretap_scan::record::{Finish, Kind, Scanned};

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn series<'a>(route: &'a str, model: Option<&'a str>, version: Option<&'a str>) -> Series<'a> {
    let model = Model::Named { model: model.map(Cow::Borrowed), version: version.map(Cow::Borrowed) };
    Series { route: Cow::Borrowed(route), model }
}

fn endpoint(template: &str) -> Endpoint<'_> {
    Endpoint { method: Cow::Borrowed("POST"), template: Cow::Borrowed(template) }
}

fn call<'a>(series: Series<'a>, template: &'a str) -> Stat<'a> {
    Stat::Call { series, endpoint: endpoint(template), code: 200, outcome: Outcome::Success }
}

fn encoded(stat: &Stat<'_>) -> String {
    let mut name = String::new();
    stat.encode(&mut name);
    name
}

#[track_caller]
fn check(stat: &Stat<'_>, name: &str) {
    assert_eq!(encoded(stat), name);
    assert_eq!(Stat::decode(name).as_ref(), Some(stat));
}

#[test]
fn each_statistic_round_trips() {
    let of = || series("score", Some("iris"), Some("3"));
    let histogram = Histogram::Duration;
    let ended = Ended::from(Status::Failure);
    let cell = |le, native| Stat::Cell {
        series: of(),
        endpoint: endpoint("/v1/{model}:go"),
        histogram,
        ended,
        cell: Cell { le, native },
    };
    check(&call(of(), "/r"), "scoretap.call.score.iris.3.POST./r.200.success");
    check(&cell(Some(5), None), "scoretap.cell.score.iris.3.POST./v1/{model}%3Ago.duration.failure.5");
    check(&cell(None, None), "scoretap.cell.score.iris.3.POST./v1/{model}%3Ago.duration.failure.inf");
    check(
        &cell(None, Some(NativeBucket::Index(-64))),
        "scoretap.cell.score.iris.3.POST./v1/{model}%3Ago.duration.failure.inf.-64",
    );
    check(
        &cell(Some(5), Some(NativeBucket::Zero)),
        "scoretap.cell.score.iris.3.POST./v1/{model}%3Ago.duration.failure.5.zero",
    );
    check(
        &Stat::Sum { series: of(), endpoint: endpoint("/r"), histogram, ended },
        "scoretap.sum.score.iris.3.POST./r.duration.failure",
    );
    let ended = Ended { code: Some(503), ..ended };
    check(
        &Stat::Sum { series: of(), endpoint: endpoint("/r"), histogram, ended },
        "scoretap.sum.score.iris.3.POST./r.duration.failure-503",
    );
    check(&Stat::InsightSeen, "scoretap.insight_seen");
    check(&Stat::InsightLost, "scoretap.insight_lost");
    check(&Stat::Unmatched, "scoretap.unmatched");
    check(&Stat::Config, "scoretap.config");
    let bounds = Cow::Borrowed(&[1, 20, u64::MAX][..]);
    check(&Stat::Bounds { histogram, bounds }, "scoretap.bounds.duration.1_20_18446744073709551615");
}

#[test]
fn each_reading_round_trips() {
    let check = |reading: Reading<'static>, name: &str| {
        let stat = Stat::Read { series: series("r", Some("m"), None), reading };
        check(&stat, &format!("scoretap.read.r.m.~.{name}"));
    };
    for spread in Spread::ALL {
        for cell in 0..=u8::try_from(spread.bounds().count()).unwrap() {
            check(Reading::Cell(spread, cell), &format!("{}.{cell}", spread.as_str()));
        }
    }
    check(Reading::Cell(Spread::OutputTokens, 3), "call_tokens.output.3");
    for summed in Summed::ALL {
        check(Reading::Sum(summed), summed.as_str());
    }
    for kind in Kind::ALL {
        check(Reading::Values(kind), &format!("values.{}", kind.as_str()));
    }
    for token_type in TokenType::ALL {
        check(Reading::Tokens(token_type), &format!("tokens.{}", token_type.as_str()));
    }
    for reason in Finish::ALL {
        check(Reading::Finish(reason), &format!("finish.{}", reason.as_str()));
    }
    for usage in Usage::ALL {
        check(Reading::Usage(usage), &format!("usage.{}", usage.as_str()));
    }
    for end in StreamEnd::ALL {
        check(Reading::Stream(end), &format!("stream.{}", end.as_str()));
    }
    for scanned in Scanned::ALL {
        check(Reading::Scanned(scanned), &format!("scanned.{}", scanned.as_str()));
    }
    for (name, class) in [("cat", "cat"), ("%2A", "*"), ("a%20b%2Ec", "a b.c"), ("%", "")] {
        check(Reading::Class(Some(Cow::Borrowed(class))), &format!("class.{name}"));
    }
    check(Reading::Class(None), "class.*");
    check(Reading::Repeats, "repeats");
    check(Reading::Errors, "errors");
    check(Reading::Events, "events");
    check(Reading::Cut, "cut");
}

#[test]
fn absent_empty_and_other_differ() {
    check(&call(series("r", None, None), "/r"), "scoretap.call.r.~.~.POST./r.200.success");
    check(&call(series("r", Some(""), None), "/r"), "scoretap.call.r.%.~.POST./r.200.success");
    check(&call(series("r", Some("~"), Some("*")), "/r"), "scoretap.call.r.%7E.%2A.POST./r.200.success");
    check(&call(series("r", Some("other"), None), "/r"), "scoretap.call.r.other.~.POST./r.200.success");
    let other = Series { route: Cow::Borrowed("r"), model: Model::Other };
    check(&call(other, "/r"), "scoretap.call.r.*.*.POST./r.200.success");
}

#[test]
fn names_escape_separators_and_line_ends() {
    let hostile = "a.b: 7\nscoretap.unmatched: 9\0\"\\%41{}é\u{2028}";
    let name = encoded(&call(series(hostile, Some(hostile), Some(hostile)), hostile));
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.%/{}".contains(&byte)), "{name}");
    assert_eq!(name.split('.').count(), 9);
    assert_eq!(Stat::decode(&name), Some(call(series(hostile, Some(hostile), Some(hostile)), hostile)));
}

#[test]
fn rejects_names_that_encoding_never_writes() {
    let foreign = [
        "",
        "scoretap",
        "scoretap.",
        "scoretap.call",
        "scoretap.unmatched.",
        "scoretap.unmatched.x",
        "scoretap.call.r.~.~.POST./r.200",
        "scoretap.call.r.~.~.POST./r.200.success.",
        "scoretap.call.r.~.~.POST./r.200.Success",
        "scoretap.call.r.~.~.POST./r.0200.success",
        "scoretap.call.r.~.~.POST./r.+200.success",
        "scoretap.call.r.~.~.POST./r.70000.success",
        "scoretap.call.r.*.~.POST./r.200.success",
        "scoretap.call.r.~.*.POST./r.200.success",
        "scoretap.call.r.~.~.POST.200.success",
        "scoretap.call.r.~.~..200.success",
        "scoretap.call..~.~.POST./r.200.success",
        "scoretap.call.r.%41.~.POST./r.200.success",
        "scoretap.call.r.%2a.~.POST./r.200.success",
        "scoretap.call.r.%2.~.POST./r.200.success",
        "scoretap.call.r.%FF.~.POST./r.200.success",
        "scoretap.call.r.%%.~.POST./r.200.success",
        "scoretap.call.r.a b.~.POST./r.200.success",
        "scoretap.call.r.é.~.POST./r.200.success",
        "scoretap.cell.r.~.~.POST./r.duration.success",
        "scoretap.cell.r.~.~.POST./r.duration.success.",
        "scoretap.cell.r.~.~.POST./r.duration.success.Inf",
        "scoretap.cell.r.~.~.POST./r.duration.success.-5",
        "scoretap.cell.r.~.~.POST./r.duration.success.5.99999",
        "scoretap.cell.r.~.~.POST./r.duration.success.5.-0",
        "scoretap.cell.r.~.~.POST./r.duration.success.5.zero.1",
        "scoretap.sum.r.~.~.POST./r.seconds.success",
        "scoretap.sum.r.~.~.POST./r.duration.success-",
        "scoretap.sum.r.~.~.POST./r.duration.success-0200",
        "scoretap.read.r.~.~",
        "scoretap.read.r.~.~.",
        "scoretap.read.r.~.~.row.1",
        "scoretap.read.r.~.~.rows",
        "scoretap.read.r.~.~.rows.18",
        "scoretap.read.r.~.~.rows.01",
        "scoretap.read.r.~.~.rows.1.1",
        "scoretap.read.r.~.~.value_sum",
        "scoretap.read.r.~.~.value.64",
        "scoretap.read.r.~.~.values.object",
        "scoretap.read.r.~.~.class",
        "scoretap.read.r.~.~.class.%41",
        "scoretap.read.r.~.~.repeats.1",
        "scoretap.read.r.~.~.call_tokens.cached.1",
        "scoretap.read.r.~.~.call_tokens.input",
        "scoretap.insight_seen.1",
        "scoretap.bounds.duration.",
        "scoretap.bounds.duration.1__2",
        "Scoretap.unmatched",
        "wasmcustom.scoretap.unmatched",
    ];
    for name in foreign {
        assert_eq!(Stat::decode(name), None, "{name}");
    }
}

/// Random strings, and names that are nearly ours: not in Node, where the generator has no source of chance.
#[cfg(not(target_family = "wasm"))]
mod properties {
    use super::{Cow, Model, Series, Stat, call, encoded};
    use proptest::prelude::{any, prop_oneof};
    use proptest::strategy::{Just, Strategy};
    use proptest::{option, proptest};

    fn models() -> impl Strategy<Value = Model<'static>> {
        let named =
            (option::of(any::<String>()), option::of(any::<String>())).prop_map(|(model, version)| {
                Model::Named { model: model.map(Cow::Owned), version: version.map(Cow::Owned) }
            });
        prop_oneof![9 => named, 1 => Just(Model::Other)]
    }

    proptest! {
        #[test]
        fn any_string_round_trips(route in any::<String>(), model in models(), template in any::<String>()) {
            let stat = call(Series { route: Cow::Owned(route), model }, &template);
            let name = encoded(&stat);
            assert_eq!(Stat::decode(&name), Some(stat));
        }

        #[test]
        fn decoded_names_encode_to_themselves(
            name in "scoretap\\.(call|cell|sum|bounds|read)\
                (\\.([a-z~*%/]|%[0-9A-Fa-f]{2}|[+-]?[0-9]{0,3}|success|duration|inf|zero|class|rows|repeats)){1,8}"
        ) {
            if let Some(stat) = Stat::decode(&name) {
                assert_eq!(encoded(&stat), name);
            }
        }

        #[test]
        fn numbers_decode_only_in_canonical_form(text in "[+-]?[0-9]{0,6}|[0-9]{18,21}|-?[0 ]{0,2}[0-9]") {
            let decoded = |name: String| Stat::decode(&name).is_some();
            let cell =
                |le: &str, native: &str| decoded(format!("scoretap.cell.r.~.~.POST./r.duration.success.{le}{native}"));
            let call = decoded(format!("scoretap.call.r.~.~.POST./r.{text}.success"));
            assert_eq!(call, text.parse::<u16>().is_ok_and(|number| number.to_string() == text));
            assert_eq!(cell(&text, ""), text.parse::<u64>().is_ok_and(|number| number.to_string() == text));
            let native = text.parse::<i16>().is_ok_and(|number| number.to_string() == text);
            assert_eq!(cell("5", &format!(".{text}")), native);
        }
    }
}
