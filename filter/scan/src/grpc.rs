//! gRPC messages of the v2 protocol, and the predictions in an answer.

use crate::classes::TOO_LONG;
use crate::json::Scalar;
use crate::predictions::Tensor;
use crate::protobuf::{self, Field, Reader, Wire};
use crate::record::{MODEL, VERSION};
use crate::tally::Tally;
use crate::tensor::{DataType, Elements, element, number};
use crate::text::Text;

/// Bytes in front of each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Splits a body into messages.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    prefix: Text<PREFIX>,
    left: u64,
    reader: Reader,
    is_compressed: bool,
    is_broken: bool,
    messages: u32,
}

impl Frames {
    pub(crate) fn feed(&mut self, piece: &[u8], sink: &mut impl protobuf::Sink) {
        let mut rest = piece;
        while !rest.is_empty() {
            if self.left == 0 {
                rest = self.prefix(rest);
                continue;
            }
            let taken = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (message, tail) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            if !self.is_compressed {
                self.reader.feed(message, sink);
            }
            self.left = self.left.saturating_sub(message.len() as u64);
            if self.left == 0 {
                self.end();
            }
            rest = tail;
        }
    }

    /// Whether the body consists of whole messages that could be read.
    pub(crate) fn is_whole(&self) -> bool {
        self.left == 0 && self.prefix.is_empty() && !self.is_broken && self.messages > 0
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    fn prefix<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let missing = PREFIX.saturating_sub(self.prefix.head().len());
        let (part, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.prefix.push(part);
        if let Some([flag, length @ ..]) = self.prefix.head().first_chunk::<PREFIX>() {
            self.is_compressed |= *flag != 0;
            self.left = u64::from(u32::from_be_bytes(*length));
            self.prefix.clear();
            self.reader = Reader::default();
            if self.left == 0 {
                self.messages = self.messages.saturating_add(1);
            }
        }
        rest
    }

    fn end(&mut self) {
        self.is_broken |= !self.is_compressed && !self.reader.is_complete();
        self.messages = self.messages.saturating_add(1);
    }
}

/// Reads `ModelInferResponse`.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) model: Text<MODEL>,
    pub(crate) version: Text<VERSION>,
    pub(crate) tally: Tally,
    tensor: Tensor,
    outputs: u32,
    raw: u32,
    elements: Option<Elements>,
    text: Text<TOO_LONG>,
}

impl Response {
    /// Only the first tensor counts: further ones describe the same rows.
    fn is_first(&self) -> bool {
        self.outputs == 1
    }

    fn dimension(&mut self, size: u64) {
        if self.tensor.rows.is_none() {
            (self.tensor.rows, self.tensor.width) = (Some(size), 1);
        } else {
            self.tensor.width = self.tensor.width.saturating_mul(size);
        }
    }

    fn value(&mut self, scalar: Scalar<'_>) {
        element(scalar, self.tensor.width, &mut self.tally);
    }

    /// The shape says how many rows there are.
    pub(crate) fn finish(&mut self) {
        if let Some(rows) = self.tensor.rows {
            self.tally.rows = rows;
        }
    }
}

/// How a field of `InferTensorContents` is written, unless its values are texts.
pub(crate) fn content_field(field: u32) -> Field {
    match field {
        1..=5 => Field::Packed(Wire::Varint),
        6 => Field::Packed(Wire::Fixed32),
        7 => Field::Packed(Wire::Fixed64),
        _ => Field::Skip,
    }
}

/// A value in `InferTensorContents`, by the number of its field.
#[expect(clippy::cast_precision_loss, reason = "predictions are counted as floats")]
#[expect(clippy::cast_possible_truncation, reason = "an int32 is written as 64 bits")]
#[expect(clippy::cast_possible_wrap, reason = "that is how protobuf writes signed numbers")]
pub(crate) fn content(field: u32, bits: u64) -> Option<Scalar<'static>> {
    Some(match field {
        1 => Scalar::Boolean(bits != 0),
        2 => number(f64::from(bits as i32)),
        3 => number(bits as i64 as f64),
        4 | 5 => number(bits as f64),
        6 => number(f64::from(f32::from_bits(bits as u32))),
        7 => number(f64::from_bits(bits)),
        _ => return None,
    })
}

impl protobuf::Sink for Response {
    fn field(&mut self, path: &[u32]) -> Field {
        match path {
            [1 | 2] => Field::Bytes,
            [5] => {
                self.outputs = self.outputs.saturating_add(1);
                if self.is_first() { Field::Message } else { Field::Skip }
            }
            [5, 2] => Field::Bytes,
            [5, 3] => Field::Packed(Wire::Varint),
            [5, 5] => Field::Message,
            [5, 5, 8] => {
                self.text.clear();
                Field::Bytes
            }
            [5, 5, field] => content_field(*field),
            [6] => {
                self.raw = self.raw.saturating_add(1);
                let datatype = DataType::parse(self.tensor.datatype.head());
                self.elements = datatype.map(Elements::new);
                if self.raw == 1 { Field::Bytes } else { Field::Skip }
            }
            _ => Field::Skip,
        }
    }

    fn number(&mut self, path: &[u32], bits: u64) {
        match path {
            [5, 3] => self.dimension(bits),
            [5, 5, field] => {
                if let Some(scalar) = content(*field, bits) {
                    self.value(scalar);
                }
            }
            _ => {}
        }
    }

    fn bytes(&mut self, path: &[u32], piece: &[u8]) {
        match path {
            [1] => self.model.push(piece),
            [2] => self.version.push(piece),
            [5, 2] => self.tensor.datatype.push(piece),
            [5, 5, 8] => self.text.push(piece),
            [6] => {
                let Self { elements, tensor, tally, .. } = self;
                if let Some(elements) = elements {
                    elements.feed(piece, |scalar| element(scalar, tensor.width, tally));
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, path: &[u32]) {
        if path == [5, 5, 8] {
            let text = self.text;
            self.value(Scalar::String(text.excerpt()));
        }
    }
}
