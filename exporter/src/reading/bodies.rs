//! The measurements of bodies: counts by a label's value, and histograms over fixed cells.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use scoretap_core::reading::{ColumnKind, Reading as Read, Spread, StreamEnd, Summed, TokenType, Usage};
use scoretap_dialect::bodies::{BodyCount, BodyHistogram};
use scoretap_scan::record::{Finish, Kind, Scanned};

use crate::reading::measured::earlier;

/// The class of predictions whose own class has no counter.
const OTHER: &str = "other";

/// A count, and when it was 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The number.
    pub count: u64,
    /// When it was 0.
    pub created: Option<SystemTime>,
}

/// The values in fixed cells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FixedCells {
    /// The values in each cell up to the last that has any.
    pub cells: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
    /// When the count was 0.
    pub created: Option<SystemTime>,
}

/// The measurements of the bodies of one series.
#[derive(Debug, Default, PartialEq)]
pub struct Bodies {
    counts: BTreeMap<(BodyCount, Label, Label), Count>,
    histograms: BTreeMap<(BodyHistogram, Label), FixedCells>,
}

/// The value of a label.
type Label = Cow<'static, str>;

/// The values of the labels of a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels<'a> {
    /// The input column; empty if the count is of none.
    pub column: &'a str,
    /// The other value.
    pub value: &'a str,
}

impl Bodies {
    /// Whether no body was read.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.histograms.is_empty()
    }

    /// Whether an answer had predictions.
    pub fn has_predictions(&self) -> bool {
        self.has(BodyCount::Values) || self.histogram(BodyHistogram::Rows, "").is_some()
    }

    /// Whether an LLM answered.
    pub fn has_generations(&self) -> bool {
        [BodyCount::Usage, BodyCount::Tokens, BodyCount::Streams].into_iter().any(|count| self.has(count))
    }

    /// The total of a count over all values of its label.
    pub fn total(&self, of: BodyCount) -> u64 {
        self.counted(of).fold(0, |sum, (_, count)| sum.saturating_add(count.count))
    }

    /// A count for one value of its label.
    pub fn count(&self, of: BodyCount, value: &str) -> u64 {
        self.counted(of).find(|(known, _)| known.value == value).map_or(0, |(_, count)| count.count)
    }

    /// The values of the labels and their counts, including those that are 0 so far.
    /// A count that a series has from the start was 0 at `since`.
    pub fn samples(&self, of: BodyCount, since: Option<SystemTime>) -> Vec<(Labels<'_>, Count)> {
        if self.is_empty() {
            return Vec::new();
        }
        let columns = if of == BodyCount::ColumnValues { self.columns() } else { vec![""] };
        let expected = expected(of, self);
        let labels =
            columns.into_iter().flat_map(|column| expected.iter().map(move |value| Labels { column, value }));
        let mut samples: Vec<(Labels<'_>, Count)> =
            labels.map(|labels| (labels, Count { count: 0, created: since })).collect();
        for (labels, count) in self.counted(of) {
            match samples.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, known)) => known.count = count.count,
                None => samples.push((labels, count)),
            }
        }
        samples
    }

    /// The input columns that have values.
    fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> =
            self.counted(BodyCount::ColumnValues).map(|(labels, _)| labels.column).collect();
        columns.dedup();
        columns
    }

    /// A histogram for one value of its label; an empty value if it has no label.
    pub fn histogram(&self, of: BodyHistogram, value: &str) -> Option<&FixedCells> {
        self.histograms_of(of).find(|(known, _)| *known == value).map(|(_, cells)| cells)
    }

    /// A histogram for each value of its label.
    pub fn histograms_of(&self, of: BodyHistogram) -> impl Iterator<Item = (&str, &FixedCells)> {
        let wanted = self.histograms.iter().filter(move |((histogram, _), _)| *histogram == of);
        wanted.map(|((_, value), cells)| (value.as_ref(), cells))
    }

    pub(crate) fn counts_mut(&mut self) -> impl Iterator<Item = (&(BodyCount, Label, Label), &mut Count)> {
        self.counts.iter_mut()
    }

    pub(crate) fn histograms_mut(
        &mut self,
    ) -> impl Iterator<Item = (&(BodyHistogram, Label), &mut FixedCells)> {
        self.histograms.iter_mut()
    }

    /// Adds one of the filter's counters.
    pub(super) fn read(&mut self, reading: Read<'_>, count: u64) {
        let (of, value) = match reading {
            Read::Cell(spread, cell) => {
                let (of, value) = histogram(spread);
                return self.add_cell(of, value.into(), usize::from(cell), count);
            }
            Read::Sum(summed) => return self.add_sum(summed_histogram(summed), "", count),
            Read::Column(column, kind) => {
                let column = Cow::Owned(column.into_owned());
                return self.add(BodyCount::ColumnValues, column, kind.as_str().into(), count);
            }
            Read::ColumnCell(column, cell) => {
                let column = Cow::Owned(column.into_owned());
                return self.add_cell(BodyHistogram::ColumnValue, column, usize::from(cell), count);
            }
            Read::Values(kind) => (BodyCount::Values, kind.as_str()),
            Read::Class(name) => {
                let name = name.map_or(Cow::Borrowed(OTHER), |name| Cow::Owned(name.into_owned()));
                return self.add(BodyCount::Classes, "".into(), name, count);
            }
            Read::Repeats => (BodyCount::Repeats, ""),
            Read::Errors => (BodyCount::ErrorBodies, ""),
            Read::Tokens(token_type) => {
                // The sum of the tokens of all calls is the counter of tokens.
                if matches!(token_type, TokenType::Input | TokenType::Output) {
                    self.add_sum(BodyHistogram::CallTokens, token_type.as_str(), count);
                }
                (BodyCount::Tokens, token_type.as_str())
            }
            Read::Finish(reason) => (BodyCount::Finishes, reason.as_str()),
            Read::Events => (BodyCount::StreamEvents, ""),
            Read::Usage(usage) => (BodyCount::Usage, usage.as_str()),
            Read::Stream(end) => (BodyCount::Streams, end.as_str()),
            Read::Scanned(scanned) => (BodyCount::Scanned, scanned.as_str()),
            Read::Cut => (BodyCount::Cut, ""),
        };
        self.add(of, "".into(), value.into(), count);
    }

    fn add(&mut self, of: BodyCount, column: Label, value: Label, count: u64) {
        let sum = &mut self.counts.entry((of, column, value)).or_default().count;
        *sum = sum.saturating_add(count);
    }

    fn add_cell(&mut self, of: BodyHistogram, value: Label, cell: usize, count: u64) {
        let cells = &mut self.histograms.entry((of, value)).or_default().cells;
        if cells.len() <= cell {
            cells.resize(cell.saturating_add(1), 0);
        }
        if let Some(sum) = cells.get_mut(cell) {
            *sum = sum.saturating_add(count);
        }
    }

    fn add_sum(&mut self, of: BodyHistogram, value: &'static str, sum: u64) {
        let total = &mut self.histograms.entry((of, value.into())).or_default().sum;
        *total = total.saturating_add(sum);
    }

    fn has(&self, of: BodyCount) -> bool {
        self.counted(of).next().is_some()
    }

    fn counted(&self, of: BodyCount) -> impl Iterator<Item = (Labels<'_>, Count)> {
        let wanted = self.counts.iter().filter(move |((known, ..), _)| *known == of);
        wanted.map(|((_, column, value), count)| (Labels { column, value }, *count))
    }
}

