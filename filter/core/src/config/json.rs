//! A JSON document as a small tree.
//!
//! `serde_json::Value` would work too. But its maps and its formatting of floats are a tenth of the module's code, and
//! every worker of Envoy compiles that.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value of any kind.
#[derive(Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Whole(u64),
    Negative(i64),
    Fraction(f64),
    Text(String),
    List(Vec<Self>),
    Object(Fields),
}

/// The fields of an object, in the order of the document. If a field is repeated, the last value wins.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, Json)>);

impl Json {
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(entries) = self { Some(entries) } else { None }
    }

    pub(super) fn as_fields(&self) -> Option<&Fields> {
        if let Self::Object(fields) = self { Some(fields) } else { None }
    }

    #[expect(clippy::cast_precision_loss, reason = "no number in use is that large")]
    pub(super) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Whole(number) => Some(*number as f64),
            Self::Negative(number) => Some(*number as f64),
            Self::Fraction(number) => Some(*number),
            Self::Null | Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Object(_) => None,
        }
    }
}

impl Fields {
    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    fn insert(&mut self, name: String, value: Json) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, earlier)) => *earlier = value,
            None => self.0.push((name, value)),
        }
    }
}

/// The value in a few words.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(true) => f.write_str("true"),
            Self::Bool(false) => f.write_str("false"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Negative(number) => write!(f, "{number}"),
            Self::Fraction(number) => write_fraction(*number, f),
            Self::Text(text) => write!(f, "{:?}", short(text)),
            Self::List(entries) if entries.is_empty() => f.write_str("an empty list"),
            Self::List(entries) => write!(f, "a list of {}", entries.len()),
            Self::Object(_) => f.write_str("an object"),
        }
    }
}

/// Writes up to nine decimal places: seconds down to the nanosecond.
fn write_fraction(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const BILLION: u64 = 1_000_000_000;
    let sign = if number < 0.0 { "-" } else { "" };
    let billionths = (number.abs() * 1e9).round();
    if billionths < 1.0 {
        return write!(f, "a number closer to 0 than {sign}0.000000001");
    }
    if billionths >= 1e18 {
        return write!(f, "a number beyond {sign}{BILLION}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
    let billionths = billionths as u64;
    let fraction = format!("{:09}", billionths % BILLION);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    write!(f, "{sign}{}{point}{fraction}", billionths / BILLION)
}

/// Enough of a text to recognize it in one line of a log.
pub(super) fn short(text: &str) -> String {
    const ENOUGH: usize = 60;
    let mut start: String = text.chars().take(ENOUGH).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Negative(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Fraction(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = sequence.next_element()? {
            entries.push(entry);
        }
        Ok(Json::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key()? {
            fields.insert(name, map.next_value()?);
        }
        Ok(Json::Object(fields))
    }
}
