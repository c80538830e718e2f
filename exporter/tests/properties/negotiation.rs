//! The format that a scraper gets, compared with its `Accept` header: every range against every format.

use std::time::Duration;

use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::{collection, option, sample};
use scoretap_exporter::http::negotiate::{negotiate, wants_gzip};
use scoretap_exporter::http::scrape::limit;
use scoretap_exporter::render::encode::Format;

use crate::cases;

/// A range and its text.
#[derive(Clone, Debug)]
struct Range {
    kind: &'static str,
    subtype: &'static str,
    parameter: Option<(&'static str, &'static str)>,
    /// In thousandths; 1000 by default.
    q: Option<u16>,
    spaces: bool,
}

impl Range {
    fn written(&self) -> String {
        let end = if self.spaces { " ; " } else { ";" };
        let parameter =
            self.parameter.map(|(name, value)| format!("{end}{name}={value}")).unwrap_or_default();
        let q = self.q.map(|q| format!("{end}q={}.{:03}", q / 1000, q % 1000)).unwrap_or_default();
        format!("{}/{}{parameter}{q}", self.kind, self.subtype)
    }

    fn matches(&self, format: Format) -> bool {
        let (kind, subtype, parameters): (_, _, &[_]) = match format {
            Format::Text => ("text", "plain", &[("version", "0.0.4")]),
            Format::OpenMetrics => ("application", "openmetrics-text", &[("version", "1.0.0")]),
            Format::Protobuf => (
                "application",
                "vnd.google.protobuf",
                &[("proto", "io.prometheus.client.MetricFamily"), ("encoding", "delimited")],
            ),
        };
        // Other parameters do not matter.
        let known = |name: &str| ["version", "proto", "encoding"].contains(&name);
        [kind, "*"].contains(&self.kind)
            && [subtype, "*"].contains(&self.subtype)
            && self.parameter.is_none_or(|(name, value)| !known(name) || parameters.contains(&(name, value)))
    }
}

/// The quality of the most specific range that matches: <https://www.rfc-editor.org/rfc/rfc9110#name-accept>.
fn quality(ranges: &[Range], format: Format) -> Option<u16> {
    let specificity = |range: &Range| match (range.kind, range.subtype) {
        ("*", _) => 0,
        (_, "*") => 1,
        _ => 2 + usize::from(range.parameter.is_some_and(|(name, _)| ["version", "proto"].contains(&name))),
    };
    let matching = || ranges.iter().filter(|range| range.matches(format));
    let most = matching().map(specificity).max()?;
    matching().filter(|range| specificity(range) == most).map(|range| range.q.unwrap_or(1000)).max()
}

fn ranges() -> impl Strategy<Value = Vec<Range>> {
    let types = vec![
        ("text", "plain"),
        ("application", "openmetrics-text"),
        ("application", "vnd.google.protobuf"),
        ("application", "*"),
        ("text", "*"),
        ("*", "*"),
        ("text", "html"),
    ];
    let parameters = vec![
        ("version", "0.0.4"),
        ("version", "1.0.0"),
        ("version", "2.0.0"),
        ("proto", "io.prometheus.client.MetricFamily"),
        ("proto", "other"),
        ("encoding", "delimited"),
        ("encoding", "text"),
        ("escaping", "allow-utf-8"),
    ];
    let q = sample::select(vec![0, 1, 100, 500, 999, 1000]);
    let range = (
        sample::select(types),
        option::weighted(0.4, sample::select(parameters)),
        option::of(q),
        any::<bool>(),
    );
    let range = range.prop_map(|((kind, subtype), parameter, q, spaces)| Range {
        kind,
        subtype,
        parameter,
        q,
        spaces,
    });
    collection::vec(range, 0..6)
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn scraper_gets_its_preferred_format(ranges in ranges()) {
        let header = ranges.iter().map(Range::written).collect::<Vec<_>>().join(", ");
        let given = negotiate(Some(&header));
        let liked = |format| quality(&ranges, format).unwrap_or(0);
        let most = Format::ALL.into_iter().map(liked).max().unwrap_or(0);
        // A scraper that accepts no known format gets text.
        assert!(if most == 0 { given == Format::Text } else { liked(given) == most }, "{header}: {given:?}");
    }

    #[test]
    fn invalid_accept_header_is_ignored(header in prop_oneof![any::<String>(), "[a-z/*;=,.q0-9 ]{0,40}"]) {
        let (format, _) = (negotiate(Some(&header)), wants_gzip(Some(&header)));
        if !header.contains('/') {
            assert_eq!(format, Format::Text, "{header}");
        }
    }

    #[test]
    fn read_ends_before_the_scrape_timeout(
        header in "[0-9]{1,30}|[0-9]{1,3}\\.[0-9]{1,9}|-?[0-9]{1,3}e-?[0-9]{1,3}|inf|NaN|[a-z ]{0,3}",
    ) {
        let limit = limit(Some(&header));
        let wanted = header.parse().ok().filter(|seconds: &f64| *seconds > 0.0).unwrap_or(10.0);
        // No read gets less than half a second.
        let is_short = limit.as_secs_f64() <= wanted.max(0.5);
        assert!(is_short && limit < Duration::from_secs(120), "{header}: {limit:?}");
    }

    #[test]
    fn gzip_is_sent_only_if_preferred(
        codings in collection::vec((sample::select(vec!["gzip", "identity", "br", "*"]), 0..4_u16), 0..4),
    ) {
        let header: Vec<String> = codings.iter().map(|(name, q)| format!("{name};q=0.{q}")).collect();
        let said = |name: &str| codings.iter().find(|(coding, _)| *coding == name).map(|(_, q)| *q);
        let gzip = said("gzip").or(said("*")).unwrap_or(0);
        let expected = gzip > 0 && said("identity").is_none_or(|identity| identity <= gzip);
        assert_eq!(wants_gzip(Some(&header.join(","))), expected, "{header:?}");
    }
}
