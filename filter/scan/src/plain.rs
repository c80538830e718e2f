//! The plain bytes of a body, inflated if necessary, up to a limit.

use crate::gzip::{End, Inflate};

/// A value of `content-encoding` that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// `may_inflate` says whether there is memory for a window of gzip.
    pub(crate) fn parse(header: &[u8], may_inflate: bool) -> Option<Self> {
        match header.trim_ascii() {
            b"" | b"identity" => Some(Self::Identity),
            b"gzip" | b"x-gzip" if may_inflate => Some(Self::Gzip),
            _ => None,
        }
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
    /// Whether nothing more is read.
    is_over: bool,
    /// Whether a part of the body was left unread.
    is_cut: bool,
    has_bytes: bool,
}

impl Plain {
    /// Passes on at most `most_bytes` of a body, and nothing if its encoding cannot be read.
    pub(crate) fn new(encoding: Option<Encoding>, most_bytes: u64) -> Self {
        Self {
            inflate: (encoding == Some(Encoding::Gzip)).then(Box::default),
            inflated: None,
            left: most_bytes,
            compressed_left: most_bytes,
            is_over: encoding.is_none(),
            is_cut: false,
            has_bytes: false,
        }
    }

    pub(crate) fn feed(&mut self, piece: &[u8], mut sink: impl FnMut(&[u8])) {
        self.skip(piece.len());
        let Self { inflate, left, compressed_left, is_over, .. } = self;
        if *is_over {
            return;
        }
        let mut pass = |plain: &[u8]| {
            let read = take(plain, left);
            sink(read);
            read.len() == plain.len()
        };
        let goes_on = match inflate {
            None => pass(piece),
            Some(inflate) => {
                let compressed = take(piece, compressed_left);
                inflate.feed(compressed, pass) && compressed.len() == piece.len()
            }
        };
        if !goes_on {
            self.stop();
        }
    }

    /// Leaves a piece of this size unread.
    pub(crate) fn skip(&mut self, size: usize) {
        self.has_bytes |= size > 0;
    }

    /// Leaves the rest of the body unread.
    pub(crate) fn stop(&mut self) {
        self.is_cut = true;
        self.end();
    }

    /// Ends the body.
    pub(crate) fn end(&mut self) {
        self.is_over = true;
        if let Some(inflate) = self.inflate.take() {
            self.inflated = Some(inflate.end());
        }
    }

    /// Whether the body had a byte so far.
    pub(crate) fn has_bytes(&self) -> bool {
        self.has_bytes
    }

    /// How many more bytes would be passed on. `None` once the rest of the body would not be read.
    pub(crate) fn left(&self) -> Option<u64> {
        (!self.is_over).then_some(self.left)
    }

    /// Whether a window of gzip is in use.
    pub(crate) fn is_inflating(&self) -> bool {
        self.inflate.is_some()
    }

    /// Whether all of the body was passed on.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_cut && self.inflated() == End::Whole
    }

    /// Whether the body is not what its encoding says.
    pub(crate) fn is_broken(&self) -> bool {
        self.inflated() == End::Broken
    }

    /// How inflating ended, judged by the pieces so far.
    fn inflated(&self) -> End {
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
