//! The same answers read the slow way: all at once, into trees of `serde_json`.

use std::io::Read;

use scoretap_scan::cells::VALUE_BOUNDS;
use serde_json::Value;

use crate::http::Answer;

/// The answer without compression.
pub(crate) fn plain(answer: &Answer) -> Vec<u8> {
    let mut plain = Vec::new();
    match answer.header("content-encoding") {
        "gzip" => {
            flate2::read::GzDecoder::new(answer.body.as_slice()).read_to_end(&mut plain).map(drop).unwrap();
        }
        _ => plain.clone_from(&answer.body),
    }
    plain
}

/// Stands for Python's `NaN`, which `serde_json` does not read.
const NAN: &str = "not a number";

/// A JSON body, also in a JSON string.
pub(crate) fn tree(body: &[u8]) -> Value {
    let text = std::str::from_utf8(body).unwrap().replace("NaN", &format!("\"{NAN}\""));
    let value: Value = serde_json::from_str(&text).unwrap();
    match value.as_str().and_then(|inner| serde_json::from_str(inner).ok()) {
        Some(inner @ (Value::Object(_) | Value::Array(_))) => inner,
        _ => value,
    }
}

/// The data of each event that is JSON.
pub(crate) fn events(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// Rows, and the numbers that are counted for them, of an answer of one of the recorded formats.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Predicted {
    pub(crate) rows: u64,
    pub(crate) numbers: u32,
    pub(crate) nans: u32,
    pub(crate) strings: u32,
    pub(crate) cells: Vec<(u8, u32)>,
}

pub(crate) fn predicted(tree: &Value) -> Predicted {
    let mut predicted = Predicted::default();
    let output = &tree["outputs"][0];
    if let Some(data) = output["data"].as_array() {
        let shape: Vec<usize> =
            output["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
        let width: usize = shape[1..].iter().product();
        data.chunks(width).for_each(|row| predicted.vector(row));
        assert_eq!(predicted.rows, shape[0] as u64);
        return predicted;
    }
    let keys = ["predictions", "prediction"].iter().find_map(|key| tree.get(key));
    match keys.unwrap_or(tree) {
        Value::Array(rows) => rows.iter().for_each(|row| predicted.row(row)),
        Value::Object(_) => {}
        row => predicted.row(row),
    }
    predicted
}

impl Predicted {
    fn row(&mut self, row: &Value) {
        self.rows += 1;
        match row {
            Value::Object(fields) => fields.values().for_each(|value| self.value(value)),
            value => self.value(value),
        }
    }

    fn vector(&mut self, row: &[Value]) {
        self.rows += 1;
        let number = |value: &Value| value.as_f64().unwrap();
        let largest = row.iter().max_by(|one, other| number(one).total_cmp(&number(other)));
        self.value(largest.unwrap());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Number(number) => {
                self.numbers += 1;
                let number = number.as_f64().unwrap();
                let cell =
                    VALUE_BOUNDS.iter().position(|bound| number <= *bound).unwrap_or(VALUE_BOUNDS.len());
                let cell = u8::try_from(cell).unwrap();
                match self.cells.iter_mut().find(|(known, _)| *known == cell) {
                    Some((_, count)) => *count += 1,
                    None => self.cells.push((cell, 1)),
                }
                self.cells.sort_unstable();
            }
            Value::String(text) if text == NAN => self.nans += 1,
            Value::String(_) => self.strings += 1,
            other => panic!("{other}"),
        }
    }
}

/// The content of an LLM's answer, read from all its documents.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Generated {
    pub(crate) model: String,
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cached: Option<u64>,
    /// Documents with a text that is not empty.
    pub(crate) contents: u64,
}

pub(crate) fn generated(documents: &[Value]) -> Generated {
    let mut generated = Generated::default();
    for document in documents {
        let wrapped = document.get("response").unwrap_or(document);
        if let Some(model) = wrapped["model"].as_str() {
            model.clone_into(&mut generated.model);
        }
        let usage = &wrapped["usage"];
        let number = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
        let cache_read = number("/cache_read_input_tokens");
        let input =
            number("/prompt_tokens").or(number("/input_tokens")).map(|input| input + cache_read.unwrap_or(0));
        let cached =
            number("/prompt_tokens_details/cached_tokens").or(number("/input_tokens_details/cached_tokens"));
        generated.input = input.or(generated.input);
        generated.output = number("/completion_tokens").or(number("/output_tokens")).or(generated.output);
        generated.cached = cached.or(cache_read).or(generated.cached);
        let contents = ["/choices/0/delta/content", "/choices/0/text", "/delta/text", "/delta"];
        let has_content = |pointer: &&str| {
            document.pointer(pointer).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
        };
        generated.contents += u64::from(contents.iter().any(has_content));
    }
    generated
}
