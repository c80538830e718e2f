//! Replaces Grafana's variables in queries.
//!
//! Within a string a variable becomes [`ANY`], or its only value. Elsewhere it is a duration, a number, or a part of a
//! name; the parser decides which of these fits.

use std::collections::BTreeMap;

use super::model::ANY;

/// A part of a name that only a user of the dashboard chooses.
pub(super) const ANY_NAME: &str = "scoretap_any";
/// Stands for every interval.
const INTERVAL: &str = "5m";
/// More undecided variables than this are all read alike.
const MOST_UNDECIDED: usize = 4;
/// The most values of a variable that are tried outside strings.
const MOST_VALUES: usize = 10;

/// The variables of a dashboard whose values it lists, by name. Others can have any value.
pub(super) type Variables = BTreeMap<String, Vec<String>>;

/// A query with its variables replaced.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Replaced {
    /// One for each value of a variable outside strings. Each has several readings, of which the first that parses
    /// counts.
    pub(super) readings: Vec<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    /// A variable outside strings, which has no other meaning than its value.
    Open {
        name: &'a str,
        in_name: bool,
    },
    Fixed(String),
}

/// Replaces the variables of a query.
pub(super) fn replace(expr: &str, variables: &Variables) -> Replaced {
    let pieces = pieces(expr, variables);
    let listed = pieces.iter().find_map(|piece| match piece {
        Piece::Open { name, .. } => {
            variables.get(*name).filter(|values| !values.is_empty()).map(|values| (*name, values))
        }
        _ => None,
    });
    let readings = match listed {
        None => vec![readings(&pieces, None)],
        Some((name, values)) => {
            let values = values.iter().take(MOST_VALUES);
            values.map(|value| readings(&pieces, Some((name, value)))).collect()
        }
    };
    Replaced { readings }
}

/// The variables with the values of those that they refer to.
pub(super) fn resolved(variables: &Variables) -> Variables {
    let expand_all = |values: &Vec<String>| {
        let expanded = values.iter().flat_map(|value| expanded(value, variables, 0));
        expanded.take(MOST_VALUES.max(values.len())).collect()
    };
    variables.iter().map(|(name, values)| (name.clone(), expand_all(values))).collect()
}

/// A text for each value of the variables in it. References that lead nowhere stay.
fn expanded(text: &str, variables: &Variables, depth: usize) -> Vec<String> {
    const DEEPEST: usize = 5;
    let mut references =
        text.match_indices(['$', '[']).filter_map(|(at, _)| Some((at, variable(&text[at..])?)));
    let known = references.find_map(|(at, (name, length))| Some((at, length, variables.get(name)?)));
    match known {
        Some((at, length, values)) if depth < DEEPEST => {
            let (before, after) = (&text[..at], &text[at + length..]);
            let texts = values.iter().take(MOST_VALUES).map(|value| format!("{before}{value}{after}"));
            let expanded = texts.flat_map(|text| expanded(&text, variables, depth + 1));
            expanded.take(MOST_VALUES).collect()
        }
        _ => vec![text.to_owned()],
    }
}

/// Replaces all variables in the value of a variable.
fn open(text: &str, with: &str) -> String {
    let mut open = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let (piece, length) =
            variable(rest).map_or((None, next.len_utf8()), |(_, length)| (Some(with), length));
        open.push_str(piece.unwrap_or(&rest[..length]));
        rest = &rest[length..];
    }
    open
}

/// All readings of the variables without a value: as a number and as a name, or a part of one.
fn readings(pieces: &[Piece<'_>], given: Option<(&str, &str)>) -> Vec<String> {
    let is_undecided = |piece: &&Piece<'_>| matches!(piece, Piece::Open { name, in_name: false } if given.is_none_or(|(given, _)| given != *name));
    let undecided = pieces.iter().filter(is_undecided).count().min(MOST_UNDECIDED);
    let reading = |choice: u32| {
        let mut at = 0;
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Fixed(piece) => text.push_str(piece),
                Piece::Open { name, .. } if given.is_some_and(|(given, _)| given == *name) => {
                    text.push_str(&given.map(|(_, value)| open(value, ANY_NAME)).unwrap_or_default());
                }
                Piece::Open { in_name: true, .. } => text.push_str(ANY_NAME),
                Piece::Open { .. } => {
                    let is_name = choice >> at.min(MOST_UNDECIDED - 1) & 1 == 1;
                    text.push_str(if is_name { ANY_NAME } else { "1" });
                    at += 1;
                }
            }
        }
        text
    };
    (0..1_u32 << undecided).map(reading).collect()
}

