//! Standard output and standard error. Everything that the command prints goes through here, because `println!` panics
//! when the reader is gone (`| head`) or the disk is full.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::text::count;

/// Writes text to standard output. A closed pipe is no error: the command goes on and writes its files.
pub(crate) fn print(text: &str) -> Result<()> {
    has_reader(text).map(drop)
}

/// Writes text and a line end.
pub(crate) fn line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Writes a value as JSON.
pub(crate) fn json(value: &Value) -> Result<()> {
    line(&format!("{value:#}"))
}

/// Does the same as [`print`], and returns whether somebody still reads the output.
pub(crate) fn has_reader(text: &str) -> Result<bool> {
    write(&mut io::stdout().lock(), text).context("cannot write to standard output")
}

fn write(out: &mut dyn Write, text: &str) -> io::Result<bool> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a line to standard error. It ignores a failure, because no other output is left.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// Long work shows how far it is.
const LONG: Duration = Duration::from_secs(2);

/// A line on a terminal that counts what is done, and that is erased at the end.
pub(crate) struct Progress<'a> {
    /// `None` if standard error is no terminal.
    out: Option<Box<dyn Write + 'a>>,
    began: Instant,
    /// The time before the line is shown first.
    after: Duration,
    is_shown: bool,
}

impl Progress<'_> {
    pub(crate) fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        let out = is_terminal.then(|| -> Box<dyn Write> { Box::new(io::stderr()) });
        Self { out, began: Instant::now(), after: LONG, is_shown: false }
    }

    /// Shows that `done` of `all` things are done.
    pub(crate) fn show(&mut self, done: usize, all: usize, thing: &str) {
        if let Some(out) = &mut self.out
            && self.began.elapsed() >= self.after
        {
            // The work goes on without its progress.
            drop(write!(out, "{ERASED}{done} of {}", count(all, thing)).and_then(|()| out.flush()));
            self.is_shown = true;
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(out) = self.out.as_mut().filter(|_| self.is_shown) {
            drop(write!(out, "{ERASED}").and_then(|()| out.flush()));
        }
    }
}

/// Empties the terminal's line.
const ERASED: &str = "\r\x1b[K";

const UNLIMITED: usize = 100_000;

/// The terminal's width. Without a terminal, nothing is wrapped or cut.
pub(crate) fn width() -> usize {
    match terminal_size::terminal_size() {
        Some((terminal_size::Width(width), _)) if io::stdout().is_terminal() => usize::from(width).max(40),
        _ => UNLIMITED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(after: Duration, expected: &str) {
        let mut shown = Vec::new();
        let out: Option<Box<dyn Write>> = Some(Box::new(&mut shown));
        let mut progress = Progress { out, began: Instant::now(), after, is_shown: false };
        progress.show(0, 2, "selector");
        progress.show(1, 2, "selector");
        drop(progress);
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }

    #[test]
    fn progress_is_shown_for_long_work_and_erased() {
        check(Duration::ZERO, "\r\x1b[K0 of 2 selectors\r\x1b[K1 of 2 selectors\r\x1b[K");
        check(LONG, "");
    }
}
