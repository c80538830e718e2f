//! The counters of what insight reads in bodies: the last part of a name that begins with `scoretap.read.SERIES`.
//!
//! ```text
//! rows.CELL  rows_sum                          rows of an answer
//! value.CELL                                   numeric predictions
//! values.KIND                                  predictions by kind
//! class.WORD                                   predictions of a class; `*` are all other classes
//! repeats                                      answers whose predictions equal those before
//! errors                                       2xx answers that report an error
//! tokens.TYPE                                  tokens, as the server reports them
//! call_tokens.TYPE.CELL                        tokens of a call; the sum is `tokens.TYPE`
//! finish.REASON                                finish reasons
//! events                                       content events, which are not tokens
//! gap.CELL  gap_sum                            times between content events
//! usage.reported  usage.absent                 answers with and without reported tokens
//! first_token.CELL  first_token_sum            times from the request's last byte to the first content
//! token_time.CELL  token_time_sum              times per output token
//! stream.complete  .cut_off  .abandoned        streams by their end
//! scanned.whole  .partial  .compressed  .unreadable   bodies by how far they were read
//! column.WORD.KIND                             values of an input column by kind, or `out_of_range`
//! column_value.WORD.CELL                       numbers of an input column
//! cut                                          values that were seen but not counted
//! ```
//!
//! CELL is a position in the fixed bounds of `scoretap_scan::cells`; the last position has no upper bound. Sums are in
//! nanoseconds or rows.

use std::borrow::Cow;
use std::fmt::Write;

use scoretap_scan::cells::{
    FIRST_TOKEN_BOUNDS, GAP_BOUNDS, ROW_BOUNDS, TOKEN_BOUNDS, TOKEN_TIME_BOUNDS, VALUE_BOUNDS, VALUE_CELLS,
};
use scoretap_scan::record::{Finish, Kind, Scanned};

use crate::name::{OTHER, Words, decode_number, decode_word, encode_word};

/// One counter of what was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reading<'a> {
    /// The values in one cell, by its position.
    Cell(Spread, u8),
    /// The sum of the values of a histogram, in nanoseconds or rows.
    Sum(Summed),
    /// Predictions of this kind.
    Values(Kind),
    /// Predictions of this class; `None` is all other classes.
    Class(Option<Cow<'a, str>>),
    /// Answers whose predictions equal those before on the same worker.
    Repeats,
    /// 2xx answers that report an error.
    Errors,
    /// Tokens that the server reported.
    Tokens(TokenType),
    /// Finish reasons.
    Finish(Finish),
    /// Events with content.
    Events,
    /// LLM answers, by whether they reported tokens.
    Usage(Usage),
    /// Streams, by their end.
    Stream(StreamEnd),
    /// Bodies, by how far they were read.
    Scanned(Scanned),
    /// Values of an input column of this kind.
    Column(Cow<'a, str>, ColumnKind),
    /// The numbers of an input column in one cell of [`VALUE_BOUNDS`], by its position.
    ColumnCell(Cow<'a, str>, u8),
    /// Values and classes that were seen but not counted.
    Cut,
}

/// The `kind` label of an input column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ColumnKind {
    /// Values of this kind; numbers are in range.
    Kind(Kind),
    /// Numbers out of the configured range.
    OutOfRange,
}

impl ColumnKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Kind(Kind::Number),
        Self::OutOfRange,
        Self::Kind(Kind::Null),
        Self::Kind(Kind::NotANumber),
        Self::Kind(Kind::String),
        Self::Kind(Kind::Boolean),
        Self::Kind(Kind::Empty),
    ];

    /// The name in counters and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kind(kind) => kind.as_str(),
            Self::OutOfRange => "out_of_range",
        }
    }
}

/// A histogram over fixed bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Spread {
    /// Rows of an answer.
    Rows,
    /// Numeric predictions. They have no sum.
    Value,
    /// Input tokens of a call. [`Reading::Tokens`] is the sum.
    InputTokens,
    /// Output tokens of a call. [`Reading::Tokens`] is the sum.
    OutputTokens,
    /// Times between two content events of a stream, in nanoseconds.
    Gap,
    /// Times from the request's last byte to the first content, in nanoseconds.
    FirstToken,
    /// Times per output token, in nanoseconds.
    TokenTime,
}

/// A histogram with a counter for its sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Summed {
    /// The sum of [`Spread::Rows`].
    Rows,
    /// The sum of [`Spread::Gap`].
    Gap,
    /// The sum of [`Spread::FirstToken`].
    FirstToken,
    /// The sum of [`Spread::TokenTime`].
    TokenTime,
}

/// The `token_type` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenType {
    /// Tokens of the prompt, cached ones included.
    Input,
    /// Generated tokens, reasoning included.
    Output,
    /// Tokens of the prompt that were in a cache.
    Cached,
    /// Generated tokens that are reasoning.
    Reasoning,
}

