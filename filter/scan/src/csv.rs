//! CSV answers: each line is a row, and several columns are a vector.

use crate::classes::TOO_LONG;
use crate::json::{HEAD, Scalar, token};
use crate::tally::Tally;
use crate::text::Text;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Plain,
    Quoted,
    /// After a quote in a quoted field: the field's end, or the first half of an escaped quote.
    Quote,
}

/// The state between two pieces of a CSV answer.
#[derive(Debug, Default)]
pub(crate) struct Csv {
    state: State,
    field: Text<HEAD>,
    was_quoted: bool,
    fields: u64,
    lines: u64,
    /// The only text of the first line: a header, unless the next line has a text only, too.
    header: Option<Text<TOO_LONG>>,
    pub(crate) tally: Tally,
}

impl Csv {
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        piece.iter().for_each(|byte| self.byte(*byte));
    }

    pub(crate) fn finish(&mut self) {
        self.end_line();
        if let Some(text) = self.header.take() {
            self.tally.row(Scalar::String(text.excerpt()));
        }
    }

    fn byte(&mut self, byte: u8) {
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
                self.end_field();
                State::Start
            }
            (_, b'\n' | b'\r') => {
                self.end_line();
                State::Start
            }
            _ => {
                self.field.push(&[byte]);
                State::Plain
            }
        };
    }

    fn end_field(&mut self) {
        self.fields = self.fields.saturating_add(1);
        let text = std::mem::take(&mut self.field);
        let was_quoted = std::mem::take(&mut self.was_quoted);
        if text.is_empty() && !was_quoted {
            self.tally.element(Scalar::Null);
            return;
        }
        let number =
            token(text.excerpt()).filter(|scalar| matches!(scalar, Scalar::Number(_) | Scalar::NotANumber));
        self.tally.element(number.filter(|_| !was_quoted).unwrap_or(match text.head() {
            b"nan" => Scalar::NotANumber,
            _ => Scalar::String(text.excerpt()),
        }));
    }

    /// Ends a line, unless it is empty.
    fn end_line(&mut self) {
        if self.fields == 0 && self.field.is_empty() && !self.was_quoted {
            return;
        }
        let text = self.field;
        self.end_field();
        self.lines = self.lines.saturating_add(1);
        let (only, is_text) = (self.fields == 1, self.tally.has_only_texts());
        self.fields = 0;
        if self.lines == 1 && is_text {
            // A line of several texts holds no prediction, header or not.
            self.header = only.then_some(text.excerpt().into());
            self.tally.drop_vector();
            return;
        }
        if let Some(first) = self.header.take().filter(|_| is_text) {
            self.tally.row(Scalar::String(first.excerpt()));
        }
        self.tally.end_vector();
    }
}
