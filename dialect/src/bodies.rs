//! Measures of bodies: counts by the value of a label, and histograms over fixed cells.

use scoretap_core::reading::{Bounds, Spread};

/// Something that bodies are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BodyCount {
    /// Values of predictions, by kind.
    Values,
    /// Predictions, by class.
    Classes,
    /// Answers with the same predictions as the one before.
    Repeats,
    /// Successful responses whose body reports an error.
    ErrorBodies,
    /// Values and classes that were seen but not counted.
    Cut,
    /// Tokens that the server reported, by type.
    Tokens,
    /// Choices, by the reason why the model stopped.
    Finishes,
    /// Stream events with content.
    StreamEvents,
    /// Answers, by whether they have a usage.
    Usage,
    /// Streams, by how they ended.
    Streams,
    /// Values of input columns, by column and kind.
    ColumnValues,
    /// Bodies, by how far they could be read.
    Scanned,
}

impl BodyCount {
    /// The families that a dialect can show.
    pub const ALL: [Self; 11] = [
        Self::Values,
        Self::Classes,
        Self::Repeats,
        Self::ErrorBodies,
        Self::Cut,
        Self::Tokens,
        Self::Finishes,
        Self::StreamEvents,
        Self::Usage,
        Self::Streams,
        Self::ColumnValues,
    ];

    /// The name in a dialect.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Classes => "classes",
            Self::Repeats => "repeats",
            Self::ErrorBodies => "error_bodies",
            Self::Cut => "cut",
            Self::Tokens => "tokens",
            Self::Finishes => "finishes",
            Self::StreamEvents => "stream_events",
            Self::Usage => "usage",
            Self::Streams => "streams",
            Self::ColumnValues => "column_values",
            Self::Scanned => "scanned",
        }
    }
}

/// A histogram over fixed cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BodyHistogram {
    /// Rows of an answer.
    Rows,
    /// Numeric predictions.
    Value,
    /// Tokens of a call, by type.
    CallTokens,
    /// Time between two content events of a stream.
    Gap,
    /// Time from the end of the request to the first token.
    FirstToken,
    /// Time per output token.
    TokenTime,
    /// Numbers of input columns, by column.
    ColumnValue,
}

impl BodyHistogram {
    /// Every histogram.
    pub const ALL: [Self; 7] = [
        Self::Rows,
        Self::Value,
        Self::CallTokens,
        Self::Gap,
        Self::FirstToken,
        Self::TokenTime,
        Self::ColumnValue,
    ];

    /// The name in a dialect.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Value => "value",
            Self::CallTokens => "call_tokens",
            Self::Gap => "time_between_events",
            Self::FirstToken => "time_to_first_token",
            Self::TokenTime => "time_per_output_token",
            Self::ColumnValue => "column_value",
        }
    }

    /// Whether the values are times.
    pub const fn is_time(self) -> bool {
        match self {
            Self::Gap | Self::FirstToken | Self::TokenTime => true,
            Self::Rows | Self::Value | Self::CallTokens | Self::ColumnValue => false,
        }
    }

    /// Whether there is a sum. Numbers in bodies can be negative, and Envoy's counters cannot.
    pub const fn has_sum(self) -> bool {
        !matches!(self, Self::Value | Self::ColumnValue)
    }

    /// The bounds of a time, in nanoseconds; none of another histogram.
    pub const fn time_bounds(self) -> &'static [u64] {
        match self.spread().bounds() {
            Bounds::Times(bounds) => bounds,
            Bounds::Counts(_) | Bounds::Values(_) => &[],
        }
    }

    /// The bounds in nanoseconds, rows, tokens or the unit of the numbers.
    pub fn bounds(self) -> Vec<f64> {
        match self.spread().bounds() {
            Bounds::Values(bounds) => bounds.to_vec(),
            Bounds::Counts(bounds) | Bounds::Times(bounds) => {
                bounds.iter().map(|bound| crate::as_float(*bound)).collect()
            }
        }
    }

    /// The filter's cells; input and output tokens have the same bounds.
    const fn spread(self) -> Spread {
        match self {
            Self::Rows => Spread::Rows,
            Self::Value | Self::ColumnValue => Spread::Value,
            Self::CallTokens => Spread::OutputTokens,
            Self::Gap => Spread::Gap,
            Self::FirstToken => Spread::FirstToken,
            Self::TokenTime => Spread::TokenTime,
        }
    }
}