fn pieces<'a>(expr: &'a str, variables: &Variables) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut quote = None;
    let (mut start, mut at) = (0, 0);
    while let Some(next) = expr[at..].chars().next() {
        if let Some((name, length)) = variable(&expr[at..]) {
            pieces.push(Piece::Text(&expr[start..at]));
            let (before, after) = (&expr[..at], &expr[at + length..]);
            pieces.push(piece(name, before, after, quote.is_some(), variables));
            at += length;
            start = at;
            continue;
        }
        at += next.len_utf8();
        match (quote, next) {
            (None, '"' | '\'' | '`') => quote = Some(next),
            (Some(open), _) if open == next => quote = None,
            (Some('"' | '\''), '\\') => at += expr[at..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
    }
    pieces.push(Piece::Text(&expr[start..]));
    pieces
}

fn piece<'a>(name: &'a str, before: &str, after: &str, quoted: bool, variables: &Variables) -> Piece<'a> {
    if let Some(text) = built_in(name) {
        return Piece::Fixed(text.to_owned());
    }
    if quoted {
        return Piece::Fixed(match variables.get(name).map(Vec::as_slice) {
            Some([only]) => open(only, ANY),
            _ => ANY.to_owned(),
        });
    }
    if is_interval(before) {
        return Piece::Fixed(INTERVAL.to_owned());
    }
    let is_part =
        |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || "_:$".contains(char));
    Piece::Open { name, in_name: is_part(before.chars().next_back()) || is_part(after.chars().next()) }
}

/// Grafana's own variables.
fn built_in(name: &str) -> Option<&'static str> {
    match name {
        "__range_s" => Some("300"),
        "__range_ms" | "__interval_ms" => Some("300000"),
        "__from" | "__to" => Some("1700000000000"),
        name if name.starts_with("__") => Some(INTERVAL),
        _ => None,
    }
}

/// Whether a range, a step or an offset is expected here.
fn is_interval(before: &str) -> bool {
    let before = before.trim_end();
    let in_range = before.rfind('[').is_some_and(|open| !before[open..].contains(']'));
    in_range || before.ends_with("offset")
}

/// A variable at the start of a text, and the length of its reference: `$a`, `${a}`, `${a:regex}`, `[[a]]`.
fn variable(text: &str) -> Option<(&str, usize)> {
    if let Some(rest) = text.strip_prefix("${") {
        return enclosed(rest, "}").map(|(name, length)| (name, length + 2));
    }
    if let Some(rest) = text.strip_prefix("[[") {
        return enclosed(rest, "]]").map(|(name, length)| (name, length + 2));
    }
    let rest = text.strip_prefix('$')?;
    let length = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
    (length > 0 && !rest.starts_with(|first: char| first.is_ascii_digit()))
        .then(|| (&rest[..length], length + 1))
}

fn enclosed<'a>(text: &'a str, end: &str) -> Option<(&'a str, usize)> {
    let length = text.find(end)?;
    let name = text[..length].split([':', '.']).next().unwrap_or_default();
    let is_name = !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    is_name.then_some((name, length + end.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expr: &str, expected: &[&str]) {
        let variables = Variables::from([
            ("only".to_owned(), vec!["churn".to_owned()]),
            ("metric".to_owned(), vec!["a_total".to_owned(), "b_total".to_owned()]),
        ]);
        let readings = replace(expr, &variables).readings.concat();
        assert_eq!(
            readings,
            expected.iter().map(|text| text.replace('?', ANY)).collect::<Vec<_>>(),
            "{expr}"
        );
    }

    #[test]
    fn variables_refer_to_each_other() {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let variables = Variables::from([
            ("app".to_owned(), values(&["churn"])),
            ("metric".to_owned(), values(&["${app}_requests_total", "b_total"])),
            ("circle".to_owned(), values(&["$circle"])),
            ("path".to_owned(), values(&["/$app/$unknown"])),
        ]);
        let read = |expr: &str| replace(expr, &resolved(&variables)).readings.concat();
        assert_eq!(read("rate($metric[5m])"), ["rate(churn_requests_total[5m])", "rate(b_total[5m])"]);
        assert_eq!(read(r#"a{b="$path", c="$circle"}"#), [format!(r#"a{{b="/churn/{ANY}", c="{ANY}"}}"#)]);
    }

    #[test]
    fn intervals_become_five_minutes() {
        check("rate(a[$__rate_interval])", &["rate(a[5m])"]);
        check("rate(a[${window}]) offset $ago", &["rate(a[5m]) offset 5m"]);
        check("a[${__range_s}s:$step]", &["a[300s:5m]"]);
    }

    #[test]
    fn strings_take_any_value_or_the_only_one() {
        check(r#"a{b=~"$b", c="[[c]]x", d="${only:regex}"}"#, &[r#"a{b=~"?", c="?x", d="churn"}"#]);
        check(r#"a{b="\"$b"}"#, &[r#"a{b="\"?"}"#]);
        check(r#"a{b="x$"}"#, &[r#"a{b="x$"}"#]);
    }

    #[test]
    fn other_variables_are_numbers_or_names() {
        check("topk($n, a)", &["topk(1, a)", "topk(scoretap_any, a)"]);
        check("${app}_requests_total", &["scoretap_any_requests_total"]);
        check("rate($metric[5m])", &["rate(a_total[5m])", "rate(b_total[5m])"]);
    }
}
