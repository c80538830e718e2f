//! The field `insight`: what the second module reads in bodies.

use super::json::{Fields, Json};
use super::reader::Reader;

/// The maximum number of classes of one series.
const MOST_CLASSES: u64 = 100;
const MOST_BODY_BYTES: u64 = 1 << 30;

/// The parts of bodies to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insight {
    /// Whether rows, kinds, distributions, classes and repeats are counted.
    pub predictions: bool,
    /// Whether tokens and times of LLMs are counted.
    pub llm: bool,
    /// How many classes of a series get a counter of their own; 0 turns the names of classes off.
    pub classes: u32,
    /// How many bytes of each body are read.
    pub max_body_bytes: u64,
    /// The outcome of a successful answer whose body reports an error.
    pub error_bodies: ErrorBodies,
}

/// The outcome of a successful answer whose body is a structured error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorBodies {
    /// A failure, with the type `reported_error`.
    Failure,
    /// A success, and counted beside.
    Count,
}

impl Default for Insight {
    fn default() -> Self {
        Self {
            predictions: true,
            llm: true,
            classes: 20,
            max_body_bytes: 1 << 20,
            error_bodies: ErrorBodies::Failure,
        }
    }
}

impl Insight {
    pub(super) fn read(value: &Json, reader: &mut Reader) -> Self {
        const FIELDS: [&str; 5] = ["predictions", "llm", "classes", "max_body_bytes", "error_bodies"];
        let mut insight = Self::default();
        let Some(fields) = value.as_fields() else {
            reader.fault("insight", format!("is {value}; write an object, or {{}} for the defaults"));
            return insight;
        };
        if fields.get("columns").is_some() {
            reader.fault("insight.columns", "is not supported by this release yet; leave it out");
        }
        reader.refuse_unknown("insight", fields, &[&FIELDS[..], &["columns"]].concat());
        flag(fields, "predictions", &mut insight.predictions, reader);
        flag(fields, "llm", &mut insight.llm, reader);
        let mut classes = u64::from(insight.classes);
        whole(fields, "classes", (0, MOST_CLASSES), &mut classes, reader);
        insight.classes = u32::try_from(classes).unwrap_or(0);
        whole(fields, "max_body_bytes", (1, MOST_BODY_BYTES), &mut insight.max_body_bytes, reader);
        match fields.get("error_bodies").map(|value| (value, value.as_text())) {
            None | Some((_, Some("failure"))) => {}
            Some((_, Some("count"))) => insight.error_bodies = ErrorBodies::Count,
            Some((value, _)) => reader
                .fault("insight.error_bodies", format!("is {value}; allowed are \"failure\" and \"count\"")),
        }
        insight
    }
}

fn flag(fields: &Fields, field: &str, flag: &mut bool, reader: &mut Reader) {
    match fields.get(field) {
        None => {}
        Some(Json::Bool(value)) => *flag = *value,
        Some(other) => reader.fault(format!("insight.{field}"), format!("is {other}; write true or false")),
    }
}

fn whole(fields: &Fields, field: &str, (least, most): (u64, u64), number: &mut u64, reader: &mut Reader) {
    match fields.get(field) {
        None => {}
        Some(Json::Whole(value)) if (least..=most).contains(value) => *number = *value,
        Some(other) => reader.fault(
            format!("insight.{field}"),
            format!("is {other}; write a whole number from {least} to {most}"),
        ),
    }
}
