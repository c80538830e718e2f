//! Counts the values of some columns of the input, in a JSON request.
//!
//! A column has a name or a position. A name is looked for among the keys of all objects, in the names of `columns` and
//! `names`, and among the names of tensors. Positions count in rows that are lists.

use std::borrow::Cow;

use crate::cells::{VALUE_CELLS, value_cell};
use crate::json::{Container, Scalar, Sink};
use crate::predictions::whole;
use crate::record::{ColumnCounts, KindCounts, filled};
use crate::tally::kind;

/// How many columns can be read.
pub const MOST: usize = 32;

/// The deepest level that is read.
const DEEPEST: usize = 10;

/// Keys of rows that are lists, or of one such row.
const LISTS: [&[u8]; 10] = [
    b"data",
    b"features",
    b"input",
    b"inputs",
    b"instances",
    b"ndarray",
    b"rows",
    b"values",
    b"vector",
    b"x",
];

/// Keys below which each value of a list is a row of its own.
const BATCHES: [&[u8]; 2] = [b"instances", b"inputs"];

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
}

/// Where the values of a column are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Under this name.
    Name(String),
    /// At this position of a row, from 0.
    Index(u32),
}

/// The meaning of a value, by its position in the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nothing by itself. In an object, it may hold columns by name.
    #[default]
    Other,
    /// The whole request, or the value of a key of [`LISTS`]: a row, or a list of them.
    List,
    /// The value of a key of [`BATCHES`].
    Batch,
    /// A row that is a list.
    Row,
    /// The values of the column with this number.
    Column(u8),
    /// The names of the positions.
    Names,
    /// The name of a tensor.
    TensorName,
    Shape,
    /// The values of a tensor, one row after the other.
    Tensor,
}

/// The values of one column.
#[derive(Clone, Debug)]
struct Counts {
    kinds: KindCounts,
    out_of_range: u32,
    cells: [u32; VALUE_CELLS],
}

/// The tensor being read.
#[derive(Clone, Copy, Debug, Default)]
struct Tensor {
    /// The column with its name.
    column: Option<u8>,
    dimensions: u32,
    /// The number of values in a row.
    width: u64,
}

/// The state of reading a request. Takes about 300 bytes for each column.
#[derive(Debug)]
pub(crate) struct State {
    counts: Vec<Counts>,
    /// The position of each column in a row, once known.
    positions: Vec<Option<u64>>,
    stack: [(Container, Place); DEEPEST],
    depth: usize,
    /// The number of levels below the last one that is read.
    ignored: u32,
    /// The number of arrays around the next value.
    arrays: u32,
    next: Place,
    /// The position of the next value in a row, a tensor or the names.
    position: u64,
    tensor: Tensor,
}

/// Reads a request.
pub(crate) struct Columns<'a> {
    pub(crate) columns: &'a [Column],
    pub(crate) state: &'a mut State,
}

impl State {
    pub(crate) fn new(columns: &[Column]) -> Self {
        let positions = columns.iter().map(|column| match column.key {
            Key::Name(_) => None,
            Key::Index(index) => Some(u64::from(index)),
        });
        let empty = Counts { kinds: KindCounts::default(), out_of_range: 0, cells: [0; VALUE_CELLS] };
        Self {
            counts: vec![empty; columns.len()],
            positions: positions.collect(),
            stack: [(Container::Array, Place::Other); DEEPEST],
            depth: 0,
            ignored: 0,
            arrays: 0,
            next: Place::List,
            position: 0,
            tensor: Tensor::default(),
        }
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

    fn container(&self) -> (Container, Place) {
        self.depth
            .checked_sub(1)
            .and_then(|top| self.stack.get(top))
            .copied()
            .unwrap_or((Container::Object, Place::List))
    }

    /// The place of the value that begins now.
    fn place(&self) -> Place {
        match self.container() {
            _ if self.ignored > 0 => Place::Other,
            (Container::Object, _) => self.next,
            (Container::Array, place) => place,
        }
    }

    /// The place of the container that begins now, for its values.
    fn enter(&mut self, container: Container, place: Place) -> Place {
        match (place, container) {
            (Place::Column(_), _) => place,
            (Place::List | Place::Batch, Container::Array) if self.arrays == 0 => {
                self.position = 0;
                place
            }
            (Place::List | Place::Batch, Container::Array) if self.arrays == 1 => {
                self.position = 0;
                Place::Row
            }
            (Place::Names, Container::Array) => {
                self.position = 0;
                place
            }
            (Place::Shape, Container::Array) => {
                (self.tensor.dimensions, self.tensor.width) = (0, 1);
                place
            }
            (Place::Tensor, Container::Array) => place,
            _ => Place::Other,
        }
    }

    fn dimension(&mut self, scalar: Scalar<'_>) {
        let size = whole(scalar).unwrap_or(0);
        if self.tensor.dimensions > 0 {
            self.tensor.width = self.tensor.width.saturating_mul(size);
        }
        self.tensor.dimensions = self.tensor.dimensions.saturating_add(1);
    }
}

impl Columns<'_> {
    fn follow(&mut self, key: &[u8]) -> Place {
        if let Some(column) = self.named(key) {
            return Place::Column(column);
        }
        match key {
            // pandas writes the values of a column under the labels of the rows.
            _ if key.iter().all(u8::is_ascii_digit) => match self.state.container() {
                (_, place @ Place::Column(_)) => place,
                _ => Place::Other,
            },
            b"columns" | b"names" => Place::Names,
            b"name" => Place::TensorName,
            b"shape" => Place::Shape,
            b"data" | b"values" if self.state.tensor.dimensions > 0 => {
                self.state.position = 0;
                Place::Tensor
            }
            // A list in a row's object is no row.
            _ if self.state.arrays > 0 => Place::Other,
            _ if BATCHES.contains(&key) => Place::Batch,
            _ if LISTS.contains(&key) => Place::List,
            _ => Place::Other,
        }
    }

