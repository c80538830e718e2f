//! Debian's programs open their pages and templates below `/usr`, and were unpacked elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// A copy of the program that opens `folder` relative to its working directory.
///
/// Go keeps the length of a text beside it: without the slash at the front, one inside is doubled.
pub fn relocated(binary: &Path, folder: &str) -> Result<PathBuf> {
    let copy = binary.with_extension("relocated");
    if copy.is_file() {
        return Ok(copy);
    }
    let relative = folder.trim_start_matches('/').replacen('/', "//", 1);
    let mut bytes = fs::read(binary)?;
    let windows = bytes.windows(folder.len()).enumerate();
    let found: Vec<usize> =
        windows.filter(|(_, window)| *window == folder.as_bytes()).map(|(at, _)| at).collect();
    for at in found {
        bytes[at..at + folder.len()].copy_from_slice(relative.as_bytes());
    }
    // Test processes run side by side: the copy appears as a whole.
    let unfinished = binary.with_extension(std::process::id().to_string());
    fs::write(&unfinished, bytes)?;
    fs::set_permissions(&unfinished, fs::metadata(binary)?.permissions())?;
    fs::rename(&unfinished, &copy)?;
    Ok(copy)
}
