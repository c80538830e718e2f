//! Rows as text, as wide as the terminal.

use std::collections::BTreeSet;

use super::rows::{Bodies, Key, Row, Rows};
use crate::text::clean;

/// The table. Joins or cuts columns that do not fit.
pub(crate) fn table(rows: &Rows, width: usize) -> String {
    if rows.is_empty() {
        return "no call has been measured yet\n".to_owned();
    }
    let detailed = lines(&cells(rows, true, true), usize::MAX);
    if fits(&detailed, width) {
        return detailed;
    }
    let joined = lines(&cells(rows, false, true), width);
    if fits(&joined, width) { joined } else { lines(&cells(rows, false, false), width) }
}

fn fits(table: &str, width: usize) -> bool {
    table.lines().all(|line| line.chars().count() <= width)
}

/// One column for each kind of failure that happened, or one for all; and one for each number of bodies that a pod has.
fn cells(rows: &Rows, each_failure: bool, with_bodies: bool) -> Vec<Vec<String>> {
    let failures: BTreeSet<&str> = rows
        .values()
        .flat_map(|row| row.outcomes.iter())
        .filter(|(outcome, calls)| **calls > 0.0 && !["success", "cancelled"].contains(&outcome.as_str()))
        .map(|(outcome, _)| outcome.as_str())
        .collect();
    let failures: Vec<&str> = if each_failure { failures.into_iter().collect() } else { vec!["failed"] };
    let head = ["NAMESPACE", "MODEL", "VERSION", "CALLS/S", "SUCCESS"].into_iter();
    let bodies =
        BODIES.iter().filter(|(_, cell)| with_bodies && rows.values().any(|row| cell(&row.bodies).is_some()));
    let bodies: Vec<&Column> = bodies.collect();
    let head = head.chain(failures.iter().copied()).chain(["CANCELLED", "P50", "P95", "P99"]);
    let head = head.chain(bodies.iter().map(|(name, _)| *name));
    let mut cells = vec![head.map(str::to_uppercase).collect()];
    cells.extend(rows.iter().map(|(key, row)| line(key, row, &failures, &bodies)));
    if rows.keys().map(|(namespace, _, _)| namespace).collect::<BTreeSet<_>>().len() == 1 {
        cells.iter_mut().for_each(|line: &mut Vec<String>| drop(line.remove(0)));
    }
    cells
}

