//! `scoretap-injector serve`: the admission webhook.

pub mod metrics;
pub mod review;
pub mod server;
pub mod tls;

use std::io::Write;

/// Writes a log line. Unlike `eprintln!`, this does not panic if the write fails, for example on a full disk.
pub(crate) fn log(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
