//! The results of reading one call, in the form that one module writes and another one reads.
//!
//! At most [`LONGEST`] bytes: a version, then fields of a tag and a value. A reader skips tags that it does not know.

use crate::cells::{GAP_CELLS, VALUE_CELLS};
use crate::text::Text;

mod wire;

/// The property of a call that holds its record.
pub const PROPERTY: &str = "scoretap.call";

/// The longest record, in bytes.
pub const LONGEST: usize = 2048;

/// The longest name of a model that is kept.
pub const MODEL: usize = 80;

/// The longest version of a model that is kept.
pub const VERSION: usize = 32;

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A number or an infinity.
    Number,
    /// JSON's null, or an empty field of CSV.
    Null,
    /// A bare `NaN`.
    NotANumber,
    /// A text.
    String,
    /// True or false.
    Boolean,
    /// An empty text, or a vector without elements.
    Empty,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Number, Self::Null, Self::NotANumber, Self::String, Self::Boolean, Self::Empty];

    /// Its name as a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Null => "null",
            Self::NotANumber => "nan",
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Empty => "empty",
        }
    }
}

/// How many values there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts([u32; Kind::ALL.len()]);

impl KindCounts {
    /// No value.
    pub const NONE: Self = Self([0; Kind::ALL.len()]);

    /// Counts a value.
    pub fn add(&mut self, kind: Kind) {
        self.set(kind, self.get(kind).saturating_add(1));
    }

    /// How many values are of this kind.
    pub fn get(&self, kind: Kind) -> u32 {
        self.0.get(kind as usize).copied().unwrap_or(0)
    }

    /// How many values there are.
    pub fn total(&self) -> u32 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn set(&mut self, kind: Kind, count: u32) {
        self.0.get_mut(kind as usize).into_iter().for_each(|slot| *slot = count);
    }
}

/// Why an LLM stopped, by OpenAI's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finish {
    /// The answer was complete.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The model calls a tool.
    ToolCalls,
    /// A filter stopped it.
    ContentFilter,
    /// Another reason.
    Other,
}

impl Finish {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Stop, Self::Length, Self::ToolCalls, Self::ContentFilter, Self::Other];

    /// Its name as a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Other => "other",
        }
    }

    /// The reason that an API calls `name`.
    pub fn parse(name: &[u8]) -> Self {
        match name {
            b"stop" | b"end_turn" | b"stop_sequence" | b"eos_token" => Self::Stop,
            b"length" | b"max_tokens" | b"max_output_tokens" | b"model_context_window_exceeded" => {
                Self::Length
            }
            b"tool_calls" | b"tool_use" | b"function_call" => Self::ToolCalls,
            b"content_filter" | b"refusal" => Self::ContentFilter,
            _ => Self::Other,
        }
    }
}

/// How often each finish reason was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinishCounts([u32; Finish::ALL.len()]);

impl FinishCounts {
    /// Counts a reason.
    pub fn add(&mut self, finish: Finish) {
        self.set(finish, self.get(finish).saturating_add(1));
    }

    /// How often this reason was given.
    pub fn get(&self, finish: Finish) -> u32 {
        self.0.get(finish as usize).copied().unwrap_or(0)
    }

    fn set(&mut self, finish: Finish, count: u32) {
        self.0.get_mut(finish as usize).into_iter().for_each(|slot| *slot = count);
    }
}

/// Whether an answer reports an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// It does not.
    #[default]
    Nothing,
    /// It mentions one: a text that reads like an exception's, or an error beside predictions.
    Mentioned,
    /// It is a structured error without predictions.
    Structured,
}

/// How far a body could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scanned {
    /// To its end.
    Whole,
    /// Up to the limit, or to where it broke off.
    Partial,
    /// Not at all: it is compressed in a way that is not read.
    Compressed,
    /// It is not in a known format.
    #[default]
    Unreadable,
}

impl Scanned {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Whole, Self::Partial, Self::Compressed, Self::Unreadable];

    /// Its name as a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Compressed => "compressed",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Tokens as the server reports them. The input includes cached ones, the output includes reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub input: Option<u64>,
    /// Generated tokens.
    pub output: Option<u64>,
    /// Tokens of the prompt that were in a cache.
    pub cached: Option<u64>,
    /// Generated tokens that are reasoning.
    pub reasoning: Option<u64>,
}

impl Tokens {
    /// Whether the server reported any.
    pub fn is_reported(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }
}

/// The predictions of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// How many there are.
    pub rows: u64,
    /// Their kinds.
    pub kinds: KindCounts,
    /// How many numbers there are in each cell of [`VALUE_BOUNDS`](crate::cells::VALUE_BOUNDS), without empty ones.
    pub cells: Vec<(u8, u32)>,
    /// Classes and how often each was predicted.
    pub classes: Vec<(Vec<u8>, u32)>,
    /// Predictions of further classes, or with a text that does not look like the name of a class.
    pub other_classes: u32,
    /// Equal for answers with equal predictions, even if their ids differ.
    pub fingerprint: u64,
}

/// The values of one input column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnCounts {
    /// Its position in the configuration.
    pub column: u8,
    /// The kinds of its values, without numbers out of range.
    pub kinds: KindCounts,
    /// Numbers out of the configured range.
    pub out_of_range: u32,
    /// How many numbers there are in each cell of [`VALUE_BOUNDS`](crate::cells::VALUE_BOUNDS), without empty ones.
    pub cells: Vec<(u8, u32)>,
}

impl ColumnCounts {
    /// How many values there are.
    pub fn total(&self) -> u32 {
        self.kinds.total().saturating_add(self.out_of_range)
    }
}

/// An LLM's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Whether it came as a stream of events.
    pub is_stream: bool,
    /// Whether its own end was seen, whether or not the connection ended.
    pub is_ended: bool,
    /// The tokens that the server reported.
    pub tokens: Tokens,
    /// Why it stopped, for each choice.
    pub finish: FinishCounts,
    /// Events with content. They are not tokens.
    pub content_events: u64,
    /// When the first content came: nanoseconds since the request's last byte, if the caller's clock counts from there.
    pub first_content: Option<u64>,
    /// When the last content came, by the caller's clock.
    pub last_content: Option<u64>,
    /// How many times between content events there are in each cell of
    /// [`GAP_BOUNDS`](crate::cells::GAP_BOUNDS), without empty ones.
    pub gaps: Vec<(u8, u32)>,
}

/// The results of reading one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// How far the answer could be read.
    pub scanned: Scanned,
    /// The model that the request asks for.
    pub request_model: Text<MODEL>,
    /// The model that the answer names.
    pub model: Text<MODEL>,
    /// The version that the answer names.
    pub version: Text<VERSION>,
    /// Whether the answer reports an error.
    pub error: Finding,
    /// The predictions, unless the route is an LLM's.
    pub rows: Option<Rows>,
    /// The generation, if the route is an LLM's.
    pub generation: Option<Generation>,
    /// The configured columns of the input that have values.
    pub columns: Vec<ColumnCounts>,
    /// Values and classes that were seen but are not in the record.
    pub cut: u32,
}

impl Record {
    /// The record in bytes. Columns and classes that do not fit are counted as cut.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` if the bytes have another format.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        wire::decode(bytes)
    }
}

/// The cells that are not empty.
pub(crate) fn filled(cells: &[u32]) -> Vec<(u8, u32)> {
    const { assert!(VALUE_CELLS <= 256 && GAP_CELLS <= 256) };
    (0..=u8::MAX).zip(cells).filter(|(_, count)| **count > 0).map(|(cell, count)| (cell, *count)).collect()
}
