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

/// The shortest text that is a float for sure: `0.005`, `1.0`. Prometheus 3 stores `le` so whatever was sent, and
/// OpenMetrics asks for it.
fn bound_text(bound: f64) -> String {
    let mut text = bound.to_string();
    if !text.contains('.') {
        text.push_str(".0");
    }
    text
}

/// Writing to a `String` has no way to fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}
