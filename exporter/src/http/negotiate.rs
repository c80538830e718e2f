//! Content negotiation: the format and the compression of an exposition.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110#name-accept>. A scraper that accepts none of the formats gets text, as from
//! other exporters.

use crate::render::encode::Format;

/// The format that `accept` prefers. Among equals, the first one wins.
pub fn negotiate(accept: Option<&str>) -> Format {
    let ranges: Vec<Range<'_>> =
        accept.unwrap_or_default().split(',').enumerate().filter_map(Range::parse).collect();
    let mut best: Option<(Format, &Range<'_>)> = None;
    for format in Format::ALL {
        let Some(range) = preference(&ranges, format) else { continue };
        if best.is_none_or(|(_, so_far)| (so_far.q, range.position) < (range.q, so_far.position)) {
            best = Some((format, range));
        }
    }
    best.map_or(Format::Text, |(format, _)| format)
}

/// Whether this `Accept-Encoding` header prefers gzip, or accepts it as much as no compression.
pub fn wants_gzip(accept_encoding: Option<&str>) -> bool {
    let codings = accept_encoding.unwrap_or_default().split(',').filter_map(coding);
    let codings: Vec<(&str, u16)> = codings.collect();
    let of =
        |name: &str| codings.iter().find(|(coding, _)| coding.eq_ignore_ascii_case(name)).map(|(_, q)| *q);
    let gzip = of("gzip").or(of("x-gzip")).or(of("*")).unwrap_or(0);
    gzip > 0 && of("identity").is_none_or(|identity| gzip >= identity)
}

fn coding(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next()?;
    let q = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    Some((name, q.map_or(Some(1000), quality)?))
}

/// The quality of a format: that of the most specific matching range, or `None` if that range rejects it.
fn preference<'r, 'h>(ranges: &'r [Range<'h>], format: Format) -> Option<&'r Range<'h>> {
    let matching = ranges.iter().filter(|range| range.matches(format));
    let best = matching.max_by_key(|range| (range.specificity(), range.q, std::cmp::Reverse(range.position)));
    best.filter(|range| range.q > 0)
}

/// One entry of the header.
struct Range<'h> {
    position: usize,
    kind: &'h str,
    subtype: &'h str,
    version: Option<&'h str>,
    /// For protobuf: the message and its encoding.
    message: Option<&'h str>,
    encoding: Option<&'h str>,
    /// In thousandths.
    q: u16,
}

impl<'h> Range<'h> {
    /// `None` if the entry is not a media range, or has a parameter that no format matches.
    fn parse((position, text): (usize, &'h str)) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range =
            Self { position, kind, subtype, version: None, message: None, encoding: None, q: 1000 };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("q") {
                range.q = quality(value)?;
            } else if name.trim().eq_ignore_ascii_case("version") {
                range.version = Some(value);
            } else if name.trim().eq_ignore_ascii_case("proto") {
                range.message = Some(value);
            } else if name.trim().eq_ignore_ascii_case("encoding") {
                range.encoding = Some(value);
            }
        }
        Some(range)
    }

    fn matches(&self, format: Format) -> bool {
        let (kind, subtype, version) = match format {
            Format::Text => ("text", "plain", Some("0.0.4")),
            Format::OpenMetrics => ("application", "openmetrics-text", Some("1.0.0")),
            Format::Protobuf => ("application", "vnd.google.protobuf", None),
        };
        let (message, encoding) = match format {
            Format::Text | Format::OpenMetrics => (None, None),
            Format::Protobuf => (Some("io.prometheus.client.MetricFamily"), Some("delimited")),
        };
        let fits = |asked: Option<&str>, have: Option<&str>| asked.is_none() || asked == have;
        let is = |asked: &str, have: &str| asked == "*" || asked.eq_ignore_ascii_case(have);
        is(self.kind, kind)
            && is(self.subtype, subtype)
            && fits(self.version, version)
            && fits(self.message, message)
            && fits(self.encoding, encoding)
    }

    fn specificity(&self) -> u8 {
        match (self.kind, self.subtype, self.version.or(self.message)) {
            ("*", _, _) => 0,
            (_, "*", _) => 1,
            (_, _, None) => 2,
            (_, _, Some(_)) => 3,
        }
    }
}

fn quality(text: &str) -> Option<u16> {
    let value: f32 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    (0.0..=1.0).contains(&value).then_some((value * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: Format) {
        assert_eq!(negotiate(Some(accept)), expected, "{accept}");
    }

    #[test]
    fn missing_preference_gets_text() {
        assert_eq!(negotiate(None), Format::Text);
        check("", Format::Text);
        check("*/*", Format::Text);
        check("text/*", Format::Text);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Text);
    }

    #[test]
    fn prometheus_2_and_3_get_openmetrics() {
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        );
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            Format::OpenMetrics,
        );
    }

    #[test]
    fn higher_quality_wins_in_any_order() {
        check("application/openmetrics-text;q=0.4, text/plain;q=0.5", Format::Text);
        check("text/plain;q=0.4, application/openmetrics-text;q=0.5", Format::OpenMetrics);
    }

    #[test]
    fn first_of_equal_ranges_wins() {
        check("application/openmetrics-text, text/plain", Format::OpenMetrics);
        check("text/plain, application/openmetrics-text", Format::Text);
    }

    #[test]
    fn most_specific_range_decides_for_its_format() {
        check("text/plain;q=0.1, */*;q=0.5", Format::OpenMetrics);
        check("text/plain;q=0, */*", Format::OpenMetrics);
        check("application/openmetrics-text;q=0, */*;q=0.1", Format::Text);
    }

    #[test]
    fn other_versions_do_not_match() {
        check("application/openmetrics-text;version=0.0.1, text/plain;q=0.1", Format::Text);
        check("application/openmetrics-text; version=\"1.0.0\", text/plain;q=0.1", Format::OpenMetrics);
    }

    #[test]
    fn unacceptable_formats_get_text() {
        check("application/json", Format::Text);
        check("text/plain;q=0", Format::Text);
        check("application/openmetrics-text;q=0", Format::Text);
        check("image/png;q=nonsense, ;;;, /, a/b/c, \u{fc}", Format::Text);
    }

    #[test]
    fn header_case_is_ignored() {
        check("Application/OpenMetrics-Text; Version=1.0.0; Q=0.9, text/plain; q=0.8", Format::OpenMetrics);
    }

    #[test]
    fn prometheus_with_native_histograms_gets_protobuf() {
        check(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
             application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::Protobuf,
        );
        check(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text, text/plain;q=0.1",
            Format::Text,
        );
        check(
            "application/vnd.google.protobuf;proto=other;encoding=delimited, text/plain;q=0.1",
            Format::Text,
        );
    }

    #[track_caller]
    fn check_gzip(accept_encoding: &str, expected: bool) {
        assert_eq!(wants_gzip(Some(accept_encoding)), expected, "{accept_encoding}");
    }

    #[test]
    fn gzip_is_sent_only_if_accepted() {
        assert!(!wants_gzip(None));
        for wanted in ["gzip", "GZIP", "deflate, gzip;q=1.0, *;q=0.5", "*", "x-gzip", "gzip;q=0.1"] {
            check_gzip(wanted, true);
        }
        for unwanted in ["", "identity", "br", "gzip;q=0", "*;q=0", "gzip;q=0.5, identity", "gzip;q=nonsense"]
        {
            check_gzip(unwanted, false);
        }
    }
}
