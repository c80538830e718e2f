//! Both text formats: Prometheus' 0.0.4 and OpenMetrics 1.0. Only their headings differ.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Buckets, Encoder, Heading, Kind, Value, append, escape};

/// The syntax of headings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// Writes one of the text formats.
#[derive(Debug)]
pub struct Text {
    syntax: Syntax,
    out: Vec<u8>,
    /// The position of the current family's heading, as long as it has no samples.
    heading: Option<usize>,
    kind: Kind,
    /// Whether OpenMetrics has `_created` lines.
    has_created: bool,
    name: String,
    /// `le="0.005"} ` for each bound of this family, then for +Inf.
    bounds: Vec<String>,
    /// The beginning of each bucket's line; a field so that the memory is reused.
    bucket: Vec<u8>,
}

impl Text {
    /// Writes to `out`, which must be empty.
    pub const fn new(syntax: Syntax, out: Vec<u8>) -> Self {
        Self {
            syntax,
            out,
            heading: None,
            kind: Kind::Gauge,
            has_created: false,
            name: String::new(),
            bounds: Vec::new(),
            bucket: Vec::new(),
        }
    }

    /// Adds `_created` lines to OpenMetrics.
    pub const fn with_created(mut self, is_wanted: bool) -> Self {
        self.has_created = is_wanted;
        self
    }

    /// Writes the `_created` line, in seconds. A counter whose name lacks `_total` cannot have one.
    fn created(&mut self, labels: &[u8], created: Option<SystemTime>) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Histogram | Kind::Summary => "",
            Kind::Gauge | Kind::Info => return,
        };
        let wanted = self.has_created && self.syntax == Syntax::OpenMetrics && self.name.ends_with(suffix);
        let since = created.filter(|_| wanted).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        if let Some(since) = since {
            let length = self.name.len();
            self.name.truncate(length - suffix.len());
            self.line("_created", labels, Value::Float(since.as_millis() as f64 / 1e3));
            self.name.push_str(suffix);
        }
    }

    fn drop_empty(&mut self) {
        if let Some(start) = self.heading.take() {
            self.out.truncate(start);
        }
    }

    fn line(&mut self, suffix: &str, labels: &[u8], value: Value) {
        append(&mut self.out, self.name.as_bytes());
        append(&mut self.out, suffix.as_bytes());
        if let Some(labels) = labels.strip_suffix(b",") {
            self.out.push(b'{');
            append(&mut self.out, labels);
            self.out.push(b'}');
        }
        self.out.push(b' ');
        match value {
            Value::Count(count) => append(&mut self.out, itoa::Buffer::new().format(count).as_bytes()),
            // Writing to a `Vec` cannot fail.
            Value::Float(float) => drop(write!(self.out, "{float}")),
        }
        self.out.push(b'\n');
    }
}

impl Encoder for Text {
    fn family(&mut self, heading: Heading<'_>, bounds: &[f64]) {
        self.drop_empty();
        self.heading = Some(self.out.len());
        self.kind = heading.kind;
        heading.name.clone_into(&mut self.name);
        self.bounds.clear();
        let bounds = bounds.iter().chain([&f64::INFINITY]);
        self.bounds.extend(bounds.map(|bound| format!("le=\"{}\"}} ", bound_text(*bound))));
        match self.syntax {
            Syntax::Prometheus => prometheus_heading(heading, &mut self.out),
            Syntax::OpenMetrics => openmetrics_heading(heading, &mut self.out),
        }
    }

    fn label(&self, name: &str, value: &str, labels: &mut Vec<u8>) {
        append(labels, name.as_bytes());
        append(labels, b"=\"");
        escape::label_value(value, labels);
        append(labels, b"\",");
    }

    fn sample(&mut self, labels: &[u8], value: Value, created: Option<SystemTime>) {
        self.heading = None;
        self.line("", labels, value);
        self.created(labels, created);
    }

    fn histogram(&mut self, labels: &[u8], buckets: &Buckets) {
        self.heading = None;
        // Text formats have classic histograms only.
        let Buckets { cumulative, count, sum, native: _, created } = buckets;
        let mut number = itoa::Buffer::new();
        self.bucket.clear();
        for part in [self.name.as_bytes(), b"_bucket{", labels] {
            append(&mut self.bucket, part);
        }
        for (bound, count) in self.bounds.iter().zip(cumulative.iter().chain([count])) {
            append(&mut self.out, &self.bucket);
            append(&mut self.out, bound.as_bytes());
            append(&mut self.out, number.format(*count).as_bytes());
            self.out.push(b'\n');
        }
        if let Some(sum) = sum {
            self.line("_sum", labels, Value::Float(*sum));
        }
        // OpenMetrics has sum and count together or not at all, and no sum beside negative bounds.
        if sum.is_some() || self.syntax == Syntax::Prometheus {
            self.line("_count", labels, Value::Count(*count));
        }
        self.created(labels, *created);
    }

    fn summary(&mut self, labels: &[u8], buckets: &Buckets) {
        self.heading = None;
        let Buckets { count, sum, created, .. } = buckets;
        self.line("_count", labels, Value::Count(*count));
        if let Some(sum) = sum {
            self.line("_sum", labels, Value::Float(*sum));
        }
        self.created(labels, *created);
    }

