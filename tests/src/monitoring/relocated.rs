//! Debian's programs open their pages and templates below `/usr`, and were unpacked elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{fs, process};

use anyhow::{Result, ensure};

/// Two tests of one process must not write the same copy.
static WRITING: Mutex<()> = Mutex::new(());

/// A copy of the program that opens `folder` relative to its working directory.
///
/// Go keeps the length of a text beside it: without the slash at the front, one inside is doubled.
pub fn relocated(binary: &Path, folder: &str) -> Result<PathBuf> {
    let _writing = WRITING.lock();
    let copy = binary.with_extension("relocated");
    if copy.is_file() {
        return Ok(copy);
    }
    // Test processes run side by side: the copy appears as a whole.
    let unfinished = binary.with_extension(process::id().to_string());
    fs::copy(binary, &unfinished)?;
    let relative = folder.trim_start_matches('/').replacen('/', "//", 1);
    // sed writes a new file. A program that this process itself wrote may be busy: a child that
    // another thread starts holds it open until its own program runs.
    let edit = Command::new("sed")
        .env("LC_ALL", "C")
        .args(["-i", &format!("s|{folder}|{relative}|g")])
        .arg(&unfinished)
        .status()?;
    ensure!(edit.success(), "sed could not write {}", unfinished.display());
    fs::rename(&unfinished, &copy)?;
    Ok(copy)
}
