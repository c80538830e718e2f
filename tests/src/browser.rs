//! Chromium without a window.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::tools;

/// Opens a page with these flags beside the usual ones. Returns everything that the browser printed. `profile` is a
/// folder for the browser's files.
pub fn browse(profile: &Path, flags: &[&str], url: &str) -> Result<String> {
    let mut command = tools::chromium()?;
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    let output = command.args(flags).arg(url).output().context("cannot start the browser")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// Writes a picture of a page, in a window of this width and height. Returns its bytes.
pub fn screenshot(
    profile: &Path,
    url: &str,
    picture: &Path,
    size: (u32, u32),
    flags: &[&str],
) -> Result<Vec<u8>> {
    let (file, window) =
        (format!("--screenshot={}", picture.display()), format!("--window-size={},{}", size.0, size.1));
    let said = browse(profile, &[&[file.as_str(), &window, "--hide-scrollbars"], flags].concat(), url)?;
    let png =
        fs::read(picture).with_context(|| format!("no picture of {url}; the browser printed {said}"))?;
    ensure!(png.starts_with(b"\x89PNG") && png.len() > 10_000, "{} bytes are no picture of {url}", png.len());
    Ok(png)
}