/// The values that a series has from its first body of this sort, so that `rate()` sees their first increment.
fn expected(of: BodyCount, bodies: &Bodies) -> Vec<&'static str> {
    match of {
        BodyCount::Values if bodies.has_predictions() => Kind::ALL.map(Kind::as_str).to_vec(),
        BodyCount::ColumnValues => ColumnKind::ALL.map(ColumnKind::as_str).to_vec(),
        BodyCount::Repeats if bodies.has_predictions() => vec![""],
        BodyCount::ErrorBodies | BodyCount::Cut => vec![""],
        BodyCount::Tokens if bodies.has_generations() => {
            [TokenType::Input, TokenType::Output].map(TokenType::as_str).to_vec()
        }
        BodyCount::Finishes if bodies.has_generations() => Finish::ALL.map(Finish::as_str).to_vec(),
        BodyCount::StreamEvents if bodies.has_generations() => vec![""],
        BodyCount::Usage if bodies.has_generations() => Usage::ALL.map(Usage::as_str).to_vec(),
        BodyCount::Streams if bodies.has_generations() => StreamEnd::ALL.map(StreamEnd::as_str).to_vec(),
        BodyCount::Scanned => Scanned::ALL.map(Scanned::as_str).to_vec(),
        BodyCount::Values
        | BodyCount::Classes
        | BodyCount::Repeats
        | BodyCount::Tokens
        | BodyCount::Finishes
        | BodyCount::StreamEvents
        | BodyCount::Usage
        | BodyCount::Streams => Vec::new(),
    }
}

