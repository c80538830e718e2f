//! Delimited messages `io.prometheus.client.MetricFamily`, the only format with native histograms.
//!
//! Written by hand: the message has few fields, unchanged since 2013 (native histograms: 2022). Generated code would need a
//! compiler for the schema, a second set of types, and a copy of every label. <https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>

use scoretap_core::histogram::NATIVE_SCHEMA;

use std::time::{SystemTime, UNIX_EPOCH};

use super::native::Span;
use super::{Buckets, Encoder, Heading, Kind, Native, Value, append};
use crate::as_float;

/// Numbers of fields, by message.
mod field {
    pub(super) mod family {
        pub(crate) const NAME: u32 = 1;
        pub(crate) const HELP: u32 = 2;
        pub(crate) const TYPE: u32 = 3;
        pub(crate) const METRIC: u32 = 4;
        pub(crate) const UNIT: u32 = 5;
    }
    pub(super) mod metric {
        pub(crate) const LABEL: u32 = 1;
        pub(crate) const GAUGE: u32 = 2;
        pub(crate) const COUNTER: u32 = 3;
        pub(crate) const SUMMARY: u32 = 4;
        pub(crate) const HISTOGRAM: u32 = 7;
    }
    pub(super) mod label {
        pub(crate) const NAME: u32 = 1;
        pub(crate) const VALUE: u32 = 2;
    }
    /// In Counter and Gauge.
    pub(super) const VALUE: u32 = 1;
    pub(super) mod counter {
        pub(crate) const CREATED: u32 = 3;
    }
    pub(super) mod timestamp {
        pub(crate) const SECONDS: u32 = 1;
        pub(crate) const NANOS: u32 = 2;
    }
    pub(super) mod histogram {
        pub(crate) const SAMPLE_COUNT: u32 = 1;
        pub(crate) const SAMPLE_SUM: u32 = 2;
        pub(crate) const BUCKET: u32 = 3;
        pub(crate) const SCHEMA: u32 = 5;
        pub(crate) const ZERO_THRESHOLD: u32 = 6;
        pub(crate) const ZERO_COUNT: u32 = 7;
        pub(crate) const POSITIVE_SPAN: u32 = 12;
        pub(crate) const POSITIVE_DELTA: u32 = 13;
        pub(crate) const CREATED: u32 = 15;
    }
    pub(super) mod summary {
        pub(crate) const SAMPLE_COUNT: u32 = 1;
        pub(crate) const SAMPLE_SUM: u32 = 2;
        pub(crate) const CREATED: u32 = 4;
    }
    pub(super) mod bucket {
        pub(crate) const CUMULATIVE_COUNT: u32 = 1;
        pub(crate) const UPPER_BOUND: u32 = 2;
    }
    pub(super) mod span {
        pub(crate) const OFFSET: u32 = 1;
        pub(crate) const LENGTH: u32 = 2;
    }
}

/// The default width of the zero bucket in client libraries. Ours counts exact zeros.
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39; // 2^-128

/// Writes delimited messages.
#[derive(Debug)]
pub struct Protobuf {
    out: Vec<u8>,
    /// The current family, without its length.
    family: Vec<u8>,
    has_samples: bool,
    kind: Kind,
    bounds: Vec<f64>,
    /// A metric and its value; fields so that their memory is reused.
    metric: Vec<u8>,
    inner: Vec<u8>,
}

impl Protobuf {
    /// Writes to `out`, which must be empty.
    pub const fn new(out: Vec<u8>) -> Self {
        Self {
            out,
            family: Vec::new(),
            has_samples: false,
            kind: Kind::Gauge,
            bounds: Vec::new(),
            metric: Vec::new(),
            inner: Vec::new(),
        }
    }

    fn end_family(&mut self) {
        if std::mem::take(&mut self.has_samples) {
            varint(length(self.family.len()), &mut self.out);
            self.out.extend_from_slice(&self.family);
        }
        self.family.clear();
    }

    /// Adds the metric with these labels. Its value is in `inner`, for the field `value`.
    fn metric(&mut self, labels: &[u8], value: u32) {
        self.has_samples = true;
        self.metric.clear();
        append(&mut self.metric, labels);
        bytes(value, &self.inner, &mut self.metric);
        bytes(field::family::METRIC, &self.metric, &mut self.family);
    }
}

