//! The beginning of a text, in a fixed amount of memory.

use std::fmt;

/// The first `N` bytes of a text that arrives in pieces, and the length of the whole text.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: u32,
}

/// A borrowed beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt<'a> {
    pub(crate) head: &'a [u8],
    /// The length of the whole text, in bytes.
    pub(crate) length: u32,
}

impl<'a> Excerpt<'a> {
    /// The excerpt of a whole text that has at most `most` bytes of it.
    pub(crate) fn of(text: &'a [u8], most: usize) -> Self {
        let head = text.get(..most).unwrap_or(text);
        Self { head, length: u32::try_from(text.len()).unwrap_or(u32::MAX) }
    }

    /// The text, if all of it is there.
    pub(crate) fn whole(self) -> Option<&'a [u8]> {
        (self.head.len() == self.length as usize).then_some(self.head)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.length == 0
    }
}

impl<const N: usize> PartialEq for Text<N> {
    fn eq(&self, other: &Self) -> bool {
        (self.head(), self.length) == (other.head(), other.length)
    }
}

impl<const N: usize> Eq for Text<N> {}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", String::from_utf8_lossy(self.head()), self.length)
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self { bytes: [0; N], length: 0 }
    }
}

impl<const N: usize> Text<N> {
    /// Appends a piece. Bytes beyond the capacity are only counted.
    pub fn push(&mut self, piece: &[u8]) {
        let kept = self.kept();
        let room = self.bytes.get_mut(kept..).unwrap_or_default();
        for (slot, byte) in room.iter_mut().zip(piece) {
            *slot = *byte;
        }
        self.length = self.length.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
    }

    /// Forgets the text.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// The bytes that were kept.
    pub fn head(&self) -> &[u8] {
        self.bytes.get(..self.kept()).unwrap_or_default()
    }

    /// The length of the whole text, in bytes.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The text, if all of it was kept.
    pub fn whole(&self) -> Option<&[u8]> {
        (self.kept() == self.length as usize).then(|| self.head())
    }

    /// The kept bytes, as if they were the whole text.
    pub(crate) fn kept_only(&self) -> Self {
        Self::from(self.head())
    }

    /// The text's beginning and its length.
    pub(crate) fn excerpt(&self) -> Excerpt<'_> {
        Excerpt { head: self.head(), length: self.length }
    }

    fn kept(&self) -> usize {
        N.min(self.length as usize)
    }
}

impl<const N: usize> From<Excerpt<'_>> for Text<N> {
    fn from(excerpt: Excerpt<'_>) -> Self {
        Self { length: excerpt.length, ..Self::from(excerpt.head) }
    }
}

impl<const N: usize> From<&[u8]> for Text<N> {
    fn from(bytes: &[u8]) -> Self {
        let mut text = Self::default();
        text.push(bytes);
        text
    }
}
