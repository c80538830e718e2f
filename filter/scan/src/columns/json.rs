//! Columns in a JSON request.

use super::Columns;
use super::tensors::{Binaries, Tensor};
use crate::json::{Container, Scalar, Sink};
use crate::predictions::whole;
use crate::tensor::DataType;

/// The deepest level that is read.
const DEEPEST: usize = 10;

/// Keys of rows that are lists, or of one such row.
const LISTS: [&[u8]; 8] = [b"data", b"features", b"input", b"ndarray", b"rows", b"values", b"vector", b"x"];

/// The meaning of a value, by its position in the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nothing by itself. In an object, it may hold columns by name.
    #[default]
    Other,
    /// The whole request, or the value of a key of [`LISTS`]: a row, or a list of them.
    List,
    /// The value of `instances`, where each value of a list is a row of its own.
    Batch,
    /// The value of `inputs`: like `instances`, or a list of tensors.
    Inputs,
    /// A row that is a list.
    Row,
    /// The values of the column with this number.
    Column(u8),
    /// The names of the positions.
    Names,
    /// The name of a tensor.
    TensorName,
    DataType,
    Shape,
    /// How many bytes of the tensor follow the JSON part.
    BinarySize,
    /// The values of a tensor, one row after the other.
    Tensor,
    /// The values of a tensor whose shape comes later. They can be read if each row is a list.
    Unshaped,
}

/// The state of reading a request.
#[derive(Debug)]
pub(crate) struct Places {
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
    /// The tensors whose values follow the JSON part.
    binaries: Binaries,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            stack: [(Container::Array, Place::Other); DEEPEST],
            depth: 0,
            ignored: 0,
            arrays: 0,
            next: Place::List,
            position: 0,
            tensor: Tensor::default(),
            binaries: Binaries::default(),
        }
    }
}

impl Places {
    /// Reads the bytes after the JSON part.
    pub(crate) fn feed_binary(&mut self, piece: &[u8], columns: &mut Columns<'_>) {
        self.binaries.feed_all(piece, columns);
    }

    fn container(&self) -> (Container, Place) {
        self.depth
            .checked_sub(1)
            .and_then(|top| self.stack.get(top))
            .copied()
            .unwrap_or((Container::Object, Place::List))
    }

    /// Whether the container is an object in the list `inputs`.
    fn is_in_tensor(&self) -> bool {
        let list = self.depth.checked_sub(2).and_then(|parent| self.stack.get(parent));
        self.container().0 == Container::Object && list == Some(&(Container::Array, Place::Inputs))
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
            (Place::List | Place::Batch | Place::Inputs, Container::Array) if self.arrays == 0 => {
                self.position = 0;
                place
            }
            (Place::List | Place::Batch | Place::Inputs, Container::Array) if self.arrays == 1 => {
                self.position = 0;
                Place::Row
            }
            (Place::Unshaped, Container::Array) if self.arrays == 1 => place,
            (Place::Unshaped, Container::Array) => {
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

    /// The place of the value of a key that names no column.
    fn follow(&mut self, key: &[u8]) -> Place {
        match key {
            // pandas writes the values of a column under the labels of the rows.
            _ if key.iter().all(u8::is_ascii_digit) => match self.container() {
                (_, place @ Place::Column(_)) => place,
                _ => Place::Other,
            },
            b"columns" | b"names" => Place::Names,
            b"name" => Place::TensorName,
            b"datatype" => Place::DataType,
            b"shape" => Place::Shape,
            b"binary_data_size" => Place::BinarySize,
            b"data" | b"values" if self.tensor.dimensions > 0 => {
                self.position = 0;
                Place::Tensor
            }
            b"data" if self.is_in_tensor() => Place::Unshaped,
            // A list in a row's object is no row.
            _ if self.arrays > 0 => Place::Other,
            b"instances" => Place::Batch,
            b"inputs" => Place::Inputs,
            _ if LISTS.contains(&key) => Place::List,
            _ => Place::Other,
        }
    }
}

impl Sink for (Columns<'_>, &mut Places) {
    fn open(&mut self, container: Container) {
        let (_, places) = self;
        match (places.container(), container) {
            ((_, Place::Row), _) => places.position = places.position.saturating_add(1),
            ((Container::Array, _), Container::Object) => places.tensor = Tensor::default(),
            _ => {}
        }
        let place = places.enter(container, places.place());
        match places.stack.get_mut(places.depth) {
            Some(slot) if places.ignored == 0 => {
                *slot = (container, place);
                places.depth = places.depth.saturating_add(1);
                places.arrays = places.arrays.saturating_add(u32::from(container == Container::Array));
            }
            _ => places.ignored = places.ignored.saturating_add(1),
        }
        places.next = Place::Other;
    }

    fn close(&mut self) {
        let (_, places) = self;
        if places.ignored > 0 {
            places.ignored = places.ignored.saturating_sub(1);
            return;
        }
        let (container, _) = places.container();
        places.depth = places.depth.saturating_sub(1);
        places.arrays = places.arrays.saturating_sub(u32::from(container == Container::Array));
        places.next = Place::Other;
        let was_tensor = container == Container::Object && places.container().0 == Container::Array;
        if was_tensor && places.tensor.binary.is_some() {
            places.binaries.push(places.tensor);
        }
    }

    fn key(&mut self, key: &[u8]) {
        let (columns, places) = self;
        if places.ignored == 0 {
            places.next = match columns.named(key) {
                Some(column) => Place::Column(column),
                None => places.follow(key),
            };
        }
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        let (columns, places) = self;
        let is_listed = places.container().0 == Container::Array;
        let place = places.place();
        match (place, scalar) {
            (Place::Column(column), _) => columns.value(column, scalar),
            // A row, or one value of the only row.
            (Place::Batch | Place::Inputs, _) if is_listed => columns.value_at(0, scalar),
            (Place::List, _) if is_listed => columns.value_at(places.position, scalar),
            (Place::Row, _) => columns.value_at(places.position, scalar),
            (Place::Names, _) => columns.heading(places.position, scalar),
            (Place::Shape, _) => places.tensor.dimension(whole(scalar).unwrap_or(0)),
            (Place::Tensor, _) => places.tensor.datum(places.position, scalar, columns),
            (Place::BinarySize, _) => places.tensor.binary = whole(scalar),
            (Place::TensorName, Scalar::String(text)) => {
                places.tensor.column = text.whole().and_then(|name| columns.named(name));
            }
            (Place::DataType, Scalar::String(text)) => places.tensor.datatype = DataType::parse(text.head),
            _ => {}
        }
        if is_listed && place != Place::Other {
            places.position = places.position.saturating_add(1);
        }
        places.next = Place::Other;
    }

    fn piece(&mut self, _: &[u8]) {}
}
