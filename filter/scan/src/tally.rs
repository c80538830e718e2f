//! Adds up the predictions of one answer: rows, kinds, cells, classes and a fingerprint.

use crate::cells::{VALUE_CELLS, value_cell};
use crate::classes::{Classes, TOO_LONG};
use crate::json::Scalar;
use crate::record::{Kind, KindCounts};
use crate::text::Text;

/// Counts the predictions of one answer.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) kinds: KindCounts,
    pub(crate) cells: [u32; VALUE_CELLS],
    pub(crate) classes: Classes,
    /// The fingerprint of all predictions in their order. Answers that differ only in their ids have the same one.
    pub(crate) fingerprint: Fingerprint,
    /// Whether values of a row were skipped, so that two fingerprints may be equal by accident.
    is_fingerprint_partial: bool,
    /// Values that were seen and could not be counted exactly.
    pub(crate) cut: u32,
    vector: Vector,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            rows: 0,
            kinds: KindCounts::default(),
            cells: [0; VALUE_CELLS],
            classes: Classes::default(),
            fingerprint: Fingerprint::default(),
            is_fingerprint_partial: false,
            cut: 0,
            vector: Vector::default(),
        }
    }
}

impl Tally {
    /// Counts a row that is one value.
    #[inline]
    pub(crate) fn row(&mut self, scalar: Scalar<'_>) {
        self.add_row();
        self.value(scalar);
    }

    /// Begins a row whose values follow.
    #[inline]
    pub(crate) fn add_row(&mut self) {
        self.rows = self.rows.saturating_add(1);
        self.fingerprint.word(ROW);
    }

    /// Counts a value of a row.
    #[inline]
    pub(crate) fn value(&mut self, scalar: Scalar<'_>) {
        self.fingerprint.scalar(scalar);
        self.count(scalar);
    }

    #[inline]
    fn count(&mut self, scalar: Scalar<'_>) {
        self.kinds.add(kind(scalar));
        match scalar {
            Scalar::Number(Some(number)) => {
                self.cell(number);
                self.classes.add_number(number);
            }
            Scalar::Number(None) => self.cut = self.cut.saturating_add(1),
            Scalar::String(text) if text.is_empty() => {}
            Scalar::String(text) => match text.whole() {
                Some(name) => self.classes.add(name),
                None => self.classes.add_other(),
            },
            Scalar::Null | Scalar::NotANumber | Scalar::Boolean(_) => {}
        }
    }

    #[inline]
    fn cell(&mut self, number: f64) {
        if let Some(cell) = self.cells.get_mut(value_cell(number)) {
            *cell = cell.saturating_add(1);
        }
    }

    /// Adds an element to the row that is a vector, until [`end_vector`](Self::end_vector) ends it.
    pub(crate) fn element(&mut self, scalar: Scalar<'_>) {
        self.fingerprint.scalar(scalar);
        self.vector.add(scalar);
    }

    /// Notes an element that is an array or an object, so that the row has no largest element.
    pub(crate) fn nested_element(&mut self) {
        self.vector.is_nested = true;
        self.skip();
    }

    /// Notes a part of a row that is not read.
    pub(crate) fn skip(&mut self) {
        self.is_fingerprint_partial = true;
    }

    /// The fingerprint of all predictions; 0 if a part of them was not read.
    pub(crate) fn whole_fingerprint(&self) -> u64 {
        if self.is_fingerprint_partial { 0 } else { self.fingerprint.0 }
    }

    /// How many elements the vector has so far.
    pub(crate) fn elements(&self) -> u64 {
        self.vector.length
    }

    /// Whether the vector has nothing but texts.
    pub(crate) fn has_only_texts(&self) -> bool {
        self.vector.kind == Kind::String
    }

    /// Forgets the vector.
    pub(crate) fn drop_vector(&mut self) {
        self.vector = Vector::default();
    }

    /// Ends a row that is a vector. It counts as its largest element: the value, and the position as a class.
    pub(crate) fn end_vector(&mut self) {
        let vector = std::mem::take(&mut self.vector);
        self.add_row();
        match vector.length {
            _ if vector.is_nested => self.cut = self.cut.saturating_add(1),
            0 => self.kinds.add(Kind::Empty),
            1 => self.count(vector.only.as_scalar()),
            _ => self.largest(&vector),
        }
    }

