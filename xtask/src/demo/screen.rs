//! Where the table goes: refreshed in place on a terminal, one below the other elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Standard output.
pub(super) struct Screen {
    introduction: String,
    is_terminal: bool,
}

impl Screen {
    /// `introduction` stays above the table.
    pub(super) fn new(introduction: &str) -> Self {
        let screen =
            Self { introduction: introduction.to_owned(), is_terminal: std::io::stdout().is_terminal() };
        if !screen.is_terminal {
            println!("{introduction}");
        }
        screen
    }

    /// How long a table stands.
    pub(super) fn pause(&self) -> Duration {
        Duration::from_secs(if self.is_terminal { 1 } else { 4 })
    }

    /// Shows a table in place of the last one, or after it.
    pub(super) fn show(&self, table: &str) {
        let mut out = std::io::stdout().lock();
        // The reader may have gone (`| head`); the demo ends by its own rules.
        let _ = if self.is_terminal {
            const HOME_AND_CLEAR: &str = "\x1b[H\x1b[J";
            write!(out, "{HOME_AND_CLEAR}{}\n{table}\nCtrl-C ends it\n", self.introduction)
        } else {
            writeln!(out, "{table}")
        };
        let _ = out.flush();
    }
}
