//! The part of Prometheus' text format that the exporter writes.

use std::collections::BTreeMap;

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// A series and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// The series of an exposition. Skips all other lines.
pub(crate) fn parse(text: &str) -> Vec<Series> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

fn line(line: &str) -> Option<Series> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    // A timestamp may follow.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name: name.to_owned(), labels, value })
}

fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = value(after)?;
        labels.insert(name.trim().to_owned(), value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

fn value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Some((value, text.get(index + 1..)?)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unescaped_and_comments_skipped() {
        let series =
            parse("# TYPE a counter\na{y=\"q\\\"\\\\\\n,}\",x=\"1\"} 3 1700000000\nb 1.5e3\nbroken{x=\"\n");
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].labels["y"], "q\"\\\n,}");
        assert!((series[0].value - 3.0).abs() < f64::EPSILON);
        assert!((series[1].value - 1500.0).abs() < f64::EPSILON);
    }
}