impl Encoder for Protobuf {
    fn family(&mut self, heading: Heading<'_>, bounds: &[f64]) {
        self.end_family();
        let Heading { name, help, unit, kind } = heading;
        self.kind = kind;
        self.bounds = bounds.to_vec();
        bytes(field::family::NAME, name.as_bytes(), &mut self.family);
        bytes(field::family::HELP, help.as_bytes(), &mut self.family);
        let kind = match kind {
            Kind::Counter => 0,
            Kind::Gauge | Kind::Info => 1,
            Kind::Summary => 2,
            Kind::Histogram => 4,
        };
        number(field::family::TYPE, kind, &mut self.family);
        if let Some(unit) = unit {
            bytes(field::family::UNIT, unit.as_bytes(), &mut self.family);
        }
    }

    fn label(&self, name: &str, value: &str, labels: &mut Vec<u8>) {
        let of = |text: &str| 1 + varint_length(length(text.len())) + text.len();
        tag(field::metric::LABEL, LENGTH_DELIMITED, labels);
        varint(length(of(name) + of(value)), labels);
        bytes(field::label::NAME, name.as_bytes(), labels);
        bytes(field::label::VALUE, value.as_bytes(), labels);
    }

    fn sample(&mut self, labels: &[u8], value: Value, created: Option<SystemTime>) {
        self.inner.clear();
        let value = match value {
            Value::Count(count) => as_float(count),
            Value::Float(float) => float,
        };
        double(field::VALUE, value, &mut self.inner);
        if self.kind == Kind::Counter {
            timestamp(field::counter::CREATED, created, &mut self.inner);
        }
        let kind = match self.kind {
            Kind::Counter => field::metric::COUNTER,
            Kind::Gauge | Kind::Info | Kind::Histogram | Kind::Summary => field::metric::GAUGE,
        };
        self.metric(labels, kind);
    }

    fn histogram(&mut self, labels: &[u8], buckets: &Buckets) {
        let Buckets { cumulative, count, sum, native, created } = buckets;
        let out = &mut self.inner;
        out.clear();
        number(field::histogram::SAMPLE_COUNT, *count, out);
        // Prometheus makes a `_sum` of every message. With NaN, an average is NaN too.
        double(field::histogram::SAMPLE_SUM, sum.unwrap_or(f64::NAN), out);
        // Readers add the +Inf bucket.
        for (bound, count) in self.bounds.iter().zip(cumulative) {
            tag(field::histogram::BUCKET, LENGTH_DELIMITED, out);
            varint(length(1 + varint_length(*count) + 1 + 8), out);
            number(field::bucket::CUMULATIVE_COUNT, *count, out);
            double(field::bucket::UPPER_BOUND, *bound, out);
        }
        if let Some(native) = native {
            add_native(native, out);
        }
        timestamp(field::histogram::CREATED, *created, out);
        self.metric(labels, field::metric::HISTOGRAM);
    }

    fn summary(&mut self, labels: &[u8], buckets: &Buckets) {
        let Buckets { count, sum, created, .. } = buckets;
        let out = &mut self.inner;
        out.clear();
        number(field::summary::SAMPLE_COUNT, *count, out);
        double(field::summary::SAMPLE_SUM, sum.unwrap_or(f64::NAN), out);
        timestamp(field::summary::CREATED, *created, out);
        self.metric(labels, field::metric::SUMMARY);
    }

    fn finish(mut self) -> Vec<u8> {
        self.end_family();
        self.out
    }
}

fn add_native(native: &Native, out: &mut Vec<u8>) {
    number(field::histogram::SCHEMA, zigzag(i64::from(NATIVE_SCHEMA)), out);
    double(field::histogram::ZERO_THRESHOLD, ZERO_THRESHOLD, out);
    number(field::histogram::ZERO_COUNT, native.zero(), out);
    for Span { offset, length: buckets } in native.spans() {
        let offset = zigzag(i64::from(offset));
        tag(field::histogram::POSITIVE_SPAN, LENGTH_DELIMITED, out);
        varint(length(2 + varint_length(offset) + varint_length(u64::from(buckets))), out);
        number(field::span::OFFSET, offset, out);
        number(field::span::LENGTH, u64::from(buckets), out);
    }
    for delta in native.deltas() {
        number(field::histogram::POSITIVE_DELTA, zigzag(delta), out);
    }
}

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;

