//! Walks a YAML document and collects all its faults: where, what was found, what is allowed. serde stops at the first.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use serde_norway::{Mapping, Value};

/// The faults so far.
#[derive(Debug)]
pub struct Faults<'f> {
    file: &'f str,
    found: Vec<String>,
}

/// A mapping with known keys, and its place.
#[derive(Clone, Debug)]
pub struct Table<'v> {
    /// `families[2].`, or nothing for the document itself.
    at: String,
    fields: &'v Mapping,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Field<'v> {
    /// `families[2].name`
    pub at: String,
    /// The value.
    pub value: &'v Value,
}

impl<'f> Faults<'f> {
    /// No faults yet in `file`.
    pub const fn new(file: &'f str) -> Self {
        Self { file, found: Vec::new() }
    }

    /// The document, if it is YAML.
    pub fn parse(&mut self, text: &str) -> Option<Value> {
        match serde_norway::from_str::<Value>(text) {
            // Resolves `<<`; aliases are resolved already.
            Ok(mut value) => value.apply_merge().map(|()| value).map_err(|cause| self.document(&cause)).ok(),
            Err(cause) => {
                self.document(&cause);
                None
            }
        }
    }

    /// Adds a fault.
    pub fn add(&mut self, at: &str, problem: impl AsRef<str>) {
        let colon = if at.is_empty() { "" } else { ": " };
        let fault = format!("{}: {at}{colon}{}", self.file, problem.as_ref());
        // A key, a tag or a path may contain a line break.
        let shown =
            |char: char| if char.is_control() { char.escape_debug().to_string() } else { char.into() };
        self.found.push(fault.chars().map(shown).collect());
    }

    /// `value` if there are no faults.
    pub fn conclude<T>(self, value: Option<T>) -> Result<T, Vec<String>> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(self.found),
        }
    }

    /// A mapping with keys of `allowed` only.
    pub fn table<'v>(&mut self, field: &Field<'v>, allowed: &[&str]) -> Option<Table<'v>> {
        let Value::Mapping(fields) = field.value else {
            self.expected(field, &format!("a mapping with the keys {}", allowed.join(", ")));
            return None;
        };
        let at = if field.at.is_empty() { String::new() } else { format!("{}.", field.at) };
        for key in fields.keys() {
            if !key.as_str().is_some_and(|key| allowed.contains(&key)) {
                let key = named(key);
                self.add(
                    &format!("{at}{key}"),
                    format!("there is no such key; write {}", allowed.join(", ")),
                );
            }
        }
        Some(Table { at, fields })
    }

    /// A string that is not empty.
    pub fn text<'v>(&mut self, field: &Field<'v>) -> Option<&'v str> {
        let text = field.value.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.expected(field, "text");
        }
        text
    }

    /// A string, number, boolean or null, as text.
    pub fn scalar(&mut self, field: &Field<'_>) -> Option<String> {
        match field.value {
            Value::Null => Some(String::new()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text.clone()),
            Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
                self.expected(field, "text");
                None
            }
        }
    }

    /// true or false.
    pub fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        let flag = field.value.as_bool();
        if flag.is_none() {
            self.expected(field, "true or false");
        }
        flag
    }

    /// The items of a list.
    pub fn items<'v>(&mut self, field: &Field<'v>) -> Vec<Field<'v>> {
        let Value::Sequence(items) = field.value else {
            self.expected(field, "a list");
            return Vec::new();
        };
        let at = |position| format!("{}[{position}]", field.at);
        items.iter().enumerate().map(|(position, value)| Field { at: at(position), value }).collect()
    }

    /// The names and values of a mapping from text to text.
    pub fn pairs<'v>(&mut self, field: &Field<'v>) -> Vec<(&'v str, Field<'v>)> {
        let Value::Mapping(fields) = field.value else {
            self.expected(field, "a mapping from names to values");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (key, value) in fields {
            let at = format!("{}.{}", field.at, named(key));
            match key.as_str() {
                Some(name) => pairs.push((name, Field { at, value })),
                None => self.add(&at, "a name must be text; put it in quotes"),
            }
        }
        pairs
    }

    /// One of a closed set.
    pub fn choice<T: Copy>(
        &mut self,
        field: &Field<'_>,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let found = field.value.as_str().and_then(|text| all.iter().find(|choice| name(**choice) == text));
        if found.is_none() {
            let names: Vec<&str> = all.iter().map(|choice| name(*choice)).collect();
            self.expected(field, &format!("one of {}", names.join(", ")));
        }
        found.copied()
    }

    /// Adds a fault: found something other than `allowed`.
    pub fn expected(&mut self, field: &Field<'_>, allowed: &str) {
        self.add(&field.at, format!("found {}; write {allowed}", shown(field.value)));
    }

    fn document(&mut self, cause: &serde_norway::Error) {
        self.add("", format!("is not YAML: {cause}"));
    }
}

impl<'v> Table<'v> {
    /// `families[2].`, or nothing for the document itself.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The value of `key`. Null means absent.
    pub fn get(&self, key: &str) -> Option<Field<'v>> {
        let value = self.fields.get(key).filter(|value| !value.is_null())?;
        Some(Field { at: format!("{}{key}", self.at), value })
    }

    /// The value of `key`, which must be there.
    pub fn required(&self, key: &str, faults: &mut Faults<'_>) -> Option<Field<'v>> {
        let field = self.get(key);
        if field.is_none() {
            faults.add(self.at.trim_end_matches('.'), format!("has no {key}; add `{key}: …`"));
        }
        field
    }
}

/// A key as part of a place.
fn named(key: &Value) -> String {
    key.as_str().map_or_else(|| shown(key), |name| name.escape_debug().take(60).collect())
}

/// Short, on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Tagged(tagged) => format!("the tag {}", tagged.tag),
    }
}
