//! Tensors of the input: a description, then values, either at once or as bytes after all descriptions.

use super::Columns;
use crate::json::Scalar;
use crate::tensor::{DataType, Elements};

/// How many tensors may have their values behind all descriptions. Clients that send a table write one for each column.
const MOST: usize = 128;

/// The description of a tensor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tensor {
    /// The column with its name.
    pub(super) column: Option<u8>,
    pub(super) datatype: Option<DataType>,
    pub(super) dimensions: u32,
    /// The number of values in a row: the product of all dimensions but the first.
    pub(super) width: u64,
    /// How many bytes of values follow the JSON part.
    pub(super) binary: Option<u64>,
}

impl Tensor {
    pub(super) fn dimension(&mut self, size: u64) {
        self.width = if self.dimensions == 0 { 1 } else { self.width.saturating_mul(size) };
        self.dimensions = self.dimensions.saturating_add(1);
    }

    /// Counts the value with this number among the tensor's values.
    pub(super) fn datum(&self, number: u64, scalar: Scalar<'_>, columns: &mut Columns<'_>) {
        match self.column {
            Some(column) => columns.value(column, scalar),
            None => columns.value_at(number.checked_rem(self.width).unwrap_or(0), scalar),
        }
    }
}

/// The tensors whose values follow as bytes, in the same order.
#[derive(Debug, Default)]
pub(super) struct Binaries {
    tensors: Vec<Tensor>,
    next: usize,
    /// The tensor being read, if it has columns, and the number of its next value.
    current: Option<(Tensor, Elements, u64)>,
    /// How many bytes of the tensor being read are to come, where its description says so.
    left: u64,
}

impl Binaries {
    pub(super) fn push(&mut self, tensor: Tensor) {
        if self.tensors.len() < MOST {
            self.tensors.push(tensor);
        }
    }

    /// Begins the values of the next tensor. Returns its description.
    pub(super) fn begin(&mut self, columns: &Columns<'_>) -> Option<Tensor> {
        let tensor = self.tensors.get(self.next).copied();
        self.next = self.next.saturating_add(1);
        let wanted = tensor.filter(|tensor| tensor.column.is_some() || columns.has_positions(tensor.width));
        self.current =
            wanted.and_then(|tensor| tensor.datatype.map(|datatype| (tensor, Elements::new(datatype), 0)));
        tensor
    }

    /// Reads values of the tensor that was begun.
    pub(super) fn feed(&mut self, piece: &[u8], columns: &mut Columns<'_>) {
        if let Some((tensor, elements, number)) = &mut self.current {
            elements.feed(piece, |scalar| {
                tensor.datum(*number, scalar, columns);
                *number = number.saturating_add(1);
            });
        }
    }

    /// Reads values of all tensors, one after the other, by the sizes in their descriptions.
    pub(super) fn feed_all(&mut self, piece: &[u8], columns: &mut Columns<'_>) {
        let mut rest = piece;
        while !rest.is_empty() {
            if self.left == 0 {
                let Some(tensor) = self.begin(columns) else { return };
                self.left = tensor.binary.unwrap_or(0);
            }
            let taken = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (values, tail) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            self.left = self.left.saturating_sub(values.len() as u64);
            self.feed(values, columns);
            rest = tail;
        }
    }
}