/// The `usage` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Usage {
    /// The server reported tokens.
    Reported,
    /// The server reported no tokens.
    Absent,
}

/// The `end` label of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamEnd {
    /// The stream's own end was seen.
    Complete,
    /// The app or Envoy broke off before it.
    CutOff,
    /// The caller left before it.
    Abandoned,
}

/// The bounds of a [`Spread`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bounds {
    /// Rows or tokens.
    Counts(&'static [u64]),
    /// Nanoseconds.
    Times(&'static [u64]),
    /// Predictions.
    Values(&'static [f64]),
}

impl Bounds {
    /// How many bounds there are.
    pub const fn count(self) -> usize {
        match self {
            Self::Counts(bounds) | Self::Times(bounds) => bounds.len(),
            Self::Values(bounds) => bounds.len(),
        }
    }
}

/// Generates the names of a closed set.
macro_rules! named {
    ($set:ident, $count:literal: $($variant:ident = $name:literal,)+) => {
        impl $set {
            /// All of them.
            pub const ALL: [Self; $count] = [$(Self::$variant),+];

            /// The name in counters and labels.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

named! { Spread, 7:
    Rows = "rows",
    Value = "value",
    InputTokens = "call_tokens.input",
    OutputTokens = "call_tokens.output",
    Gap = "gap",
    FirstToken = "first_token",
    TokenTime = "token_time",
}

named! { Summed, 4:
    Rows = "rows_sum",
    Gap = "gap_sum",
    FirstToken = "first_token_sum",
    TokenTime = "token_time_sum",
}

named! { TokenType, 4:
    Input = "input",
    Output = "output",
    Cached = "cached",
    Reasoning = "reasoning",
}

named! { Usage, 2:
    Reported = "reported",
    Absent = "absent",
}

named! { StreamEnd, 3:
    Complete = "complete",
    CutOff = "cut_off",
    Abandoned = "abandoned",
}

impl Spread {
    /// The bounds of the cells.
    pub const fn bounds(self) -> Bounds {
        match self {
            Self::Rows => Bounds::Counts(&ROW_BOUNDS),
            Self::Value => Bounds::Values(&VALUE_BOUNDS),
            Self::InputTokens | Self::OutputTokens => Bounds::Counts(&TOKEN_BOUNDS),
            Self::Gap => Bounds::Times(&GAP_BOUNDS),
            Self::FirstToken => Bounds::Times(&FIRST_TOKEN_BOUNDS),
            Self::TokenTime => Bounds::Times(&TOKEN_TIME_BOUNDS),
        }
    }
}

impl Reading<'_> {
    /// A small number of its own for each reading; `None` for those with a name in them.
    pub(crate) const fn slot(&self) -> Option<usize> {
        let (group, member) = match self {
            Self::Cell(spread, cell) => (*spread as usize, *cell as usize),
            Self::Sum(summed) => (7, *summed as usize),
            Self::Values(kind) => (8, *kind as usize),
            Self::Tokens(token_type) => (9, *token_type as usize),
            Self::Finish(reason) => (10, *reason as usize),
            Self::Usage(usage) => (11, *usage as usize),
            Self::Stream(end) => (12, *end as usize),
            Self::Scanned(scanned) => (13, *scanned as usize),
            Self::Repeats => (14, 0),
            Self::Errors => (14, 1),
            Self::Events => (14, 2),
            Self::Cut => (14, 3),
            Self::Class(None) => (14, 4),
            Self::Class(Some(_)) | Self::Column(..) | Self::ColumnCell(..) => return None,
        };
        // Large groups first: a group has 64 slots if it is of cells, and 8 otherwise.
        let first = if group < CELL_GROUPS { group << 6 } else { CELLS.wrapping_add(group << 3) };
        Some(first.wrapping_add(member))
    }
}

/// The number of [`Spread`]s.
const CELL_GROUPS: usize = Spread::ALL.len();
/// The slots of cells, without the space that the same groups would take after them.
const CELLS: usize = (CELL_GROUPS << 6) - (CELL_GROUPS << 3);
const _: () = assert!(VALUE_CELLS <= 64);

impl<'a> Reading<'a> {
    /// The words without a cell or a class in them.
    const fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Cell(spread, _) => (spread.as_str(), ""),
            Self::Sum(summed) => (summed.as_str(), ""),
            Self::Values(kind) => ("values", kind.as_str()),
            Self::Class(_) => ("class", ""),
            Self::Repeats => ("repeats", ""),
            Self::Errors => ("errors", ""),
            Self::Tokens(token_type) => ("tokens", token_type.as_str()),
            Self::Finish(reason) => ("finish", reason.as_str()),
            Self::Events => ("events", ""),
            Self::Usage(usage) => ("usage", usage.as_str()),
            Self::Stream(end) => ("stream", end.as_str()),
            Self::Scanned(scanned) => ("scanned", scanned.as_str()),
            Self::Column(..) => ("column", ""),
            Self::ColumnCell(..) => ("column_value", ""),
            Self::Cut => ("cut", ""),
        }
    }

    pub(crate) fn encode(&self, out: &mut String) {
        let (first, second) = self.words();
        out.push_str(first);
        if !second.is_empty() {
            out.push('.');
            out.push_str(second);
        }
        match self {
            Self::Cell(_, cell) => _ = write!(out, ".{cell}"),
            Self::Class(None) => _ = write!(out, ".{OTHER}"),
            Self::Class(Some(name)) => {
                out.push('.');
                encode_word(name, out);
            }
            Self::Column(column, kind) => {
                out.push('.');
                encode_word(column, out);
                out.push('.');
                out.push_str(kind.as_str());
            }
            Self::ColumnCell(column, cell) => {
                out.push('.');
                encode_word(column, out);
                _ = write!(out, ".{cell}");
            }
            _ => {}
        }
    }

    pub(crate) fn decode(words: &mut Words<'a>) -> Option<Self> {
        let word = words.next()?;
        let reading = match word {
            "class" => match words.next()? {
                OTHER => Self::Class(None),
                name => Self::Class(Some(decode_word(name)?)),
            },
            "call_tokens" => match words.next()? {
                "input" => Self::cell(Spread::InputTokens, words)?,
                "output" => Self::cell(Spread::OutputTokens, words)?,
                _ => return None,
            },
            "values" => Self::Values(named(Kind::ALL, Kind::as_str, words.next()?)?),
            "repeats" => Self::Repeats,
            "errors" => Self::Errors,
            "tokens" => Self::Tokens(named(TokenType::ALL, TokenType::as_str, words.next()?)?),
            "finish" => Self::Finish(named(Finish::ALL, Finish::as_str, words.next()?)?),
            "events" => Self::Events,
            "usage" => Self::Usage(named(Usage::ALL, Usage::as_str, words.next()?)?),
            "stream" => Self::Stream(named(StreamEnd::ALL, StreamEnd::as_str, words.next()?)?),
            "scanned" => Self::Scanned(named(Scanned::ALL, Scanned::as_str, words.next()?)?),
            "column" => {
                let column = decode_word(words.next()?)?;
                Self::Column(column, named(ColumnKind::ALL, ColumnKind::as_str, words.next()?)?)
            }
            "column_value" => {
                let column = decode_word(words.next()?)?;
                let cell: u8 = decode_number(words.next()?)?;
                (usize::from(cell) < VALUE_CELLS).then_some(Self::ColumnCell(column, cell))?
            }
            "cut" => Self::Cut,
            _ => match named(Summed::ALL, Summed::as_str, word) {
                Some(summed) => Self::Sum(summed),
                None => Self::cell(named(Spread::ALL, Spread::as_str, word)?, words)?,
            },
        };
        Some(reading)
    }

    fn cell(spread: Spread, words: &mut Words<'_>) -> Option<Self> {
        let position: u8 = decode_number(words.next()?)?;
        (usize::from(position) <= spread.bounds().count()).then_some(Self::Cell(spread, position))
    }
}

fn named<T: Copy, const N: usize>(all: [T; N], name: fn(T) -> &'static str, wanted: &str) -> Option<T> {
    all.into_iter().find(|one| name(*one) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reading_has_a_slot_of_its_own() {
        let cells = Spread::ALL.into_iter().flat_map(|spread| {
            (0..=u8::MAX).take(spread.bounds().count() + 1).map(move |cell| Reading::Cell(spread, cell))
        });
        let single = [Reading::Repeats, Reading::Errors, Reading::Events, Reading::Cut, Reading::Class(None)];
        let readings: Vec<Reading<'_>> = cells
            .chain(single)
            .chain(Summed::ALL.map(Reading::Sum))
            .chain(Kind::ALL.map(Reading::Values))
            .chain(TokenType::ALL.map(Reading::Tokens))
            .chain(Finish::ALL.map(Reading::Finish))
            .chain(Usage::ALL.map(Reading::Usage))
            .chain(StreamEnd::ALL.map(Reading::Stream))
            .chain(Scanned::ALL.map(Reading::Scanned))
            .collect();
        let mut slots: Vec<usize> = readings.iter().filter_map(Reading::slot).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), readings.len());
        assert!(slots.last().is_some_and(|last| *last < 600));
        assert_eq!(Reading::Class(Some(Cow::Borrowed("cat"))).slot(), None);
    }
}
