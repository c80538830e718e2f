//! Both text formats: Prometheus' 0.0.4 and OpenMetrics 1.0. Samples are the same in both, only headings differ.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::fmt::{Display, Write};

use super::escape;
use crate::family::{Buckets, Family, Points, Sample};

/// Whose headings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Prometheus,
    OpenMetrics,
}

/// The exposition, complete with its end.
pub(super) fn encode<'a>(syntax: Syntax, families: impl Iterator<Item = Family<'a>>) -> String {
    let mut out = String::new();
    for family in families.filter(|family| !family.points.is_empty()) {
        match syntax {
            Syntax::Prometheus => prometheus_heading(&family, &mut out),
            Syntax::OpenMetrics => openmetrics_heading(&family, &mut out),
        }
        samples(&family, &mut out);
    }
    match syntax {
        Syntax::Prometheus => {}
        Syntax::OpenMetrics => out.push_str("# EOF\n"),
    }
    out
}

fn prometheus_heading(family: &Family<'_>, out: &mut String) {
    let Family { name, help, unit: _, points } = family;
    let kind = match points {
        Points::Counter(_) => "counter",
        Points::Gauge(_) | Points::Info(_) => "gauge",
        Points::Histogram { .. } => "histogram",
    };
    push(out, format_args!("# HELP {name} "));
    escape::prometheus_help(help, out);
    push(out, format_args!("\n# TYPE {name} {kind}\n"));
}

/// A heading names the family without the suffix that its samples have.
fn openmetrics_heading(family: &Family<'_>, out: &mut String) {
    let Family { name, help, unit, points } = family;
    let (kind, suffix) = match points {
        Points::Counter(_) => ("counter", "_total"),
        Points::Gauge(_) => ("gauge", ""),
        Points::Info(_) => ("info", "_info"),
        Points::Histogram { .. } => ("histogram", ""),
    };
    // Without its suffix it cannot be of its type, and is still to be queried by its name.
    let (name, kind) = name.strip_suffix(suffix).map_or((*name, "unknown"), |name| (name, kind));
    push(out, format_args!("# TYPE {name} {kind}\n"));
    if let Some(unit) = unit {
        push(out, format_args!("# UNIT {name} {}\n", unit.as_str()));
    }
    push(out, format_args!("# HELP {name} "));
    escape::openmetrics_help(help, out);
    out.push('\n');
}

fn samples(family: &Family<'_>, out: &mut String) {
    let name = family.name;
    match &family.points {
        Points::Counter(samples) => {
            for Sample { labels, value } in samples {
                sample(name, "", &rendered(labels), value, out);
            }
        }
        Points::Gauge(samples) => {
            for Sample { labels, value } in samples {
                sample(name, "", &rendered(labels), value, out);
            }
        }
        Points::Info(samples) => {
            for labels in samples {
                sample(name, "", &rendered(labels), 1, out);
            }
        }
        Points::Histogram { bounds, samples } => {
            let bounds: Vec<String> = bounds.iter().map(|bound| bound_text(*bound)).collect();
            for Sample { labels, value } in samples {
                histogram(name, &bounds, &rendered(labels), value, out);
            }
        }
    }
}

fn histogram(name: &str, bounds: &[String], labels: &str, buckets: &Buckets, out: &mut String) {
    let Buckets { cumulative, count, sum } = buckets;
    let separator = if labels.is_empty() { "" } else { "," };
    let infinity = ("+Inf", count);
    for (bound, count) in bounds.iter().map(String::as_str).zip(cumulative).chain([infinity]) {
        push(out, format_args!("{name}_bucket{{{labels}{separator}le=\"{bound}\"}} {count}\n"));
    }
    sample(name, "_sum", labels, sum, out);
    sample(name, "_count", labels, count, out);
}

fn sample(name: &str, suffix: &str, labels: &str, value: impl Display, out: &mut String) {
    out.push_str(name);
    out.push_str(suffix);
    if !labels.is_empty() {
        push(out, format_args!("{{{labels}}}"));
    }
    push(out, format_args!(" {value}\n"));
}