    fn largest(&mut self, vector: &Vector) {
        self.kinds.add(vector.kind);
        if vector.kind != Kind::Number {
            return;
        }
        if let Some((index, number)) = vector.largest {
            self.cell(number);
            self.classes.add_index(u32::try_from(index).unwrap_or(u32::MAX));
        }
    }

    /// Forgets all predictions, because a more telling key was found.
    pub(crate) fn clear(&mut self) {
        *self = Self { cut: self.cut, ..Self::default() };
    }

    /// Forgets the values, but keeps the number of rows.
    pub(crate) fn clear_values(&mut self) {
        let lost = self.kinds.total();
        self.kinds = KindCounts::default();
        self.cells = [0; VALUE_CELLS];
        self.classes.clear();
        self.cut = self.cut.saturating_add(lost);
    }
}

#[inline]
pub(crate) fn kind(scalar: Scalar<'_>) -> Kind {
    match scalar {
        Scalar::Null => Kind::Null,
        Scalar::Boolean(_) => Kind::Boolean,
        Scalar::Number(_) => Kind::Number,
        Scalar::NotANumber => Kind::NotANumber,
        Scalar::String(text) if text.is_empty() => Kind::Empty,
        Scalar::String(_) => Kind::String,
    }
}

/// A row that is a vector.
#[derive(Debug)]
struct Vector {
    length: u64,
    is_nested: bool,
    /// The most notable kind among the elements: one NaN makes the vector a NaN.
    kind: Kind,
    largest: Option<(u64, f64)>,
    /// The first element, for a vector that has no other.
    only: Only,
}

/// The only element of a vector.
#[derive(Clone, Copy, Debug)]
enum Only {
    Number(Option<f64>),
    NotANumber,
    Null,
    Boolean(bool),
    /// Enough of a text to tell whether it names a class.
    Text(Text<TOO_LONG>),
}

impl Default for Vector {
    fn default() -> Self {
        Self { length: 0, is_nested: false, kind: Kind::Empty, largest: None, only: Only::Null }
    }
}

impl Only {
    fn of(scalar: Scalar<'_>) -> Self {
        match scalar {
            Scalar::Null => Self::Null,
            Scalar::Boolean(value) => Self::Boolean(value),
            Scalar::Number(number) => Self::Number(number),
            Scalar::NotANumber => Self::NotANumber,
            Scalar::String(text) => Self::Text(text.into()),
        }
    }

    fn as_scalar(&self) -> Scalar<'_> {
        match self {
            Self::Null => Scalar::Null,
            Self::Boolean(value) => Scalar::Boolean(*value),
            Self::Number(number) => Scalar::Number(*number),
            Self::NotANumber => Scalar::NotANumber,
            Self::Text(text) => Scalar::String(text.excerpt()),
        }
    }
}

impl Vector {
    fn add(&mut self, scalar: Scalar<'_>) {
        if self.length == 0 {
            self.only = Only::of(scalar);
        }
        let number = match scalar {
            Scalar::Number(number) => number,
            Scalar::Boolean(value) => Some(f64::from(u8::from(value))),
            Scalar::Null | Scalar::NotANumber | Scalar::String(_) => None,
        };
        if let Some(number) =
            number.filter(|number| self.largest.is_none_or(|(_, largest)| *number > largest))
        {
            self.largest = Some((self.length, number));
        }
        self.kind = more_remarkable(self.kind, kind(scalar));
        self.length = self.length.saturating_add(1);
    }
}

fn more_remarkable(one: Kind, other: Kind) -> Kind {
    let rank = |kind: Kind| match kind {
        Kind::Empty => 0,
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Number => 3,
        Kind::Null => 4,
        Kind::NotANumber => 5,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// Begins a row in a fingerprint.
const ROW: u64 = 8;

/// FNV-1a over eight bytes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    #[inline]
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            self.word(rest.iter().rfold(0, |word, byte| (word << 8) | u64::from(*byte)));
        }
        self.word(bytes.len() as u64);
    }

    /// Strings count by their beginning and their length.
    #[inline]
    fn scalar(&mut self, scalar: Scalar<'_>) {
        match scalar {
            Scalar::Null => self.word(1),
            Scalar::Boolean(value) => self.word(2_u64.saturating_add(u64::from(value))),
            Scalar::NotANumber => self.word(4),
            Scalar::Number(None) => self.word(5),
            Scalar::Number(Some(number)) => {
                self.word(6);
                self.word(number.to_bits());
            }
            Scalar::String(text) => {
                self.word(7);
                self.add(text.head);
                self.word(u64::from(text.length));
            }
        }
    }
}
