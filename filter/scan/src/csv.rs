//! CSV that arrives in pieces. In an answer, each line is a row, and several columns are a vector.

use crate::classes::TOO_LONG;
use crate::json::{HEAD, Scalar, token};
use crate::tally::Tally;
use crate::text::{Excerpt, Text};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Plain,
    Quoted,
    /// After a quote in a quoted field: the field's end, or the first half of an escaped quote.
    Quote,
}

/// Receives CSV.
pub(crate) trait Sink {
    fn field(&mut self, scalar: Scalar<'_>);
    /// A line of this many fields ended, the last of which had this text.
    fn end_line(&mut self, fields: u64, last: Excerpt<'_>);
}

/// The state between two pieces.
#[derive(Debug, Default)]
pub(crate) struct Lexer {
    state: State,
    field: Text<HEAD>,
    was_quoted: bool,
    fields: u64,
}

impl Lexer {
    pub(crate) fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) {
        piece.iter().for_each(|byte| self.byte(*byte, sink));
    }

    /// Ends the last line.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) {
        self.end_line(sink);
    }

    fn byte(&mut self, byte: u8, sink: &mut impl Sink) {
        self.state = match (self.state, byte) {
            (State::Start, b'"') => {
                self.was_quoted = true;
                State::Quoted
            }
            (State::Quoted, b'"') => State::Quote,
            (State::Quoted, _) => {
                self.field.push(&[byte]);
                State::Quoted
            }
            (State::Quote, b'"') => {
                self.field.push(b"\"");
                State::Quoted
            }
            (_, b',') => {
                self.end_field(sink);
                State::Start
            }
            (_, b'\n' | b'\r') => {
                self.end_line(sink);
                State::Start
            }
            _ => {
                self.field.push(&[byte]);
                State::Plain
            }
        };
    }

    fn end_field(&mut self, sink: &mut impl Sink) {
        self.fields = self.fields.saturating_add(1);
        let text = std::mem::take(&mut self.field);
        let was_quoted = std::mem::take(&mut self.was_quoted);
        if text.is_empty() && !was_quoted {
            sink.field(Scalar::Null);
            return;
        }
        let number =
            token(text.excerpt()).filter(|scalar| matches!(scalar, Scalar::Number(_) | Scalar::NotANumber));
        sink.field(number.filter(|_| !was_quoted).unwrap_or(match text.head() {
            b"nan" => Scalar::NotANumber,
            _ => Scalar::String(text.excerpt()),
        }));
    }

    /// Ends a line, unless it is empty.
    fn end_line(&mut self, sink: &mut impl Sink) {
        if self.fields == 0 && self.field.is_empty() && !self.was_quoted {
            return;
        }
        let last = self.field;
        self.end_field(sink);
        sink.end_line(std::mem::take(&mut self.fields), last.excerpt());
    }
}

/// The state between two pieces of an answer.
#[derive(Debug, Default)]
pub(crate) struct Csv {
    lexer: Lexer,
    rows: Rows,
}

/// The rows of an answer.
#[derive(Debug, Default)]
struct Rows {
    lines: u64,
    /// The only text of the first line: a header, unless the next line has a text only, too.
    header: Option<Text<TOO_LONG>>,
    tally: Tally,
}

impl Csv {
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.lexer.feed(piece, &mut self.rows);
    }

    /// Ends the answer. If only its beginning was read, the last line and a first line that may be a
    /// header do not count.
    pub(crate) fn finish(mut self, is_whole: bool) -> Tally {
        if is_whole {
            self.lexer.finish(&mut self.rows);
        }
        let Rows { header, mut tally, .. } = self.rows;
        if let Some(text) = header.filter(|_| is_whole) {
            tally.row(Scalar::String(text.excerpt()));
        }
        tally
    }
}

impl Sink for Rows {
    fn field(&mut self, scalar: Scalar<'_>) {
        self.tally.element(scalar);
    }

    fn end_line(&mut self, fields: u64, last: Excerpt<'_>) {
        self.lines = self.lines.saturating_add(1);
        let is_text = self.tally.has_only_texts();
        if self.lines == 1 && is_text {
            // A line of several texts holds no prediction, header or not.
            self.header = (fields == 1).then_some(last.into());
            self.tally.drop_vector();
            return;
        }
        if let Some(first) = self.header.take().filter(|_| is_text) {
            self.tally.row(Scalar::String(first.excerpt()));
        }
        self.tally.end_vector();
    }
}