fn tag(field: u32, wire_type: u32, out: &mut Vec<u8>) {
    varint(u64::from(field << 3 | wire_type), out);
}

fn number(field: u32, value: u64, out: &mut Vec<u8>) {
    tag(field, VARINT, out);
    varint(value, out);
}

/// Writes nothing if the time is unknown.
fn timestamp(field: u32, time: Option<SystemTime>, out: &mut Vec<u8>) {
    let Some(since) = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) else { return };
    let (seconds, nanos) = (since.as_secs(), u64::from(since.subsec_nanos()));
    tag(field, LENGTH_DELIMITED, out);
    varint(length(2 + varint_length(seconds) + varint_length(nanos)), out);
    number(field::timestamp::SECONDS, seconds, out);
    number(field::timestamp::NANOS, nanos, out);
}

fn double(field: u32, value: f64, out: &mut Vec<u8>) {
    tag(field, FIXED_64, out);
    append(out, &value.to_le_bytes());
}

fn bytes(field: u32, value: &[u8], out: &mut Vec<u8>) {
    tag(field, LENGTH_DELIMITED, out);
    varint(length(value.len()), out);
    append(out, value);
}

#[expect(clippy::cast_possible_truncation, reason = "the low seven bits, and the rest in the next byte")]
fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const fn varint_length(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

const fn length(bytes: usize) -> u64 {
    bytes as u64
}

#[expect(clippy::cast_sign_loss, reason = "zigzag moves the sign to the lowest bit")]
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_length_is_its_encoded_length() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            varint(value, &mut out);
            assert_eq!(out.len(), varint_length(value), "{value}");
        }
    }

    #[test]
    fn zigzag_puts_the_sign_last() {
        let pairs = [(0, 0), (-1, 1), (1, 2), (i64::MAX, u64::MAX - 1), (i64::MIN, u64::MAX)];
        assert_eq!(pairs.map(|(value, _)| zigzag(value)), pairs.map(|(_, encoded)| encoded));
    }

    #[test]
    fn created_time_is_a_timestamp() {
        let created = Some(UNIX_EPOCH + std::time::Duration::from_millis(1500));
        let buckets = Buckets { created, ..Buckets::default() };
        for (kind, tag) in [(Kind::Counter, 0x1a), (Kind::Histogram, 0x7a), (Kind::Summary, 0x22)] {
            let mut encoder = Protobuf::new(Vec::new());
            encoder.family(Heading { name: "a", help: "", unit: None, kind }, &[]);
            match kind {
                Kind::Histogram => encoder.histogram(&[], &buckets),
                Kind::Summary => encoder.summary(&[], &buckets),
                Kind::Counter | Kind::Gauge | Kind::Info => encoder.sample(&[], Value::Count(1), created),
            }
            assert!(encoder.finish().ends_with(&[tag, 8, 8, 1, 16, 0x80, 0xca, 0xb5, 0xee, 1]), "{kind:?}");
        }
    }

    #[test]
    fn counter_has_the_expected_bytes() {
        let mut encoder = Protobuf::new(Vec::new());
        encoder.family(Heading { name: "none", help: "", unit: None, kind: Kind::Counter }, &[]);
        encoder.family(Heading { name: "a_total", help: "A.", unit: None, kind: Kind::Counter }, &[]);
        let mut labels = Vec::new();
        encoder.label("b", "c", &mut labels);
        encoder.sample(&labels, Value::Count(1), None);
        let metric = b"\x0a\x06\x0a\x01b\x12\x01c\x1a\x09\x09\0\0\0\0\0\0\xf0\x3f";
        let family = [b"\x0a\x07a_total\x12\x02A.\x18\0\x22\x13".as_slice(), metric].concat();
        assert_eq!(encoder.finish(), [&[u8::try_from(family.len()).unwrap()], family.as_slice()].concat());
    }
}
