//! The record's bytes. Numbers are varints, as protobuf writes them; a field is a tag, a length and a value.

use super::{
    ColumnCounts, Finding, Finish, FinishCounts, Generation, Kind, KindCounts, LONGEST, Record, Rows,
    Scanned, Tokens,
};
use crate::cells::{GAP_CELLS, VALUE_CELLS};
use crate::classes::{self, LONGEST as LONGEST_CLASS};
use crate::columns;
use crate::text::Text;

/// The first byte. A reader rejects any other.
const FORMAT: u8 = 1;

/// The record's length up to its last column, which leaves room for the cells of the predictions.
const MOST_COLUMNS: usize = LONGEST.saturating_sub(512);

/// The longest varint, in bytes.
const VARINT: usize = 10;

/// The content of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Tag {
    Scanned = 1,
    RequestModel,
    Model,
    Version,
    Error,
    Rows,
    Kinds,
    Cells,
    Class,
    OtherClasses,
    Fingerprint,
    Generation,
    Tokens,
    Finish,
    Events,
    Gaps,
    Cut,
    Column,
}

impl Tag {
    const ALL: [Self; 18] = [
        Self::Scanned,
        Self::RequestModel,
        Self::Model,
        Self::Version,
        Self::Error,
        Self::Rows,
        Self::Kinds,
        Self::Cells,
        Self::Class,
        Self::OtherClasses,
        Self::Fingerprint,
        Self::Generation,
        Self::Tokens,
        Self::Finish,
        Self::Events,
        Self::Gaps,
        Self::Cut,
        Self::Column,
    ];
}

pub(super) fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    numbers(&mut bytes, Tag::Scanned, [record.scanned as u64]);
    numbers(&mut bytes, Tag::Error, [record.error as u64]);
    text(&mut bytes, Tag::RequestModel, record.request_model.head());
    text(&mut bytes, Tag::Model, record.model.head());
    text(&mut bytes, Tag::Version, record.version.head());
    if let Some(generation) = &record.generation {
        encode_generation(&mut bytes, generation);
    }
    let mut cut = record.cut;
    for column in &record.columns {
        cut = cut.saturating_add(encode_column(&mut bytes, column));
    }
    if let Some(rows) = &record.rows {
        cut = cut.saturating_add(encode_rows(&mut bytes, rows));
    }
    if cut > 0 {
        numbers(&mut bytes, Tag::Cut, [u64::from(cut)]);
    }
    bytes
}

fn encode_generation(bytes: &mut Vec<u8>, generation: &Generation) {
    let Generation { is_stream, is_ended, tokens, finish, content_events, first_content, last_content, gaps } =
        generation;
    numbers(bytes, Tag::Generation, [u64::from(*is_stream), u64::from(*is_ended)]);
    let Tokens { input, output, cached, reasoning } = tokens;
    numbers(bytes, Tag::Tokens, [input, output, cached, reasoning].map(|tokens| optional(*tokens)));
    numbers(bytes, Tag::Finish, Finish::ALL.map(|reason| u64::from(finish.get(reason))));
    numbers(bytes, Tag::Events, [*content_events, optional(*first_content), optional(*last_content)]);
    pairs(bytes, Tag::Gaps, gaps);
}

/// Returns how many values did not fit.
fn encode_column(bytes: &mut Vec<u8>, counts: &ColumnCounts) -> u32 {
    let ColumnCounts { column, kinds, out_of_range, cells } = counts;
    let mut value = Vec::new();
    varint(&mut value, u64::from(*column));
    Kind::ALL.iter().for_each(|kind| varint(&mut value, u64::from(kinds.get(*kind))));
    varint(&mut value, u64::from(*out_of_range));
    for (cell, count) in cells {
        varint(&mut value, u64::from(*cell));
        varint(&mut value, u64::from(*count));
    }
    let fits = bytes.len().saturating_add(value.len()).saturating_add(3) <= MOST_COLUMNS;
    if fits {
        field(bytes, Tag::Column, &value);
    }
    if fits { 0 } else { counts.total() }
}

/// Returns how many predictions of classes did not fit.
fn encode_rows(bytes: &mut Vec<u8>, rows: &Rows) -> u32 {
    numbers(bytes, Tag::Rows, [rows.rows]);
    numbers(bytes, Tag::Kinds, Kind::ALL.map(|kind| u64::from(rows.kinds.get(kind))));
    numbers(bytes, Tag::Fingerprint, [rows.fingerprint]);
    numbers(bytes, Tag::OtherClasses, [u64::from(rows.other_classes)]);
    pairs(bytes, Tag::Cells, &rows.cells);
    // Leaves room for the field after the classes: a tag, a length and the count of what was cut.
    let limit = LONGEST.saturating_sub(VARINT.saturating_add(2));
    let mut cut: u32 = 0;
    for (name, count) in &rows.classes {
        let mut class = Vec::with_capacity(name.len().saturating_add(VARINT));
        varint(&mut class, u64::from(*count));
        class.extend_from_slice(name);
        if bytes.len().saturating_add(class.len()).saturating_add(3) <= limit {
            text(bytes, Tag::Class, &class);
        } else {
            cut = cut.saturating_add(*count);
        }
    }
    cut
}

/// 0 stands for no number.
fn optional(number: Option<u64>) -> u64 {
    number.map_or(0, |number| number.saturating_add(1))
}

fn numbers(bytes: &mut Vec<u8>, tag: Tag, numbers: impl IntoIterator<Item = u64>) {
    let mut value = Vec::new();
    numbers.into_iter().for_each(|number| varint(&mut value, number));
    field(bytes, tag, &value);
}

