//! Columns in CSV: positions in lines, named by the first line if it has only texts.

use super::{Column, Columns, Values};
use crate::csv::{Lexer, Sink};
use crate::json::Scalar;
use crate::record::ColumnCounts;
use crate::text::Excerpt;

/// The state of reading a request.
#[derive(Debug)]
pub(crate) struct Input {
    lexer: Lexer,
    values: Values,
    lines: Lines,
}

#[derive(Debug, Default)]
struct Lines {
    is_later: bool,
    /// Whether this line has a value that is no text.
    has_values: bool,
    position: u64,
}

impl Input {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { lexer: Lexer::default(), values: Values::new(columns), lines: Lines::default() }
    }

    pub(crate) fn feed(&mut self, piece: &[u8], columns: &[Column]) {
        let Self { lexer, values, lines } = self;
        lexer.feed(piece, &mut (Columns { columns, values }, lines));
    }

    /// The columns that have values. If only the beginning of the request was read, its last field does not count.
    pub(crate) fn finish(&mut self, columns: &[Column], is_whole: bool) -> Vec<ColumnCounts> {
        let Self { lexer, values, lines } = self;
        if is_whole {
            lexer.finish(&mut (Columns { columns, values }, lines));
        } else if !lines.is_later && !lines.has_values {
            // All that was read may be a heading.
            values.clear();
        }
        self.values.finish()
    }
}

impl Sink for (Columns<'_>, &mut Lines) {
    fn field(&mut self, scalar: Scalar<'_>) {
        let (columns, lines) = self;
        columns.value_at(lines.position, scalar);
        if !lines.is_later {
            columns.heading(lines.position, scalar);
        }
        lines.has_values |= !matches!(scalar, Scalar::String(_));
        lines.position = lines.position.saturating_add(1);
    }

    fn end_line(&mut self, _: u64, _: Excerpt<'_>) {
        let (columns, lines) = self;
        match (lines.is_later, lines.has_values) {
            (true, _) => {}
            (false, true) => columns.forget_headings(),
            (false, false) => columns.values.clear(),
        }
        **lines = Lines { is_later: true, ..Lines::default() };
    }
}
