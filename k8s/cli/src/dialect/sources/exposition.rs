//! Reads what an app's `/metrics` printed: the text format of Prometheus, and OpenMetrics.

use std::collections::BTreeMap;

use crate::dialect::model::{Exposed, Kind};

/// Reads an exposition, or returns `None` if the text is something else.
pub(super) fn read(file: &str, text: &str) -> Option<Vec<Exposed>> {
    let mut kinds = BTreeMap::new();
    let mut families: Vec<Exposed> = Vec::new();
    let mut samples = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.split_whitespace();
            if let (Some("TYPE"), Some(name), Some(kind)) = (words.next(), words.next(), words.next()) {
                kinds.insert(name.to_owned(), kind_of(kind));
            }
            continue;
        }
        let (name, labels) = sample(line)?;
        samples += 1;
        let (name, kind) = family(&name, &kinds);
        let position = families.iter().position(|family| family.name == name).unwrap_or_else(|| {
            let (file, name) = (file.to_owned(), name.clone());
            families.push(Exposed { file, name, kind, labels: BTreeMap::new(), bounds: Vec::new() });
            families.len() - 1
        });
        families.get_mut(position)?.note(labels);
    }
    (samples > 0).then_some(families)
}

impl Exposed {
    fn note(&mut self, labels: Vec<(String, String)>) {
        for (label, value) in labels {
            match label.as_str() {
                "le" => {
                    let bound = value.parse::<f64>().ok().filter(|bound| bound.is_finite());
                    self.bounds.extend(bound.filter(|bound| !self.bounds.contains(bound)));
                }
                "quantile" => {}
                _ => drop(self.labels.entry(label).or_default().insert(value)),
            }
        }
        self.bounds.sort_by(f64::total_cmp);
    }
}

fn kind_of(word: &str) -> Kind {
    match word {
        "counter" => Kind::Counter,
        "gauge" | "info" | "stateset" => Kind::Gauge,
        "histogram" | "gaugehistogram" => Kind::Histogram,
        "summary" => Kind::Summary,
        _ => Kind::Untyped,
    }
}

/// The family of a sample. OpenMetrics' type lines have no `_total` and no `_info`.
fn family(sample: &str, kinds: &BTreeMap<String, Kind>) -> (String, Kind) {
    if let Some(kind) = kinds.get(sample) {
        return (sample.to_owned(), *kind);
    }
    for suffix in ["_bucket", "_sum", "_count"] {
        let base = sample.strip_suffix(suffix).and_then(|base| kinds.get_key_value(base));
        if let Some((name, kind @ (Kind::Histogram | Kind::Summary))) = base {
            return (name.clone(), *kind);
        }
    }
    for suffix in ["_total", "_info"] {
        if let Some(kind) = sample.strip_suffix(suffix).and_then(|base| kinds.get(base)) {
            return (sample.to_owned(), *kind);
        }
    }
    (sample.to_owned(), Kind::Untyped)
}

/// The name and labels of a line `name{label="value"} 1`.
fn sample(line: &str) -> Option<(String, Vec<(String, String)>)> {
    let end = line.find(|char: char| !char.is_ascii_alphanumeric() && char != '_' && char != ':')?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.strip_prefix([' ', '\t']).unwrap_or(rest).split_whitespace().next()?;
    value.parse::<f64>().ok()?;
    Some((name.to_owned(), labels))
}

/// Labels up to the closing brace, and the rest of the line.
fn labels(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.push((name.trim().to_owned(), value));
        rest = after.get(end + 1..)?;
    }
}
