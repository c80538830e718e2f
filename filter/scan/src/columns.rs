//! Counts the values of some columns of the input.
//!
//! A column has a name or a position. A name is looked for among the keys of all JSON objects, in headings, and among
//! the names of tensors. Positions count in rows that are lists, in lines of CSV and in the rows of tensors.

pub(crate) mod csv;
pub(crate) mod grpc;
pub(crate) mod json;
pub(crate) mod tensors;

use std::borrow::Cow;

use crate::cells::{VALUE_CELLS, value_cell};
use crate::json::Scalar;
use crate::record::{ColumnCounts, KindCounts, filled};
use crate::tally::kind;

/// How many columns can be read.
pub const MOST: usize = 32;

/// The longest name of a column, in bytes.
pub const LONGEST_NAME: usize = 64;

/// A column of the input, and its range.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Where its values are.
    pub key: Key,
    /// The least value in range.
    pub min: f64,
    /// The greatest value in range.
    pub max: f64,
}

impl Column {
    /// Its name, or its position, as a label.
    pub fn label(&self) -> Cow<'_, str> {
        match &self.key {
            Key::Name(name) => Cow::Borrowed(name),
            Key::Index(index) => Cow::Owned(index.to_string()),
        }
    }

    /// Its position in a row, if it has no name.
    fn position(&self) -> Option<u64> {
        match self.key {
            Key::Name(_) => None,
            Key::Index(index) => Some(u64::from(index)),
        }
    }
}

/// Where the values of a column are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Under this name.
    Name(String),
    /// At this position of a row, from 0.
    Index(u32),
}

/// The values of one column.
#[derive(Clone, Debug)]
struct Counts {
    kinds: KindCounts,
    out_of_range: u32,
    cells: [u32; VALUE_CELLS],
}

const EMPTY: Counts = Counts { kinds: KindCounts::NONE, out_of_range: 0, cells: [0; VALUE_CELLS] };

/// The values of all columns. Takes about 300 bytes for each.
#[derive(Debug)]
pub(crate) struct Values {
    counts: Vec<Counts>,
    /// The position of each column in a row, once known.
    positions: Vec<Option<u64>>,
}

impl Values {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { counts: vec![EMPTY; columns.len()], positions: columns.iter().map(Column::position).collect() }
    }

    /// Forgets all values.
    fn clear(&mut self) {
        self.counts.fill(EMPTY);
    }

    /// The columns that have values.
    pub(crate) fn finish(&self) -> Vec<ColumnCounts> {
        let counts = (0..=u8::MAX).zip(&self.counts);
        counts
            .filter(|(_, counts)| counts.out_of_range > 0 || counts.kinds.total() > 0)
            .map(|(column, counts)| ColumnCounts {
                column,
                kinds: counts.kinds,
                out_of_range: counts.out_of_range,
                cells: filled(&counts.cells),
            })
            .collect()
    }
}

/// The columns, and their values in the request being read.
pub(crate) struct Columns<'a> {
    pub(crate) columns: &'a [Column],
    pub(crate) values: &'a mut Values,
}

impl Columns<'_> {
    /// The column with this name.
    fn named(&self, name: &[u8]) -> Option<u8> {
        let is_named = |column: &Column| matches!(&column.key, Key::Name(known) if known.as_bytes() == name);
        self.columns.iter().position(is_named).and_then(|position| u8::try_from(position).ok())
    }

    /// Whether a column is at a position below `width`.
    fn has_positions(&self, width: u64) -> bool {
        self.values.positions.iter().flatten().any(|position| *position < width)
    }

    /// Notes that the values of a column are at this position, if the text names one.
    fn heading(&mut self, position: u64, scalar: Scalar<'_>) {
        let Scalar::String(text) = scalar else { return };
        let column = text.whole().and_then(|name| self.named(name));
        let slot = column.and_then(|column| self.values.positions.get_mut(usize::from(column)));
        slot.into_iter().for_each(|slot| *slot = Some(position));
    }

    /// Forgets the headings.
    fn forget_headings(&mut self) {
        self.values.positions = self.columns.iter().map(Column::position).collect();
    }

    /// Counts a value at a position of a row.
    fn value_at(&mut self, position: u64, scalar: Scalar<'_>) {
        for column in (0..=u8::MAX).take(self.values.positions.len()) {
            if self.values.positions.get(usize::from(column)) == Some(&Some(position)) {
                self.value(column, scalar);
            }
        }
    }

    fn value(&mut self, column: u8, scalar: Scalar<'_>) {
        let column = usize::from(column);
        let Some((counts, column)) = self.values.counts.get_mut(column).zip(self.columns.get(column)) else {
            return;
        };
        if let Scalar::Number(Some(number)) = scalar {
            if let Some(cell) = counts.cells.get_mut(value_cell(number)) {
                *cell = cell.saturating_add(1);
            }
            if number < column.min || number > column.max {
                counts.out_of_range = counts.out_of_range.saturating_add(1);
                return;
            }
        }
        counts.kinds.add(kind(scalar));
    }
}
