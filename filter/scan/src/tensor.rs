//! The elements of a binary tensor, little-endian as the v2 protocol sends them.

use crate::classes::TOO_LONG;
use crate::json::Scalar;
use crate::tally::Tally;
use crate::text::{Excerpt, Text};

/// v2's types of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataType {
    Boolean,
    Unsigned(u8),
    Signed(u8),
    Half,
    BFloat,
    Single,
    Double,
    /// Strings, each after its length.
    Bytes,
}

impl DataType {
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"BOOL" => Self::Boolean,
            b"UINT8" => Self::Unsigned(1),
            b"UINT16" => Self::Unsigned(2),
            b"UINT32" => Self::Unsigned(4),
            b"UINT64" => Self::Unsigned(8),
            b"INT8" => Self::Signed(1),
            b"INT16" => Self::Signed(2),
            b"INT32" => Self::Signed(4),
            b"INT64" => Self::Signed(8),
            b"FP16" => Self::Half,
            b"BF16" => Self::BFloat,
            b"FP32" => Self::Single,
            b"FP64" => Self::Double,
            b"BYTES" => Self::Bytes,
            _ => return None,
        })
    }

    /// The bytes of an element, or of the length before a string.
    fn width(self) -> usize {
        match self {
            Self::Boolean => 1,
            Self::Unsigned(bytes) | Self::Signed(bytes) => usize::from(bytes),
            Self::Half | Self::BFloat => 2,
            Self::Single | Self::Bytes => 4,
            Self::Double => 8,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "predictions are counted as floats")]
    #[expect(clippy::cast_possible_truncation, reason = "only the low bytes belong to the element")]
    #[expect(clippy::cast_possible_wrap, reason = "that is what a signed element is")]
    fn scalar(self, bits: u64) -> Scalar<'static> {
        match self {
            Self::Boolean => Scalar::Boolean(bits != 0),
            Self::Unsigned(_) => number(bits as f64),
            Self::Signed(1) => number(f64::from(bits as i8)),
            Self::Signed(2) => number(f64::from(bits as i16)),
            Self::Signed(4) => number(f64::from(bits as i32)),
            Self::Signed(_) => number(bits as i64 as f64),
            Self::Half => number(half(bits as u16)),
            Self::BFloat => number(f64::from(f32::from_bits((bits as u32) << 16))),
            Self::Single => number(f64::from(f32::from_bits(bits as u32))),
            Self::Double | Self::Bytes => number(f64::from_bits(bits)),
        }
    }
}

/// A number or NaN.
pub(crate) fn number(number: f64) -> Scalar<'static> {
    if number.is_nan() { Scalar::NotANumber } else { Scalar::Number(Some(number)) }
}

