//! Install once: a folder that is complete is not touched again, one that was broken off is made anew.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Where everything is installed.
pub fn tools_dir() -> PathBuf {
    workspace::target().join("tools")
}

/// The folder `name`, filled by `make` unless it already holds what `pin` says.
///
/// `pin` is whatever must change for a reinstallation: a version, a requirements file.
pub(super) fn once(name: &str, pin: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let dir = tools_dir().join(name);
    if is_complete(&dir, pin) {
        return Ok(dir);
    }
    // Test processes run side by side; the first one installs, the others wait for it.
    let _lock = lock()?;
    if is_complete(&dir, pin) {
        return Ok(dir);
    }
    remove(&dir)?;
    fs::create_dir_all(&dir)?;
    make(&dir)?;
    fs::write(stamp(&dir), pin)?;
    Ok(dir)
}

/// Runs an installing command under a line that says what it is doing and one that says how long it took.
///
/// `advice` is what a person can do where the program is missing or fails.
pub(super) fn step(what: &str, command: &mut Command, advice: &str) -> Result<()> {
    eprintln!("installing {what} …");
    let start = Instant::now();
    run(command, advice).with_context(|| format!("installing {what}"))?;
    eprintln!("  {what} took {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command silently; its output becomes part of the error where it fails.
pub(super) fn run(command: &mut Command, advice: &str) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("{program} is not there: {advice}"),
        other => other.with_context(|| format!("cannot start {program}"))?,
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {advice}\n{}\n{}", output.status, tail(&stdout), tail(&stderr));
    }
    Ok(stdout)
}

/// The first program of that name on PATH.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn is_complete(dir: &Path, pin: &str) -> bool {
    fs::read_to_string(stamp(dir)).is_ok_and(|found| found == pin)
}

fn stamp(dir: &Path) -> PathBuf {
    dir.join(".complete")
}

fn lock() -> Result<File> {
    fs::create_dir_all(tools_dir())?;
    let path = tools_dir().join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        let _ = writeln!(std::io::stderr(), "waiting for another process that is installing …");
        file.lock()?;
    }
    Ok(file)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| format!("cannot clear {}", dir.display())),
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
