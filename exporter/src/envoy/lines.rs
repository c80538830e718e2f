//! Splits a body that arrives in chunks into lines. It buffers only the line that is incomplete.

/// Why a body is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A line is longer than [`MAX_LINE`].
    LineTooLong,
    /// A line is not UTF-8.
    NotText,
    /// The last line has no line break.
    HalfALine,
}

/// The longest allowed line. Names of statistics are far shorter.
pub const MAX_LINE: usize = 64 * 1024;

/// Holds the start of the incomplete line.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Passes each line that `chunk` completes to `each`, without the line break.
    pub fn feed<E: From<Broken>>(
        &mut self,
        chunk: &[u8],
        mut each: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut pieces = chunk.split(|byte| *byte == b'\n');
        let rest = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            if self.partial.is_empty() {
                each(text(piece)?)?;
            } else {
                self.keep(piece)?;
                let line = std::mem::take(&mut self.partial);
                each(text(&line)?)?;
            }
        }
        Ok(self.keep(rest)?)
    }

    /// Ends the body. An incomplete last line is an error.
    pub fn finish(self) -> Result<(), Broken> {
        if self.partial.is_empty() { Ok(()) } else { Err(Broken::HalfALine) }
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), Broken> {
        if self.partial.len().saturating_add(piece.len()) > MAX_LINE {
            return Err(Broken::LineTooLong);
        }
        self.partial.extend_from_slice(piece);
        Ok(())
    }
}

fn text(line: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(line).map_err(|_| Broken::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Result<Vec<String>, Broken> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for chunk in chunks {
            lines.feed(chunk, |line| {
                out.push(line.to_owned());
                Ok::<(), Broken>(())
            })?;
        }
        lines.finish().map(|()| out)
    }

    #[track_caller]
    fn check(chunks: &[&[u8]], expected: Result<&[&str], Broken>) {
        let expected = expected.map(|lines| lines.iter().map(|line| (*line).to_owned()).collect());
        assert_eq!(cut(chunks), expected);
    }

    #[test]
    fn empty_body_has_no_lines() {
        check(&[], Ok(&[]));
        check(&[b""], Ok(&[]));
    }

    #[test]
    fn lines_do_not_depend_on_chunks() {
        let body = "eins: 1\n\nzwölf: 12\n".as_bytes();
        for first in 0..=body.len() {
            for second in first..=body.len() {
                check(
                    &[&body[..first], &body[first..second], &body[second..]],
                    Ok(&["eins: 1", "", "zwölf: 12"]),
                );
            }
        }
    }

    #[test]
    fn last_line_without_line_break_is_rejected() {
        check(&[b"one: 1\ntw"], Err(Broken::HalfALine));
    }

    #[test]
    fn line_that_is_not_utf8_is_rejected() {
        check(&[b"one: \xff\n"], Err(Broken::NotText));
        check(&[b"one: \xff", b"\n"], Err(Broken::NotText));
    }

    #[test]
    fn endless_line_is_rejected() {
        let piece = vec![b'a'; MAX_LINE / 2 + 1];
        check(&[&piece, &piece], Err(Broken::LineTooLong));
    }
}
