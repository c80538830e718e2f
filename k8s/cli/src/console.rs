//! Standard output and standard error. Everything that the command prints goes through here, because `println!` panics
//! when the reader is gone (`| head`) or the disk is full.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::{Context, Result};
use serde_json::Value;

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

/// As [`print`], and tells whether somebody still reads the output.
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

/// Writes a line to standard error. If that fails, nobody can be told.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

const UNLIMITED: usize = 100_000;

/// The terminal's width. Without a terminal, nothing is wrapped or cut.
pub(crate) fn width() -> usize {
    match terminal_size::terminal_size() {
        Some((terminal_size::Width(width), _)) if io::stdout().is_terminal() => usize::from(width).max(40),
        _ => UNLIMITED,
    }
}
