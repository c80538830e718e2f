//! The plain bytes of a body, inflated if necessary, up to a limit.

use crate::gzip::{End, Inflate};

/// The value of `content-encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Other,
}

impl Encoding {
    pub(crate) fn parse(header: &[u8]) -> Self {
        match header.trim_ascii() {
            b"" | b"identity" => Self::Identity,
            b"gzip" | b"x-gzip" => Self::Gzip,
            _ => Self::Other,
        }
    }

    /// Whether a body can be read; `may_inflate` says whether there is memory for a window of gzip.
    pub(crate) fn is_readable(self, may_inflate: bool) -> bool {
        self == Self::Identity || (self == Self::Gzip && may_inflate)
    }
}

/// Passes on the plain bytes of a body.
#[derive(Debug)]
pub(crate) struct Plain {
    inflate: Option<Box<Inflate>>,
    /// How an inflated body ended, once nothing more of it is read.
    inflated: Option<End>,
    left: u64,
    /// How much compressed data may still be read.
    compressed_left: u64,
    is_over: bool,
    has_bytes: bool,
}

impl Plain {
    /// For a readable body of which at most `most_bytes` are passed on.
    pub(crate) fn new(encoding: Encoding, most_bytes: u64) -> Self {
        Self {
            inflate: (encoding == Encoding::Gzip).then(Box::default),
            inflated: None,
            left: most_bytes,
            compressed_left: most_bytes,
            is_over: false,
            has_bytes: false,
        }
    }

    pub(crate) fn feed(&mut self, piece: &[u8], mut sink: impl FnMut(&[u8])) {
        self.skip(piece.len());
        let Self { inflate, left, compressed_left, is_over, .. } = self;
        if *is_over {
            return;
        }
        let Some(inflate) = inflate else {
            let read = take(piece, left);
            sink(read);
            *is_over = read.len() < piece.len();
            return;
        };
        let compressed = take(piece, compressed_left);
        let goes_on = inflate.feed(compressed, |plain| {
            let read = take(plain, left);
            sink(read);
            read.len() == plain.len()
        });
        if !goes_on || compressed.len() < piece.len() {
            self.stop();
        }
    }

    /// Leaves a piece of this size unread.
    pub(crate) fn skip(&mut self, size: usize) {
        self.has_bytes |= size > 0;
    }

    /// Leaves the rest of the body unread.
    pub(crate) fn stop(&mut self) {
        self.is_over = true;
        if let Some(inflate) = self.inflate.take() {
            self.inflated = Some(inflate.end());
        }
    }

    /// Whether the body had a byte so far.
    pub(crate) fn has_bytes(&self) -> bool {
        self.has_bytes
    }

    /// Whether the rest of the body would not be read.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many more bytes would be passed on.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Whether a window of gzip is in use.
    pub(crate) fn is_inflating(&self) -> bool {
        self.inflate.is_some()
    }

    /// How inflating ended, judged by the pieces so far.
    pub(crate) fn end(&self) -> End {
        self.inflated.or(self.inflate.as_ref().map(|inflate| inflate.end())).unwrap_or(End::Whole)
    }
}

/// The part of a piece that fits into what is left, which shrinks.
fn take<'a>(piece: &'a [u8], left: &mut u64) -> &'a [u8] {
    let allowed = piece.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    let taken = piece.get(..allowed).unwrap_or_default();
    *left = left.saturating_sub(taken.len() as u64);
    taken
}
