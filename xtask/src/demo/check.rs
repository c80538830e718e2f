//! The demo as a test: it runs for a few seconds, shows what it promises and leaves nothing behind.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

const SECONDS: &str = "10";

/// The expected content of the last table.
const EXPECTED: [&str; 8] =
    ["score", "churn", "fraud", "invalid_input", "model_error", "timeout", "cancelled", "p99"];

/// Runs `cargo xtask demo` as a person would.
pub(crate) fn check() -> Result<()> {
    let xtask = std::env::current_exe().context("where this program is")?;
    let output = Command::new(xtask)
        .args(["demo", "--seconds", SECONDS])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start the demo")?;
    let shown = String::from_utf8_lossy(&output.stdout);
    println!("{shown}");
    ensure!(output.status.success(), "the demo ended with {}", output.status);
    let last = shown.rsplit("route ").next().unwrap_or_default();
    for word in EXPECTED {
        ensure!(last.contains(word), "the demo's last table shows no {word}");
    }
    Ok(())
}
