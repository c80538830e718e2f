//! Encodes families, sample by sample, in the exposition formats.

use std::time::SystemTime;

mod escape;
mod native;
mod protobuf;
mod text;

pub use native::Native;
pub use protobuf::Protobuf;
pub use scoretap_dialect::Kind;
pub(crate) use text::bound_text;
pub use text::{Syntax, Text};

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    #[value(name = "openmetrics")]
    OpenMetrics,
    /// Messages `io.prometheus.client.MetricFamily`, each after its length.
    Protobuf,
}

impl Format {
    /// All formats, the most compatible one first.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// The `Content-Type`. All names are ASCII, so no escaping scheme changes them.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Self::OpenMetrics => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; \
                 escaping=underscores"
            }
        }
    }
}

/// The metadata of a family.
#[derive(Clone, Copy, Debug)]
pub struct Heading<'a> {
    /// The name to query, with `_info` for an info.
    pub name: &'a str,
    /// One sentence for people.
    pub help: &'a str,
    /// The unit that the name ends with.
    pub unit: Option<&'static str>,
    /// The type of all samples.
    pub kind: Kind,
}

/// The value of a counter or a gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// Any other number.
    Float(f64),
}

/// One distribution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// For each of the family's bounds, the number of values up to it.
    pub cumulative: Vec<u64>,
    /// The number of values: the +Inf bucket.
    pub count: u64,
    /// The sum of all values; `None` if they can be negative and were not summed.
    pub sum: Option<f64>,
    /// The same values as a native histogram, if the filter measures by its bounds.
    pub native: Option<Native>,
    /// When the count was 0.
    pub created: Option<SystemTime>,
}

/// An encoder of one format. Samples belong to the last family. A family without samples is left out.
pub trait Encoder {
    /// Begins a family; `bounds` are those of its histograms, increasing, without +Inf.
    fn family(&mut self, heading: Heading<'_>, bounds: &[f64]);

    /// Appends a label to `labels`, which are then passed with a sample.
    fn label(&self, name: &str, value: &str, labels: &mut Vec<u8>);

    /// A sample of a counter, a gauge or an info. A counter was 0 when it was created.
    fn sample(&mut self, labels: &[u8], value: Value, created: Option<SystemTime>);

    /// A sample of a histogram.
    fn histogram(&mut self, labels: &[u8], buckets: &Buckets);

    /// A sample of a summary, which has no quantiles.
    fn summary(&mut self, labels: &[u8], buckets: &Buckets);

    /// The exposition, complete with its end.
    fn finish(self) -> Vec<u8>;
}

/// Appends a few bytes.
///
/// An exposition consists of many small pieces, and musl's `memcpy` is slow for few bytes: it took more than half of the
/// time. Copies of a fixed size need no call.
fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len());
    let (sixteens, rest) = bytes.as_chunks::<16>();
    for piece in sixteens {
        out.extend_from_slice(piece);
    }
    let (fours, rest) = rest.as_chunks::<4>();
    for piece in fours {
        out.extend_from_slice(piece);
    }
    for byte in rest {
        out.push(*byte);
    }
}