/// The name of a column, and its cell if the pod has that number.
type Column = (&'static str, fn(&Bodies) -> Option<String>);

const BODIES: [Column; 4] = [
    ("ROWS/S", |bodies| bodies.rows_per_second.map(|rows| format!("{rows:.1}"))),
    ("TTFT", |bodies| bodies.first_token.map(|seconds| duration(Some(seconds)))),
    ("TOKENS/S", |bodies| bodies.tokens_per_second.map(|tokens| format!("{tokens:.1}"))),
    ("ANSWER ERRORS", |bodies| bodies.errors.map(number)),
];

fn line((namespace, model, version): &Key, row: &Row, failures: &[&str], bodies: &[&Column]) -> Vec<String> {
    let calls = |outcome: &str| row.outcomes.get(outcome).copied().unwrap_or_default();
    let failed = || {
        let all: f64 = row.outcomes.values().sum();
        all - calls("success") - calls("cancelled")
    };
    let of_failure = |failure: &&str| number(if *failure == "failed" { failed() } else { calls(failure) });
    let mut line = vec![clean(namespace), clean(model), clean(version)];
    line.push(format!("{:.1}", row.calls_per_second));
    line.push(number(calls("success")));
    line.extend(failures.iter().map(of_failure));
    line.push(number(calls("cancelled")));
    line.extend(row.quantiles.iter().map(|quantile| duration(*quantile)));
    line.extend(bodies.iter().map(|(_, cell)| cell(&row.bodies).unwrap_or_else(|| "-".to_owned())));
    line
}

fn number(calls: f64) -> String {
    format!("{calls:.0}")
}

fn duration(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds.is_nan() => "-".to_owned(),
        Some(seconds) if seconds < 0.0095 => format!("{:.1} ms", seconds * 1000.0),
        Some(seconds) if seconds < 9.95 => format!("{:.0} ms", seconds * 1000.0),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

/// Aligns names left and numbers right. Cuts the longest names until the lines fit.
fn lines(cells: &[Vec<String>], width: usize) -> String {
    let columns = cells.first().map_or(0, Vec::len);
    let is_name = |column: usize| {
        cells.first().is_some_and(|head| ["NAMESPACE", "MODEL", "VERSION"].contains(&head[column].as_str()))
    };
    let length =
        |column: usize| cells.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let mut widths: Vec<usize> = (0..columns).map(length).collect();
    while widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1) > width {
        let longest = (0..columns).filter(|column| is_name(*column)).max_by_key(|column| widths[*column]);
        match longest.filter(|column| widths[*column] > 5) {
            Some(column) => widths[column] -= 1,
            None => break,
        }
    }
    let padded = |(column, cell): (usize, &String)| {
        let width = widths[column];
        if is_name(column) { format!("{:<width$}", cut(cell, width)) } else { format!("{cell:>width$}") }
    };
    let line = |line: &Vec<String>| {
        let line = line.iter().enumerate().map(padded).collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    cells.iter().map(line).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn rows(namespaces: &[&str]) -> Rows {
        let outcomes = [("success", 1200.0), ("timeout", 3.0), ("model_error", 4.0), ("truncated", 0.0)];
        let outcomes: BTreeMap<_, _> = outcomes.map(|(name, calls)| (name.to_owned(), calls)).into();
        let row = Row {
            calls_per_second: 12.34,
            outcomes,
            quantiles: [Some(0.0042), Some(0.25), None],
            bodies: Bodies::default(),
        };
        let key = |namespace: &&str| ((*namespace).to_owned(), "churn-predictor".to_owned(), "3".to_owned());
        namespaces.iter().map(|namespace| (key(namespace), row.clone())).collect()
    }

    #[track_caller]
    fn check(rows: &Rows, width: usize, expected: &str) {
        assert_eq!(table(rows, width), expected);
    }

    #[test]
    fn wide_table_has_each_failure_that_happened() {
        let expected = "\
MODEL            VERSION  CALLS/S  SUCCESS  MODEL_ERROR  TIMEOUT  CANCELLED     P50     P95  P99
churn-predictor  3           12.3     1200            4        3          0  4.2 ms  250 ms    -
";
        check(&rows(&["a"]), 120, expected);
    }

    #[test]
    fn narrow_table_joins_failures_and_cuts_names() {
        let expected = "\
NAMES…  MODEL   VERSI…  CALLS/S  SUCCESS  FAILED  CANCELLED     P50     P95  P99
a       churn…  3          12.3     1200       7          0  4.2 ms  250 ms    -
b       churn…  3          12.3     1200       7          0  4.2 ms  250 ms    -
";
        check(&rows(&["a", "b"]), 80, expected);
    }

    #[test]
    fn insight_adds_columns_that_some_pod_has() {
        let mut rows = rows(&["a", "b"]);
        let last = rows.values_mut().next_back().unwrap();
        last.bodies = Bodies {
            rows_per_second: Some(98.76),
            errors: Some(2.0),
            tokens_per_second: None,
            first_token: Some(0.12),
        };
        let expected = "\
NAMESPACE  MODEL            VERSION  CALLS/S  SUCCESS  FAILED  CANCELLED     P50     P95  P99  ROWS/S    TTFT  ANSWER ERRORS
a          churn-predictor  3           12.3     1200       7          0  4.2 ms  250 ms    -       -       -              -
b          churn-predictor  3           12.3     1200       7          0  4.2 ms  250 ms    -    98.8  120 ms              2
";
        check(&rows, 125, expected);
    }

    #[test]
    fn hostile_names_do_not_reach_the_terminal() {
        let rows: Rows = [(("a".to_owned(), "x\u{1b}[2J".to_owned(), "1".to_owned()), Row::default())].into();
        assert!(!table(&rows, 120).contains('\u{1b}'));
    }
}
