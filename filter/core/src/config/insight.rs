//! The field `insight`: what the second module reads in bodies.

use scoretap_scan::columns::Column;

use super::columns;
use super::json::Json;
use super::reader::Reader;
use crate::route::Route;

/// The maximum number of classes of one series.
const MOST_CLASSES: u64 = 100;
const MOST_BODY_BYTES: u64 = 1 << 30;
/// The longest key of predictions, in bytes. The scanner keeps as many.
const LONGEST_KEY: usize = 32;

/// The parts of bodies to read.
#[derive(Clone, Debug, PartialEq)]
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
    /// A key of predictions that wins over all usual ones.
    pub prediction_key: String,
    /// The input columns whose values are counted.
    pub columns: Vec<Column>,
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
            prediction_key: String::new(),
            columns: Vec::new(),
        }
    }
}

impl Insight {
    /// Whether the bodies of a route are read for their content, and not only for the name of the model.
    pub const fn reads(&self, route: &Route) -> bool {
        if route.is_llm() { self.llm } else { self.predictions }
    }

    pub(super) fn read(value: &Json, reader: &mut Reader) -> Self {
        const FIELDS: [&str; 7] =
            ["predictions", "prediction_key", "llm", "classes", "max_body_bytes", "error_bodies", "columns"];
        let mut insight = Self::default();
        let Some(fields) = value.as_fields() else {
            reader.fault("insight", format!("is {value}; write an object, or {{}} for the defaults"));
            return insight;
        };
        reader.refuse_unknown("insight", fields, &FIELDS);
        if let Some(value) = fields.get("columns") {
            insight.columns = columns::read(value, reader);
        }
        for (field, value) in fields.iter() {
            if let Err(allowed) = insight.set(field, value) {
                reader.fault(format!("insight.{field}"), format!("is {value}; {allowed}"));
            }
        }
        insight
    }

    /// Sets a field. The error says what to write instead.
    fn set(&mut self, field: &str, value: &Json) -> Result<(), &'static str> {
        match (field, value) {
            ("predictions", Json::Bool(is_on)) => self.predictions = *is_on,
            ("llm", Json::Bool(is_on)) => self.llm = *is_on,
            ("classes", Json::Whole(number @ 0..=MOST_CLASSES)) => {
                self.classes = u32::try_from(*number).unwrap_or(0);
            }
            ("max_body_bytes", Json::Whole(number @ 1..=MOST_BODY_BYTES)) => self.max_body_bytes = *number,
            ("error_bodies", Json::Text(name)) if name == "failure" => {
                self.error_bodies = ErrorBodies::Failure;
            }
            ("error_bodies", Json::Text(name)) if name == "count" => self.error_bodies = ErrorBodies::Count,
            ("prediction_key", Json::Text(key)) if (1..=LONGEST_KEY).contains(&key.len()) => {
                self.prediction_key.clone_from(key);
            }
            ("prediction_key", _) => return Err("write the key of the predictions, of 1 to 32 bytes"),
            ("predictions" | "llm", _) => return Err("write true or false"),
            ("classes", _) => return Err("write a whole number from 0 to 100"),
            ("max_body_bytes", _) => return Err("write a whole number from 1 to 1073741824"),
            ("error_bodies", _) => return Err("allowed are \"failure\" and \"count\""),
            // Columns report their own faults. Unknown fields are reported together.
            _ => {}
        }
        Ok(())
    }
}
