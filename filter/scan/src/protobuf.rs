//! A protobuf message that arrives in pieces.

/// How deep messages may nest.
const DEEPEST: usize = 4;

/// The treatment of a field that has a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Message,
    /// Pass on its bytes.
    Bytes,
    /// Many values of this wire type, one after the other.
    Packed(Wire),
    Skip,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Varint,
    Fixed64,
    Fixed32,
}

/// Receives a message. A path is the field numbers from the outermost message to the value.
pub(crate) trait Sink {
    fn field(&mut self, path: &[u32]) -> Field;
    /// A number, by its bits.
    fn number(&mut self, path: &[u32], bits: u64);
    fn bytes(&mut self, path: &[u32], piece: &[u8]);
    /// A field with a length ended.
    fn end(&mut self, path: &[u32]);
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Tag,
    Number(Wire),
    Length,
    Bytes(Field),
    Broken,
}

/// The state between two pieces of a message.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    state: State,
    position: u64,
    /// Where the fields with a length end, the outermost first, and their numbers.
    ends: [u64; DEEPEST],
    path: [u32; DEEPEST],
    depth: usize,
    bits: u64,
    shift: u32,
    /// The number of the field whose value comes next.
    field: u32,
    packed: Option<Wire>,
}

impl Reader {
    pub(crate) fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) {
        let mut rest = piece;
        while let Some((byte, tail)) = rest.split_first() {
            rest = match self.state {
                State::Broken => return,
                State::Bytes(field) => self.bytes(field, rest, sink),
                _ => {
                    self.position = self.position.saturating_add(1);
                    self.byte(*byte, sink);
                    tail
                }
            };
            self.leave(sink);
        }
    }

    /// Whether the message may end here.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Tag && self.depth == 0 && self.shift == 0
    }

    fn byte(&mut self, byte: u8, sink: &mut impl Sink) {
        let is_last = match self.state {
            State::Number(Wire::Fixed32) => self.fixed(byte, 32),
            State::Number(Wire::Fixed64) => self.fixed(byte, 64),
            _ => self.varint(byte),
        };
        if !is_last {
            return;
        }
        let bits = std::mem::take(&mut self.bits);
        self.shift = 0;
        match self.state {
            State::Tag => self.tag(bits),
            State::Length => self.length(bits, sink),
            State::Number(_) => self.number(bits, sink),
            State::Bytes(_) | State::Broken => {}
        }
    }

    fn fixed(&mut self, byte: u8, size: u32) -> bool {
        self.bits |= u64::from(byte).checked_shl(self.shift).unwrap_or(0);
        self.shift = self.shift.saturating_add(8);
        self.shift >= size
    }

    fn varint(&mut self, byte: u8) -> bool {
        if self.shift > 63 {
            self.state = State::Broken;
            return false;
        }
        self.bits |= u64::from(byte & 0x7F).checked_shl(self.shift).unwrap_or(0);
        self.shift = self.shift.saturating_add(7);
        byte < 0x80
    }

    fn tag(&mut self, bits: u64) {
        self.field = u32::try_from(bits >> 3).unwrap_or(0);
        self.state = match bits & 7 {
            _ if self.field == 0 => State::Broken,
            0 => State::Number(Wire::Varint),
            1 => State::Number(Wire::Fixed64),
            2 => State::Length,
            5 => State::Number(Wire::Fixed32),
            _ => State::Broken,
        };
    }

    fn number(&mut self, bits: u64, sink: &mut impl Sink) {
        if self.packed.is_some() {
            sink.number(self.path.get(..self.depth).unwrap_or_default(), bits);
            return;
        }
        self.state = State::Tag;
        if let Some(slot) = self.path.get_mut(self.depth) {
            *slot = self.field;
            sink.number(self.path.get(..self.depth.saturating_add(1)).unwrap_or_default(), bits);
        }
    }

    fn length(&mut self, length: u64, sink: &mut impl Sink) {
        let end = self.position.saturating_add(length);
        let (slot, number) = (self.ends.get_mut(self.depth), self.path.get_mut(self.depth));
        let (Some(slot), Some(number)) = (slot, number) else {
            self.state = State::Broken;
            return;
        };
        (*slot, *number) = (end, self.field);
        let outer = self.depth.checked_sub(1).and_then(|outer| self.ends.get(outer));
        if outer.is_some_and(|outer| *outer < end) {
            self.state = State::Broken;
            return;
        }
        self.depth = self.depth.saturating_add(1);
        let field = sink.field(self.path.get(..self.depth).unwrap_or_default());
        self.packed = None;
        self.state = match field {
            Field::Message => State::Tag,
            Field::Packed(wire) => {
                self.packed = Some(wire);
                State::Number(wire)
            }
            Field::Bytes | Field::Skip => State::Bytes(field),
        };
    }

    fn bytes<'a>(&mut self, field: Field, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let left = self.end().saturating_sub(self.position);
        let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (part, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
        self.position = self.position.saturating_add(part.len() as u64);
        if field == Field::Bytes {
            sink.bytes(self.path.get(..self.depth).unwrap_or_default(), part);
        }
        rest
    }

    /// Where the innermost field with a length ends.
    fn end(&self) -> u64 {
        self.depth.checked_sub(1).and_then(|top| self.ends.get(top)).copied().unwrap_or(u64::MAX)
    }

    /// Leaves the fields that end here.
    fn leave(&mut self, sink: &mut impl Sink) {
        while self.depth > 0 && self.position >= self.end() && self.state != State::Broken {
            let at_boundary = matches!(self.state, State::Tag | State::Bytes(_)) || self.packed.is_some();
            if !at_boundary || self.shift > 0 {
                self.state = State::Broken;
                return;
            }
            sink.end(self.path.get(..self.depth).unwrap_or_default());
            self.depth = self.depth.saturating_sub(1);
            self.packed = None;
            self.state = State::Tag;
        }
    }
}