fn rendered(labels: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (position, (name, value)) in labels.iter().enumerate() {
        push(&mut out, format_args!("{}{name}=\"", if position == 0 { "" } else { "," }));
        escape::label_value(value, &mut out);
        out.push('"');
    }
    out
}

/// As Prometheus itself writes a bound that it was sent in another format: `0.005`, `1.0`, `1.048576e+06`. So a
/// series is the same one in every format, and in every version of Prometheus.
///
/// <https://pkg.go.dev/github.com/prometheus/prometheus/model/labels#FormatOpenMetricsFloat> (`labels` since 3.0)
fn bound_text(bound: f64) -> String {
    let scientific = format!("{bound:e}");
    let parts =
        scientific.split_once('e').and_then(|(digits, power)| Some((digits, power.parse::<i32>().ok()?)));
    match parts {
        Some((digits, power)) if !(-4..6).contains(&power) => {
            format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
        }
        Some(_) | None => format!("{bound:?}"),
    }
}

/// Writing to a `String` has no way to fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bound(bound: f64, expected: &str) {
        assert_eq!(bound_text(bound), expected);
    }

    #[test]
    fn bounds_are_written_as_prometheus_writes_them() {
        check_bound(0.0, "0.0");
        check_bound(0.001, "0.001");
        check_bound(0.000_1, "0.0001");
        check_bound(0.000_025, "2.5e-05");
        check_bound(1.0, "1.0");
        check_bound(2.5, "2.5");
        check_bound(262_144.0, "262144.0");
        check_bound(1_000_000.0, "1e+06");
        check_bound(1_048_576.0, "1.048576e+06");
        check_bound(67_108_864.0, "6.7108864e+07");
    }

    fn encoded(syntax: Syntax, name: &str, points: Points<'_>) -> String {
        encode(syntax, [Family { name, help: "A \"b\".", unit: None, points }].into_iter())
    }

    #[track_caller]
    fn check(name: &str, points: &Points<'_>, prometheus: &str, openmetrics: &str) {
        assert_eq!(encoded(Syntax::Prometheus, name, points.clone()), prometheus);
        assert_eq!(encoded(Syntax::OpenMetrics, name, points.clone()), format!("{openmetrics}# EOF\n"));
    }

    #[test]
    fn a_counter_is_headed_without_its_suffix_in_openmetrics() {
        check(
            "a_total",
            &Points::Counter(vec![Sample { labels: vec![("b", "\"")], value: u64::MAX }]),
            "# HELP a_total A \"b\".\n# TYPE a_total counter\na_total{b=\"\\\"\"} 18446744073709551615\n",
            "# TYPE a counter\n# HELP a A \\\"b\\\".\na_total{b=\"\\\"\"} 18446744073709551615\n",
        );
    }

    #[test]
    fn a_counter_without_the_suffix_keeps_its_name() {
        check(
            "a",
            &Points::Counter(vec![Sample { labels: vec![], value: 1 }]),
            "# HELP a A \"b\".\n# TYPE a counter\na 1\n",
            "# TYPE a unknown\n# HELP a A \\\"b\\\".\na 1\n",
        );
    }

    #[test]
    fn values_have_no_exponent() {
        let gauge = |value| Points::Gauge(vec![Sample { labels: vec![], value }]);
        for (value, text) in
            [(1e21, "1000000000000000000000"), (1e-9, "0.000000001"), (3.0, "3"), (0.5, "0.5")]
        {
            assert!(encoded(Syntax::Prometheus, "a", gauge(value)).ends_with(&format!("\na {text}\n")));
        }
    }

    #[test]
    fn a_histogram_without_labels_has_only_its_bounds() {
        let buckets = Buckets { cumulative: vec![1], count: 2, sum: 3.5 };
        let points =
            Points::Histogram { bounds: vec![1.0], samples: vec![Sample { labels: vec![], value: buckets }] };
        assert!(
            encoded(Syntax::Prometheus, "a", points)
                .ends_with("\na_bucket{le=\"1.0\"} 1\na_bucket{le=\"+Inf\"} 2\na_sum 3.5\na_count 2\n")
        );
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        check("a_total", &Points::Counter(vec![]), "", "");
        check("a_info", &Points::Info(vec![]), "", "");
    }
}
