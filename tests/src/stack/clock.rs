//! A wall clock of Envoy's own, which can step. Its monotonic clock is everybody's.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::folders::Folders;
use crate::tools;

const HOUR: i64 = 3_600;

/// The environment of a process with this clock.
pub(super) fn environment(folders: &Folders) -> Result<Vec<(&'static str, OsString)>> {
    set(folders, 0)?;
    Ok(vec![("LD_PRELOAD", tools::clock()?.into()), ("SCORETAP_CLOCK", file(folders).into())])
}

/// In place: the process has the file in its memory.
pub(super) fn set(folders: &Folders, hours: i64) -> Result<()> {
    let path = file(folders);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let written = file.and_then(|file| file.write_all_at(&(hours * HOUR).to_ne_bytes(), 0));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn file(folders: &Folders) -> PathBuf {
    folders.run.join("clock")
}

/// Whether the time in a `date` header is so many hours off.
pub(super) fn is_off_by(hours: i64, date: &str) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let hour = (i64::try_from(now).unwrap_or_default() / HOUR + hours).rem_euclid(24);
    date.contains(&format!(" {hour:02}:"))
}
