//! One line per event on standard error, in logfmt. Nobody reading there is no reason to stop.

use std::fmt::Display;
use std::io::Write;

/// What an operator may want to know.
pub fn info(message: impl Display) {
    line("info", message);
}

/// What an operator should look at.
pub fn warn(message: impl Display) {
    line("warn", message);
}

/// What ends the process.
pub fn error(message: impl Display) {
    line("error", message);
}

fn line(level: &str, message: impl Display) {
    let message = message.to_string();
    // There is nowhere left to complain.
    drop(writeln!(std::io::stderr(), "level={level} msg={message:?}"));
}