/// IEEE 754's 16-bit float.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3FF) / 1024.0;
    let magnitude = match (bits >> 10) & 0x1F {
        0 => fraction * 2.0_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2.0_f64.powi(i32::from(exponent).saturating_sub(15)),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// Counts an element: as a row, or as a part of a row of `width` elements.
pub(crate) fn element(scalar: Scalar<'_>, width: u64, tally: &mut Tally) {
    if width <= 1 {
        return tally.row(scalar);
    }
    tally.element(scalar);
    if tally.elements() >= width {
        tally.end_vector();
    }
}

/// The state between two pieces of a tensor.
#[derive(Debug)]
pub(crate) struct Elements {
    datatype: DataType,
    bits: u64,
    filled: usize,
    /// The string being read, and how many bytes of it are to come.
    text: Option<(Text<TOO_LONG>, u32)>,
}

impl Elements {
    pub(crate) fn new(datatype: DataType) -> Self {
        Self { datatype, bits: 0, filled: 0, text: None }
    }

    pub(crate) fn feed(&mut self, piece: &[u8], mut sink: impl FnMut(Scalar<'_>)) {
        let mut rest = piece;
        while let Some((byte, tail)) = rest.split_first() {
            rest = match self.text.take() {
                Some((text, left)) => self.string(text, left, rest, &mut sink),
                None => {
                    self.byte(*byte, &mut sink);
                    tail
                }
            };
        }
    }

    fn byte(&mut self, byte: u8, sink: &mut impl FnMut(Scalar<'_>)) {
        let shift = u32::try_from(self.filled.saturating_mul(8)).unwrap_or(0);
        self.bits |= u64::from(byte).checked_shl(shift).unwrap_or(0);
        self.filled = self.filled.saturating_add(1);
        if self.filled < self.datatype.width() {
            return;
        }
        let bits = std::mem::take(&mut self.bits);
        self.filled = 0;
        match (self.datatype, u32::try_from(bits).unwrap_or(u32::MAX)) {
            (DataType::Bytes, 0) => sink(Scalar::String(Excerpt { head: &[], length: 0 })),
            (DataType::Bytes, length) => self.text = Some((Text::default(), length)),
            (datatype, _) => sink(datatype.scalar(bits)),
        }
    }

    fn string<'a>(
        &mut self,
        mut text: Text<TOO_LONG>,
        left: u32,
        bytes: &'a [u8],
        sink: &mut impl FnMut(Scalar<'_>),
    ) -> &'a [u8] {
        let taken = bytes.len().min(left as usize);
        let (part, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
        text.push(part);
        let left = left.saturating_sub(u32::try_from(taken).unwrap_or(left));
        if left == 0 {
            sink(Scalar::String(text.excerpt()));
        } else {
            self.text = Some((text, left));
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::{DataType, Elements, element};
    use crate::json::Scalar;
    use crate::tally::Tally;

    /// Counts these bytes, split at every position, and returns rows and the cells that are not empty.
    fn count(datatype: &[u8], width: u64, bytes: &[u8]) -> (u64, Vec<f64>) {
        let read = |pieces: &[&[u8]]| {
            let mut tally = Tally::default();
            let mut elements = Elements::new(DataType::parse(datatype).unwrap());
            let mut sink = |scalar: Scalar<'_>| element(scalar, width, &mut tally);
            pieces.iter().for_each(|piece| elements.feed(piece, &mut sink));
            let cells = tally.cells.iter().enumerate().filter(|(_, count)| **count > 0);
            let bounds =
                cells.map(|(cell, _)| crate::cells::VALUE_BOUNDS.get(cell).copied().unwrap_or(f64::INFINITY));
            (tally.rows, bounds.collect::<Vec<_>>())
        };
        let whole = read(&[bytes]);
        for at in 0..bytes.len() {
            assert_eq!(read(&[&bytes[..at], &bytes[at..]]), whole);
        }
        whole
    }

    #[test]
    fn each_type_gives_its_value() {
        let values: [(&[u8], &[u8], f64); 11] = [
            (b"UINT8", &[200], 200.0),
            (b"INT8", &[0xFE], -2.0),
            (b"UINT16", &[0x10, 0x27], 1e4),
            (b"INT16", &[0xFE, 0xFF], -2.0),
            (b"INT32", &(-5_i32).to_le_bytes(), -5.0),
            (b"INT64", &50_i64.to_le_bytes(), 50.0),
            (b"UINT64", &u64::MAX.to_le_bytes(), f64::INFINITY),
            (b"FP16", &[0x00, 0x38], 0.5),
            (b"BF16", &[0x00, 0x3F], 0.5),
            (b"FP32", &0.5_f32.to_le_bytes(), 0.5),
            (b"FP64", &0.3_f64.to_le_bytes(), 0.3),
        ];
        for (datatype, bytes, value) in values {
            assert_eq!(count(datatype, 1, bytes), (1, vec![value]), "{}", String::from_utf8_lossy(datatype));
        }
    }

    #[test]
    fn halves_equal_their_definition() {
        let values = [
            (0x0000, 0.0),
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x7BFF, 65504.0),
            (0x0001, 5.960_464_477_539_063e-8),
        ];
        for (bits, value) in values {
            assert!((super::half(bits) - value).abs() < 1e-20, "{bits:x}");
        }
        assert!(super::half(0x7C00).is_infinite() && super::half(0x7C01).is_nan());
    }

    #[test]
    fn wide_rows_count_their_largest_element() {
        let bytes: Vec<u8> =
            [0.1_f32, 0.85, 0.05, 0.25, 0.25, 0.5].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(count(b"FP32", 3, &bytes), (2, vec![0.5, 0.9]));
    }

    #[test]
    fn strings_stand_behind_their_lengths() {
        let mut tally = Tally::default();
        let mut elements = Elements::new(DataType::Bytes);
        for byte in *b"\x03\0\0\0cat\0\0\0\0\x03\0\0\0dog\x03\0\0\0cat" {
            elements.feed(&[byte], |scalar| element(scalar, 1, &mut tally));
        }
        let classes: Vec<_> =
            tally.classes.named().iter().map(|class| (class.name.head(), class.count)).collect();
        assert_eq!((tally.rows, classes), (4, vec![(b"cat".as_slice(), 2), (b"dog", 1)]));
    }
}