fn histogram(spread: Spread) -> (BodyHistogram, &'static str) {
    match spread {
        Spread::Rows => (BodyHistogram::Rows, ""),
        Spread::Value => (BodyHistogram::Value, ""),
        Spread::InputTokens => (BodyHistogram::CallTokens, TokenType::Input.as_str()),
        Spread::OutputTokens => (BodyHistogram::CallTokens, TokenType::Output.as_str()),
        Spread::Gap => (BodyHistogram::Gap, ""),
        Spread::FirstToken => (BodyHistogram::FirstToken, ""),
        Spread::TokenTime => (BodyHistogram::TokenTime, ""),
    }
}

const fn summed_histogram(summed: Summed) -> BodyHistogram {
    match summed {
        Summed::Rows => BodyHistogram::Rows,
        Summed::Gap => BodyHistogram::Gap,
        Summed::FirstToken => BodyHistogram::FirstToken,
        Summed::TokenTime => BodyHistogram::TokenTime,
    }
}

impl FixedCells {
    /// Adds the values of `other`.
    pub fn merge(&mut self, other: &Self) {
        if self.cells.len() < other.cells.len() {
            self.cells.resize(other.cells.len(), 0);
        }
        for (sum, count) in self.cells.iter_mut().zip(&other.cells) {
            *sum = sum.saturating_add(*count);
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.created = earlier(self.created, other.created);
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.cells.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(readings: &[(Read<'_>, u64)]) -> Bodies {
        let mut bodies = Bodies::default();
        readings.iter().for_each(|(reading, count)| bodies.read(reading.clone(), *count));
        bodies
    }

    #[track_caller]
    fn check(readings: &[(Read<'_>, u64)], of: BodyCount, expected: &[(&str, u64)]) {
        let bodies = bodies(readings);
        let found: Vec<_> =
            bodies.samples(of, None).into_iter().map(|(labels, count)| (labels.value, count.count)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn first_answer_brings_every_value_of_its_labels() {
        let usage = [(Read::Usage(Usage::Absent), 3)];
        check(&usage, BodyCount::Usage, &[("reported", 0), ("absent", 3)]);
        check(&usage, BodyCount::Streams, &[("complete", 0), ("cut_off", 0), ("abandoned", 0)]);
        check(&usage, BodyCount::Tokens, &[("input", 0), ("output", 0)]);
        check(&usage, BodyCount::Repeats, &[]);
        let rows = [(Read::Cell(Spread::Rows, 0), 3)];
        check(&rows, BodyCount::Repeats, &[("", 0)]);
        check(&rows, BodyCount::Usage, &[]);
        check(&[], BodyCount::ErrorBodies, &[]);
    }

    #[test]
    fn further_token_types_appear_with_their_first_token() {
        let tokens = [(Read::Tokens(TokenType::Reasoning), 5), (Read::Tokens(TokenType::Output), 9)];
        check(&tokens, BodyCount::Tokens, &[("input", 0), ("output", 9), ("reasoning", 5)]);
    }

    #[test]
    fn class_named_other_is_added_to_other_classes() {
        let classes = [(Read::Class(None), 1), (Read::Class(Some("other".into())), 2)];
        check(&classes, BodyCount::Classes, &[("other", 3)]);
    }

    #[test]
    fn column_has_every_kind_from_its_first_value() {
        let column = |kind| Read::Column("age".into(), kind);
        let bodies = bodies(&[(column(ColumnKind::OutOfRange), 2), (Read::ColumnCell("age".into(), 3), 2)]);
        let found: Vec<_> = bodies
            .samples(BodyCount::ColumnValues, None)
            .into_iter()
            .map(|(Labels { column, value }, Count { count, .. })| format!("{column} {value} {count}"))
            .collect();
        let kinds = ["number 0", "out_of_range 2", "null 0", "nan 0", "string 0", "boolean 0", "empty 0"];
        assert_eq!(found, kinds.map(|kind| format!("age {kind}")));
        assert_eq!(bodies.histogram(BodyHistogram::ColumnValue, "age").unwrap().count(), 2);
    }

    #[test]
    fn tokens_are_the_sum_of_call_tokens() {
        let bodies = bodies(&[
            (Read::Cell(Spread::InputTokens, 3), 2),
            (Read::Tokens(TokenType::Input), 40),
            (Read::Tokens(TokenType::Cached), 7),
        ]);
        let found: Vec<_> = bodies.histograms_of(BodyHistogram::CallTokens).collect();
        assert_eq!(found, [("input", &FixedCells { cells: vec![0, 0, 0, 2], sum: 40, created: None })]);
    }
}