    fn named(&self, name: &[u8]) -> Option<u8> {
        let is_named = |column: &Column| matches!(&column.key, Key::Name(known) if known.as_bytes() == name);
        self.columns.iter().position(is_named).and_then(|position| u8::try_from(position).ok())
    }

    /// Counts a value at a position of a row.
    fn value_at(&mut self, position: u64, scalar: Scalar<'_>) {
        for column in (0..=u8::MAX).take(self.state.positions.len()) {
            if self.state.positions.get(usize::from(column)) == Some(&Some(position)) {
                self.value(column, scalar);
            }
        }
    }

    fn value(&mut self, column: u8, scalar: Scalar<'_>) {
        let column = usize::from(column);
        let Some((counts, column)) = self.state.counts.get_mut(column).zip(self.columns.get(column)) else {
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

    /// A value in a list that is not in another list: a row, or one value of the only row.
    fn listed(&mut self, place: Place, scalar: Scalar<'_>) {
        let position = if place == Place::Batch { 0 } else { self.state.position };
        self.value_at(position, scalar);
    }

    fn name(&mut self, scalar: Scalar<'_>) {
        let Scalar::String(text) = scalar else { return };
        let column = text.whole().and_then(|name| self.named(name));
        if let Some(position) = column.and_then(|column| self.state.positions.get_mut(usize::from(column))) {
            *position = Some(self.state.position);
        }
    }

    fn datum(&mut self, scalar: Scalar<'_>) {
        match self.state.tensor.column {
            Some(column) => self.value(column, scalar),
            None => {
                self.value_at(self.state.position.checked_rem(self.state.tensor.width).unwrap_or(0), scalar);
            }
        }
    }
}

impl Sink for Columns<'_> {
    fn open(&mut self, container: Container) {
        match (self.state.container(), container) {
            ((_, Place::Row), _) => self.state.position = self.state.position.saturating_add(1),
            ((Container::Array, _), Container::Object) => self.state.tensor = Tensor::default(),
            _ => {}
        }
        let place = self.state.enter(container, self.state.place());
        match self.state.stack.get_mut(self.state.depth) {
            Some(slot) if self.state.ignored == 0 => {
                *slot = (container, place);
                self.state.depth = self.state.depth.saturating_add(1);
                self.state.arrays =
                    self.state.arrays.saturating_add(u32::from(container == Container::Array));
            }
            _ => self.state.ignored = self.state.ignored.saturating_add(1),
        }
        self.state.next = Place::Other;
    }

    fn close(&mut self) {
        if self.state.ignored > 0 {
            self.state.ignored = self.state.ignored.saturating_sub(1);
            return;
        }
        let (container, _) = self.state.container();
        self.state.depth = self.state.depth.saturating_sub(1);
        self.state.arrays = self.state.arrays.saturating_sub(u32::from(container == Container::Array));
        self.state.next = Place::Other;
    }

    fn key(&mut self, key: &[u8]) {
        if self.state.ignored == 0 {
            self.state.next = self.follow(key);
        }
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        let is_listed = self.state.container().0 == Container::Array;
        let place = self.state.place();
        match place {
            Place::Column(column) => self.value(column, scalar),
            Place::List | Place::Batch if is_listed => self.listed(place, scalar),
            Place::Row => self.value_at(self.state.position, scalar),
            Place::Names => self.name(scalar),
            Place::Shape => self.state.dimension(scalar),
            Place::Tensor => self.datum(scalar),
            Place::TensorName => {
                if let Scalar::String(text) = scalar {
                    self.state.tensor.column = text.whole().and_then(|name| self.named(name));
                }
            }
            Place::Other | Place::List | Place::Batch => {}
        }
        if is_listed && place != Place::Other {
            self.state.position = self.state.position.saturating_add(1);
        }
        self.state.next = Place::Other;
    }

    fn piece(&mut self, _: &[u8]) {}
}
