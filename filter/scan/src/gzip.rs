//! gzip that arrives in pieces, inflated into a window of 32 KB.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, TINFL_LZ_DICT_SIZE, decompress};

/// The output may be this many times as long as the input, and [`FREE`] bytes more. Text compresses by 3 to 30.
const RATIO: u64 = 100;

/// Output that is always allowed, because short answers may compress better.
const FREE: u64 = 64 * 1024;

/// Bytes of the checksum and the length after the compressed data.
const TRAILER: u16 = 8;

/// The header's flags for the fields that follow its ten bytes.
const HAS_CHECKSUM: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;

/// Nothing but the foreign code, so that the check of the linked module can tell its panics from ours.
#[inline(never)]
fn inflate(
    decompressor: &mut DecompressorOxide,
    piece: &[u8],
    window: &mut [u8],
    position: usize,
) -> (TINFLStatus, usize, usize) {
    decompress(decompressor, piece, window, position, TINFL_FLAG_HAS_MORE_INPUT)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At this byte of the header.
    Header(u8),
    ExtraLength(u8),
    /// This many bytes are skipped.
    Extra(u16),
    Name,
    Comment,
    Checksum(u16),
    Data,
    Trailer(u16),
    Broken,
}

/// How inflating ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    Cut,
    Broken,
}

/// The state between two pieces of a compressed body. Takes 32 KB for the window, and about 10 KB for the tables.
pub(crate) struct Inflate {
    state: State,
    flags: u8,
    extra: u16,
    read: u64,
    written: u64,
    members: u32,
    decompressor: Box<DecompressorOxide>,
    window: Box<[u8]>,
    position: usize,
}

impl std::fmt::Debug for Inflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflate").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Default for Inflate {
    fn default() -> Self {
        Self {
            state: State::Header(0),
            flags: 0,
            extra: 0,
            read: 0,
            written: 0,
            members: 0,
            decompressor: Box::default(),
            window: vec![0; TINFL_LZ_DICT_SIZE].into_boxed_slice(),
            position: 0,
        }
    }
}

impl Inflate {
    /// Inflates a piece and passes the output to `sink`, until `sink` returns false or the data are suspiciously
    /// compressible. Returns whether more may follow.
    pub(crate) fn feed(&mut self, piece: &[u8], mut sink: impl FnMut(&[u8]) -> bool) -> bool {
        let mut rest = piece;
        loop {
            match (self.state, rest.split_first()) {
                (State::Broken, _) => return false,
                (_, None) => return true,
                (State::Data, Some(_)) => match self.data(rest, &mut sink) {
                    Some(left) => rest = left,
                    None => return false,
                },
                (_, Some((byte, tail))) => {
                    self.read = self.read.saturating_add(1);
                    self.framing(*byte);
                    rest = tail;
                }
            }
        }
    }

    /// How the body ended, judged by the pieces so far.
    pub(crate) fn end(&self) -> End {
        match self.state {
            State::Broken => End::Broken,
            State::Header(0) if self.members > 0 => End::Whole,
            _ => End::Cut,
        }
    }

    fn framing(&mut self, byte: u8) {
        self.state = match self.state {
            State::Header(at) => return self.header(at, byte),
            State::ExtraLength(0) => {
                self.extra = u16::from(byte);
                State::ExtraLength(1)
            }
            State::ExtraLength(_) => {
                self.extra |= u16::from(byte) << 8;
                if self.extra == 0 { self.after(HAS_EXTRA) } else { State::Extra(self.extra) }
            }
            State::Extra(1) => self.after(HAS_EXTRA),
            State::Extra(left) => State::Extra(left.saturating_sub(1)),
            State::Name if byte == 0 => self.after(HAS_NAME),
            State::Comment if byte == 0 => self.after(HAS_COMMENT),
            State::Checksum(1) => self.begin(),
            State::Checksum(left) => State::Checksum(left.saturating_sub(1)),
            State::Trailer(1) => {
                self.members = self.members.saturating_add(1);
                State::Header(0)
            }
            State::Trailer(left) => State::Trailer(left.saturating_sub(1)),
            state @ (State::Name | State::Comment | State::Data | State::Broken) => state,
        };
    }

    fn header(&mut self, at: u8, byte: u8) {
        let is_valid = match at {
            0 => byte == 0x1F,
            1 => byte == 0x8B,
            2 => byte == 8,
            3 => {
                self.flags = byte;
                true
            }
            _ => true,
        };
        self.state = match at {
            _ if !is_valid => State::Broken,
            9 => self.after(0),
            _ => State::Header(at.saturating_add(1)),
        };
    }

    /// The state after this part of the header.
    fn after(&mut self, part: u8) -> State {
        let has = |flag: u8| flag > part && self.flags & flag != 0;
        if has(HAS_EXTRA) {
            State::ExtraLength(0)
        } else if has(HAS_NAME) {
            State::Name
        } else if has(HAS_COMMENT) {
            State::Comment
        } else if self.flags & HAS_CHECKSUM != 0 {
            State::Checksum(2)
        } else {
            self.begin()
        }
    }

    fn begin(&mut self) -> State {
        self.decompressor.init();
        self.position = 0;
        State::Data
    }

    /// Inflates as much as possible. Returns the rest of the piece, or `None` if inflating must stop.
    fn data<'a>(&mut self, bytes: &'a [u8], sink: &mut impl FnMut(&[u8]) -> bool) -> Option<&'a [u8]> {
        let mut rest = bytes;
        loop {
            let start = self.position;
            let (status, read, written) = inflate(&mut self.decompressor, rest, &mut self.window, start);
            self.read = self.read.saturating_add(read as u64);
            self.written = self.written.saturating_add(written as u64);
            rest = rest.get(read..).unwrap_or_default();
            let end = start.saturating_add(written);
            let goes_on = sink(self.window.get(start..end).unwrap_or_default());
            self.position = if end >= TINFL_LZ_DICT_SIZE { 0 } else { end };
            if !goes_on || self.written > self.read.saturating_mul(RATIO).saturating_add(FREE) {
                return None;
            }
            match status {
                TINFLStatus::HasMoreOutput => continue,
                TINFLStatus::NeedsMoreInput => {}
                TINFLStatus::Done => self.state = State::Trailer(TRAILER),
                _ => self.state = State::Broken,
            }
            return (self.state != State::Broken).then_some(rest);
        }
    }
}
