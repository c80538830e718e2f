//! Reads the text format 0.0.4, with an eye on correctness: what this parser does not understand is an error.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// A label set, sorted by name.
pub type Labels = BTreeMap<String, String>;

/// A scrape: each series once, with its value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exposition {
    series: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Parses a whole body.
    pub fn parse(text: &str) -> Result<Self> {
        let mut series = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, labels, value) =
                parse_line(line).with_context(|| format!("line {}: {line}", number + 1))?;
            let before = series.insert((name, labels), value);
            ensure!(before.is_none(), "line {}: this series is there twice: {line}", number + 1);
        }
        Ok(Self { series })
    }

    /// The value of the one series with exactly these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.series.get(&(name.to_owned(), labels)).copied()
    }

    /// The sum over all series of that name that have at least these labels. 0 where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        // Not `sum`, whose empty sum is a negative zero.
        self.select(name, labels).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// The series of that name that have at least these labels.
    pub fn select<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a Labels, f64)> {
        let matches = move |found: &Labels| {
            labels.iter().all(|&(key, value)| found.get(key).is_some_and(|v| v == value))
        };
        self.iter()
            .filter(move |(found, labels, _)| *found == name && matches(labels))
            .map(|(_, l, v)| (l, v))
    }

    /// Every series.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Labels, f64)> {
        self.series.iter().map(|((name, labels), value)| (name.as_str(), labels, *value))
    }
}

fn parse_line(line: &str) -> Result<(String, Labels, f64)> {
    let end = line.find(['{', ' ']).context("no value")?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = rest.trim().parse().with_context(|| format!("not a number: {rest:?}"))?;
    Ok((name.to_owned(), labels, value))
}

fn parse_labels(mut rest: &str) -> Result<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once("=\"").context("a label without a value")?;
        let (value, after) = parse_value(after)?;
        ensure!(labels.insert(name.to_owned(), value).is_none(), "the label {name} is there twice");
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

fn parse_value(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Ok((value, &text[index + 1..])),
            '\\' => value.push(unescape(chars.next().map(|(_, char)| char))?),
            other => value.push(other),
        }
    }
    bail!("a label value without an end")
}

fn unescape(char: Option<char>) -> Result<char> {
    match char {
        Some('n') => Ok('\n'),
        Some(literal @ ('"' | '\\')) => Ok(literal),
        other => bail!("not an escape of the format: \\{}", other.unwrap_or(' ')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unescaped_and_found_in_any_order() {
        let text = "# TYPE a counter\na{y=\"q\\\"\\\\\\n,}\",x=\"1\"} 3\nb 1.5e3\n";
        let exposition = Exposition::parse(text).unwrap();
        assert_eq!(exposition.get("a", &[("x", "1"), ("y", "q\"\\\n,}")]), Some(3.0));
        assert_eq!(exposition.get("b", &[]), Some(1500.0));
        assert_eq!(exposition.get("a", &[("x", "1")]), None);
        assert!((exposition.sum("a", &[("x", "1")]) - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_prometheus_would_refuse_is_an_error() {
        for text in ["a", "a{x=\"1} 2", "a{x=\"\\t\"} 2", "a one", "a 1\na 2", "a{x=\"1\",x=\"1\"} 2"] {
            assert!(Exposition::parse(text).is_err(), "accepted {text:?}");
        }
    }
}