    fn finish(mut self) -> Vec<u8> {
        self.drop_empty();
        match self.syntax {
            Syntax::Prometheus => {}
            Syntax::OpenMetrics => append(&mut self.out, b"# EOF\n"),
        }
        self.out
    }
}

fn prometheus_heading(heading: Heading<'_>, out: &mut Vec<u8>) {
    let Heading { name, help, unit: _, kind } = heading;
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Info => "gauge",
        Kind::Histogram => "histogram",
        Kind::Summary => "summary",
    };
    append(out, format!("# HELP {name} ").as_bytes());
    escape::prometheus_help(help, out);
    append(out, format!("\n# TYPE {name} {kind}\n").as_bytes());
}

/// In OpenMetrics, a heading has the family's name without the suffix of its samples.
fn openmetrics_heading(heading: Heading<'_>, out: &mut Vec<u8>) {
    let Heading { name, help, unit, kind } = heading;
    let (kind, suffix) = match kind {
        Kind::Counter if name.ends_with("_total") => ("counter", "_total"),
        // A counter of OpenMetrics has that suffix. Prometheus would add it.
        Kind::Counter => ("unknown", ""),
        Kind::Gauge => ("gauge", ""),
        Kind::Info => ("info", "_info"),
        Kind::Histogram => ("histogram", ""),
        Kind::Summary => ("summary", ""),
    };
    let name = name.strip_suffix(suffix).unwrap_or(name);
    append(out, format!("# TYPE {name} {kind}\n").as_bytes());
    if let Some(unit) = unit {
        append(out, format!("# UNIT {name} {unit}\n").as_bytes());
    }
    append(out, format!("# HELP {name} ").as_bytes());
    escape::openmetrics_help(help, out);
    out.push(b'\n');
}

/// Formats a bound as Prometheus does: `0.005`, `1.0`, `1.048576e+06`, `+Inf`. So a series is the same in every format and in every
/// version of Prometheus.
///
/// <https://pkg.go.dev/github.com/prometheus/prometheus/model/labels#FormatOpenMetricsFloat> (`labels` since 3.0)
pub(crate) fn bound_text(bound: f64) -> String {
    if bound == f64::INFINITY {
        return "+Inf".to_owned();
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bound(bound: f64, expected: &str) {
        assert_eq!(bound_text(bound), expected);
    }

    #[test]
    fn bounds_are_written_as_prometheus_writes_them() {
        check_bound(-1_000_000.0, "-1e+06");
        check_bound(-0.001, "-0.001");
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
        check_bound(f64::INFINITY, "+Inf");
    }

    const fn heading(name: &str, kind: Kind) -> Heading<'_> {
        Heading { name, help: "A \"b\".", unit: None, kind }
    }

    fn encoded(syntax: Syntax, heading: Heading<'_>, samples: &[(&str, Value)]) -> String {
        let mut encoder = Text::new(syntax, Vec::new());
        encoder.family(heading, &[]);
        for (label, value) in samples {
            let mut labels = Vec::new();
            if !label.is_empty() {
                encoder.label("b", label, &mut labels);
            }
            encoder.sample(&labels, *value, None);
        }
        String::from_utf8(encoder.finish()).unwrap()
    }

    #[track_caller]
    fn check(heading: Heading<'_>, samples: &[(&str, Value)], prometheus: &str, openmetrics: &str) {
        assert_eq!(encoded(Syntax::Prometheus, heading, samples), prometheus);
        assert_eq!(encoded(Syntax::OpenMetrics, heading, samples), format!("{openmetrics}# EOF\n"));
    }

    #[test]
    fn openmetrics_heading_of_a_counter_has_no_suffix() {
        check(
            heading("a_total", Kind::Counter),
            &[("\"", Value::Count(u64::MAX))],
            "# HELP a_total A \"b\".\n# TYPE a_total counter\na_total{b=\"\\\"\"} 18446744073709551615\n",
            "# TYPE a counter\n# HELP a A \\\"b\\\".\na_total{b=\"\\\"\"} 18446744073709551615\n",
        );
    }

    #[test]
    fn values_have_no_exponent() {
        for (value, text) in
            [(1e21, "1000000000000000000000"), (1e-9, "0.000000001"), (3.0, "3"), (0.5, "0.5")]
        {
            let samples = [("", Value::Float(value))];
            let found = encoded(Syntax::Prometheus, heading("a", Kind::Gauge), &samples);
            assert!(found.ends_with(&format!("\na {text}\n")), "{found}");
        }
    }

    #[test]
    fn histogram_without_labels_has_only_bounds() {
        let mut encoder = Text::new(Syntax::Prometheus, Vec::new());
        encoder.family(heading("a", Kind::Histogram), &[1.0]);
        encoder.histogram(
            &[],
            &Buckets { cumulative: vec![1], count: 2, sum: Some(3.5), native: None, created: None },
        );
        let found = String::from_utf8(encoder.finish()).unwrap();
        let samples = "\na_bucket{le=\"1.0\"} 1\na_bucket{le=\"+Inf\"} 2\na_sum 3.5\na_count 2\n";
        assert!(found.ends_with(samples), "{found}");
    }

    #[test]
    fn family_without_samples_is_left_out() {
        check(heading("a_total", Kind::Counter), &[], "", "");
        check(heading("a_info", Kind::Info), &[], "", "");
    }
}