fn pairs(bytes: &mut Vec<u8>, tag: Tag, pairs: &[(u8, u32)]) {
    numbers(bytes, tag, pairs.iter().flat_map(|(cell, count)| [u64::from(*cell), u64::from(*count)]));
}

fn text(bytes: &mut Vec<u8>, tag: Tag, text: &[u8]) {
    if !text.is_empty() {
        field(bytes, tag, text);
    }
}

fn field(bytes: &mut Vec<u8>, tag: Tag, value: &[u8]) {
    bytes.push(tag as u8);
    varint(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

fn varint(bytes: &mut Vec<u8>, number: u64) {
    let mut left = number;
    while left >= 0x80 {
        bytes.push(u8::try_from(left & 0x7F).unwrap_or(0) | 0x80);
        left >>= 7;
    }
    bytes.push(u8::try_from(left).unwrap_or(0));
}

/// The bytes that are left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0_u32..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    fn optional(&mut self) -> Option<Option<u64>> {
        Some(self.varint()?.checked_sub(1))
    }

    fn field(&mut self) -> Option<(u8, Reader<'a>)> {
        let tag = self.byte()?;
        let length = usize::try_from(self.varint()?).ok()?;
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, Reader(value)))
    }

    fn kinds(&mut self) -> Option<KindCounts> {
        let mut kinds = KindCounts::default();
        for kind in Kind::ALL {
            kinds.set(kind, self.small()?);
        }
        Some(kinds)
    }

    fn pairs(&mut self, cells: usize) -> Option<Vec<(u8, u32)>> {
        let mut pairs = Vec::new();
        while !self.0.is_empty() {
            let cell = u8::try_from(self.varint()?).ok().filter(|cell| usize::from(*cell) < cells)?;
            if pairs.last().is_some_and(|(last, _)| *last >= cell) {
                return None;
            }
            pairs.push((cell, self.small()?));
        }
        Some(pairs)
    }
}

pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
    let mut reader = Reader(bytes);
    if bytes.len() > LONGEST || reader.byte()? != FORMAT {
        return None;
    }
    let mut record = Record::default();
    while !reader.0.is_empty() {
        let (tag, value) = reader.field()?;
        // A newer writer may use tags that this reader does not know.
        if let Some(tag) = Tag::ALL.into_iter().find(|known| *known as u8 == tag) {
            decode_field(&mut record, tag, value)?;
        }
    }
    Some(record)
}

fn decode_field(record: &mut Record, tag: Tag, mut value: Reader<'_>) -> Option<()> {
    match tag {
        Tag::Scanned => record.scanned = *Scanned::ALL.get(value.small()? as usize)?,
        Tag::Error => {
            record.error =
                *[Finding::Nothing, Finding::Mentioned, Finding::Structured].get(value.small()? as usize)?;
        }
        Tag::RequestModel => record.request_model = Text::from(value.0).kept_only(),
        Tag::Model => record.model = Text::from(value.0).kept_only(),
        Tag::Version => record.version = Text::from(value.0).kept_only(),
        Tag::Cut => record.cut = value.small()?,
        Tag::Column => record.columns.push(decode_column(value, record.columns.last())?),
        Tag::Rows | Tag::Kinds | Tag::Cells | Tag::Class | Tag::OtherClasses | Tag::Fingerprint => {
            decode_rows(record.rows.get_or_insert_default(), tag, value)?;
        }
        Tag::Generation | Tag::Tokens | Tag::Finish | Tag::Events | Tag::Gaps => {
            decode_generation(record.generation.get_or_insert_default(), tag, value)?;
        }
    }
    Some(())
}

/// Columns come in the order of the configuration.
fn decode_column(mut value: Reader<'_>, last: Option<&ColumnCounts>) -> Option<ColumnCounts> {
    let column = u8::try_from(value.varint()?).ok()?;
    if usize::from(column) >= columns::MOST || last.is_some_and(|last| last.column >= column) {
        return None;
    }
    let kinds = value.kinds()?;
    Some(ColumnCounts { column, kinds, out_of_range: value.small()?, cells: value.pairs(VALUE_CELLS)? })
}

fn decode_rows(rows: &mut Rows, tag: Tag, mut value: Reader<'_>) -> Option<()> {
    match tag {
        Tag::Rows => rows.rows = value.varint()?,
        Tag::Kinds => rows.kinds = value.kinds()?,
        Tag::Cells => rows.cells = value.pairs(VALUE_CELLS)?,
        Tag::OtherClasses => rows.other_classes = value.small()?,
        Tag::Fingerprint => rows.fingerprint = value.varint()?,
        Tag::Class => {
            let count = value.small()?;
            let fits = value.0.len() <= LONGEST_CLASS && rows.classes.len() < classes::MOST;
            rows.classes.push(fits.then(|| (value.0.to_vec(), count))?);
        }
        _ => {}
    }
    Some(())
}

fn decode_generation(generation: &mut Generation, tag: Tag, mut value: Reader<'_>) -> Option<()> {
    match tag {
        Tag::Generation => {
            (generation.is_stream, generation.is_ended) = (value.varint()? != 0, value.varint()? != 0);
        }
        Tag::Tokens => {
            let (input, output) = (value.optional()?, value.optional()?);
            let (cached, reasoning) = (value.optional()?, value.optional()?);
            generation.tokens = Tokens { input, output, cached, reasoning };
        }
        Tag::Finish => {
            let mut finish = FinishCounts::default();
            for reason in Finish::ALL {
                finish.set(reason, value.small()?);
            }
            generation.finish = finish;
        }
        Tag::Events => {
            generation.content_events = value.varint()?;
            (generation.first_content, generation.last_content) = (value.optional()?, value.optional()?);
        }
        Tag::Gaps => generation.gaps = value.pairs(GAP_CELLS)?,
        _ => {}
    }
    Some(())
}
