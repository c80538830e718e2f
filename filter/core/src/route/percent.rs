//! Percent-encoding in paths.

use std::borrow::Cow;

use crate::hex;

/// Decodes percent-encoding once. A `%` without two digits stays.
pub fn percent_decoded(written: &[u8]) -> Cow<'_, [u8]> {
    match Encoding::of(written) {
        Encoding::None => Cow::Borrowed(written),
        Encoding::Percent => {
            let mut rest = written;
            let next = || {
                let (byte, after) = first_byte(rest)?;
                rest = after;
                Some(byte)
            };
            Cow::Owned(std::iter::from_fn(next).collect())
        }
    }
}

/// Whether a path contains percent-encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// It contains none.
    None,
    /// It contains a `%`.
    Percent,
}

impl Encoding {
    /// The encoding of a path.
    pub fn of(path: &[u8]) -> Self {
        if memchr::memchr(b'%', path).is_some() { Self::Percent } else { Self::None }
    }

    /// Strips `prefix`, decoding escapes; reads no further than the prefix.
    pub(super) fn strip_prefix<'p>(self, written: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
        match self {
            Self::None => written.strip_prefix(prefix),
            Self::Percent => prefix.iter().try_fold(written, |rest, wanted| {
                first_byte(rest).filter(|(byte, _)| byte == wanted).map(|(_, rest)| rest)
            }),
        }
    }

    /// Strips `suffix`, decoding escapes.
    pub(super) fn strip_suffix<'p>(self, written: &'p [u8], suffix: &[u8]) -> Option<&'p [u8]> {
        match self {
            Self::None => written.strip_suffix(suffix),
            Self::Percent => suffix.iter().rev().try_fold(written, |rest, wanted| {
                last_byte(rest).filter(|(byte, _)| byte == wanted).map(|(_, rest)| rest)
            }),
        }
    }
}

fn first_byte(written: &[u8]) -> Option<(u8, &[u8])> {
    let escape = written.split_first_chunk().and_then(|(escape, rest)| Some((escaped(*escape)?, rest)));
    escape.or_else(|| written.split_first().map(|(byte, rest)| (*byte, rest)))
}

/// Escapes do not overlap, so they can be read from the end.
fn last_byte(written: &[u8]) -> Option<(u8, &[u8])> {
    let escape = written.split_last_chunk().and_then(|(rest, escape)| Some((escaped(*escape)?, rest)));
    escape.or_else(|| written.split_last().map(|(byte, rest)| (*byte, rest)))
}

fn escaped([percent, high, low]: [u8; 3]) -> Option<u8> {
    if percent == b'%' { hex::decode(high, low) } else { None }
}
