//! Columns in the tensors of `ModelInferRequest`.

use super::tensors::{Binaries, Tensor};
use super::{Columns, LONGEST_NAME};
use crate::grpc::{content, content_field};
use crate::json::{HEAD, Scalar};
use crate::protobuf::{Field, Sink, Wire};
use crate::tensor::DataType;
use crate::text::Text;

/// The state of reading a request.
#[derive(Debug, Default)]
pub(crate) struct Tensors {
    tensor: Tensor,
    /// The name or the type of the tensor, or one of its values.
    text: Text<HEAD>,
    /// The number of the tensor's next value.
    number: u64,
    binaries: Binaries,
}

const _: () = assert!(LONGEST_NAME < HEAD, "a longer name is not cut to the name of a column");

impl Tensors {
    fn value(&mut self, scalar: Scalar<'_>, columns: &mut Columns<'_>) {
        self.tensor.datum(self.number, scalar, columns);
        self.number = self.number.saturating_add(1);
    }
}

impl Sink for (Columns<'_>, &mut Tensors) {
    fn field(&mut self, path: &[u32]) -> Field {
        let (columns, tensors) = self;
        match path {
            // The model's name comes first, in each message of a stream.
            [1] => {
                tensors.binaries = Binaries::default();
                Field::Skip
            }
            [5] => {
                (tensors.tensor, tensors.number) = (Tensor::default(), 0);
                Field::Message
            }
            [5, 1 | 2] | [5, 5, 8] => {
                tensors.text.clear();
                Field::Bytes
            }
            [5, 3] => Field::Packed(Wire::Varint),
            [5, 5] => Field::Message,
            [5, 5, field] => content_field(*field),
            [7] => match tensors.binaries.begin(columns) {
                Some(_) => Field::Bytes,
                None => Field::Skip,
            },
            _ => Field::Skip,
        }
    }

    fn number(&mut self, path: &[u32], bits: u64) {
        let (columns, tensors) = self;
        match path {
            [5, 3] => tensors.tensor.dimension(bits),
            [5, 5, field] => {
                if let Some(scalar) = content(*field, bits) {
                    tensors.value(scalar, columns);
                }
            }
            _ => {}
        }
    }

    fn bytes(&mut self, path: &[u32], piece: &[u8]) {
        let (columns, tensors) = self;
        match path {
            [7] => tensors.binaries.feed(piece, columns),
            _ => tensors.text.push(piece),
        }
    }

    fn end(&mut self, path: &[u32]) {
        let (columns, tensors) = self;
        match path {
            [5] => tensors.binaries.push(tensors.tensor),
            [5, 1] => tensors.tensor.column = tensors.text.whole().and_then(|name| columns.named(name)),
            [5, 2] => tensors.tensor.datatype = DataType::parse(tensors.text.head()),
            [5, 5, 8] => {
                let text = tensors.text;
                tensors.value(Scalar::String(text.excerpt()), columns);
            }
            _ => {}
        }
    }
}
