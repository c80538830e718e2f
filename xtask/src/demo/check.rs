//! The demo as a test: it runs for some seconds, shows what it promises and leaves nothing behind.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::SILENT_MODEL;
use super::table::SILENT;

/// The tables come every 4 s and cover at most 10 s: the last one begins after the model has failed.
const SECONDS: &str = "18";
const SILENT_AFTER: &str = "5";

/// The expected content of the last table.
const EXPECTED: [&str; 8] =
    ["score", "churn", "fraud", "invalid_input", "model_error", "timeout", "cancelled", "p99"];

/// Runs `cargo xtask demo` as a person would.
pub(crate) fn check() -> Result<()> {
    let shown = run(&["--seconds", SECONDS, "--fail-silently-after", SILENT_AFTER])?;
    let tables: Vec<&str> = shown.split("route ").skip(1).collect();
    let last = tables.last().copied().unwrap_or_default();
    for word in EXPECTED {
        ensure!(last.contains(word), "the demo's last table shows no {word}");
    }
    check_silent_failure(&tables)
}

/// Runs `cargo xtask demo --llm` and checks that no column of its last row is empty.
pub(crate) fn check_llm() -> Result<()> {
    let shown = run(&["--llm", "--seconds", "9"])?;
    let row = shown.lines().rev().find(|line| line.starts_with("tiny")).context("no table has the model")?;
    let words: Vec<&str> = row.split_whitespace().collect();
    let [
        _,
        _,
        input,
        output,
        ttft,
        "ms",
        _,
        "ms",
        _,
        length,
        complete,
        _,
        abandoned,
        cancelled,
        coverage,
        "%",
    ] = words[..]
    else {
        bail!("the last row has other columns: {row}");
    };
    let happened = [input, output, length, complete, abandoned, cancelled, coverage];
    ensure!(happened.iter().all(|count| *count != "0"), "a column of the last row is 0: {row}");
    ensure!(ttft.parse::<u32>().is_ok(), "no time to the first token: {row}");
    ensure!(coverage != "100", "the streams without a usage are not seen: {row}");
    Ok(())
}

fn run(arguments: &[&str]) -> Result<String> {
    let xtask = std::env::current_exe().context("where this program is")?;
    let mut command = Command::new(xtask);
    let output = command.arg("demo").args(arguments).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start the demo")?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{shown}");
    ensure!(output.status.success(), "the demo ended with {}", output.status);
    Ok(shown)
}

/// Checks that the model comes to answer the same for everybody, and that nothing else of its row tells.
fn check_silent_failure(tables: &[&str]) -> Result<()> {
    let rows: Vec<&str> = tables.iter().filter_map(|table| row(table)).collect();
    let healthy = rows.iter().find(|row| row.contains('%')).context("no table has the model's answers")?;
    ensure!(!healthy.contains(SILENT), "the model failed from the start: {healthy}");
    let last = rows.last().context("no table has the model")?;
    ensure!(last.contains(SILENT), "the last table does not show that all answers are the same: {last}");
    let columns = columns(last).context("a row without its columns")?;
    ensure!(columns.iter().all(|errors| *errors == "0"), "calls of the model have errors: {last}");
    Ok(())
}

fn row(table: &str) -> Option<&str> {
    table.lines().find(|line| line.contains(SILENT_MODEL))
}

/// The counts of errors: behind the rate and the successes, before the first quantile.
fn columns(row: &str) -> Option<Vec<&str>> {
    let (_, counts) = row.split_once(SILENT_MODEL)?;
    let (counts, _) = counts.split_once(" ms")?;
    let words: Vec<&str> = counts.split_whitespace().skip(2).collect();
    let (_quantile, errors) = words.split_last()?;
    Some(errors.to_vec())
}
