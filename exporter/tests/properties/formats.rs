//! Parses expositions, independently of the encoders.

use std::collections::{BTreeMap, BTreeSet};

use scoretap_exporter::render::encode::Format;

use scoretap_test_support::exposition::{Exposition, Labels};

/// The value of each series. Bounds are written as Rust writes floats, in every format.
pub(crate) type Samples = BTreeMap<(String, Labels), f64>;

/// Parses an exposition. Panics if it is invalid or repeats a sample.
pub(crate) fn samples(format: Format, exposition: &[u8]) -> Samples {
    match format {
        Format::Text => without_lone_counts(text(exposition)),
        Format::OpenMetrics => text(exposition.strip_suffix(b"# EOF\n").expect("the end is marked")),
        Format::Protobuf => protobuf(exposition),
    }
}

fn text(exposition: &[u8]) -> Samples {
    let exposition = Exposition::parse(std::str::from_utf8(exposition).unwrap()).unwrap();
    exposition
        .iter()
        .map(|(name, labels, value)| {
            let mut labels = labels.clone();
            if let Some(le) = labels.get_mut("le") {
                *le = bound(le.parse().unwrap());
            }
            ((name.to_owned(), labels), value)
        })
        .collect()
}

/// Only the Prometheus text format has the count of a histogram without a sum.
fn without_lone_counts(mut samples: Samples) -> Samples {
    let names: BTreeSet<String> = samples.keys().map(|(name, _)| name.clone()).collect();
    samples.retain(|(name, _), _| {
        let family = name.strip_suffix("_count");
        family.is_none_or(|family| {
            !names.contains(&format!("{family}_bucket")) || names.contains(&format!("{family}_sum"))
        })
    });
    samples
}

fn bound(bound: f64) -> String {
    bound.to_string()
}

/// The value of a field of a message.
enum Field<'m> {
    Number(u64),
    Double(f64),
    Bytes(&'m [u8]),
}

/// The fields of a message, in their order.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Double(f64::from_le_bytes(take(&mut message, 8).try_into().unwrap())),
            2 => {
                let length = varint(&mut message);
                Field::Bytes(take(&mut message, usize::try_from(length).unwrap()))
            }
            other => panic!("no wire type of this message: {other}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn varint(message: &mut &[u8]) -> u64 {
    let length = 1 + message.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let bytes = take(message, length);
    bytes.iter().rev().fold(0, |value, byte| (value << 7) | u64::from(byte & 0x7f))
}

fn take<'m>(message: &mut &'m [u8], length: usize) -> &'m [u8] {
    let (taken, rest) = message.split_at(length);
    *message = rest;
    taken
}

fn string(field: &Field<'_>) -> String {
    let Field::Bytes(bytes) = field else { panic!("no text") };
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// <https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>
fn protobuf(mut exposition: &[u8]) -> Samples {
    let mut samples = Samples::new();
    while !exposition.is_empty() {
        let length = usize::try_from(varint(&mut exposition)).unwrap();
        let family = fields(take(&mut exposition, length));
        let name = family.iter().find(|(number, _)| *number == 1).map(|(_, name)| string(name)).unwrap();
        for metric in family.iter().filter(|(number, _)| *number == 4) {
            let (_, Field::Bytes(metric)) = metric else { panic!("no metric") };
            add_metric(&name, &fields(metric), &mut samples);
        }
    }
    samples
}

fn add_metric(name: &str, metric: &[(u64, Field<'_>)], samples: &mut Samples) {
    let mut labels = Labels::new();
    for (number, field) in metric {
        let Field::Bytes(message) = field else { panic!("no message") };
        let message = fields(message);
        if *number == 1 {
            let [(1, name), (2, value)] = &message[..] else { panic!("no label") };
            assert!(labels.insert(string(name), string(value)).is_none(), "a label twice");
        }
    }
    let mut add = |suffix: &str, le: Option<f64>, value: f64| {
        let mut labels = labels.clone();
        labels.extend(le.map(|le| ("le".to_owned(), bound(le))));
        let before = samples.insert((format!("{name}{suffix}"), labels), value);
        assert!(before.is_none(), "{name}{suffix} twice");
    };
    let (number, Field::Bytes(value)) = metric.last().unwrap() else { panic!("no value") };
    let value = fields(value);
    // The text formats leave out sum and count if there is no sum.
    let is_summed =
        !value.iter().any(|(field, sum)| matches!(sum, Field::Double(sum) if *field == 2 && sum.is_nan()));
    for (field, value) in value {
        match (number, field, value) {
            (2 | 3, 1, Field::Double(value)) => add("", None, value),
            (4, 1, Field::Number(count)) => add("_count", None, count as f64),
            (4, 2, Field::Double(sum)) => add("_sum", None, sum),
            (7, 1, Field::Number(count)) => {
                if is_summed {
                    add("_count", None, count as f64);
                }
                add("_bucket", Some(f64::INFINITY), count as f64);
            }
            (7, 2, Field::Double(sum)) if is_summed => add("_sum", None, sum),
            (7, 2, Field::Double(_)) => {}
            (7, 3, Field::Bytes(bucket)) => {
                let [(1, Field::Number(count)), (2, Field::Double(le))] = fields(bucket)[..] else {
                    panic!("no bucket")
                };
                add("_bucket", Some(le), count as f64);
            }
            // The native histogram beside the classic one.
            (7, 5..=13, _) => {}
            _ => panic!("the field {field} of {number}"),
        }
    }
}
