//! Whether a built file matches the sources. A test of a program that was built before the last edit proves nothing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::workspace::root;

/// Everything from which the shipped programs are built.
const SOURCES: [&str; 13] = [
    ".cargo",
    "Cargo.lock",
    "Cargo.toml",
    "dialect",
    "envoy",
    "exporter",
    "filter",
    "k8s/chart",
    "k8s/cli",
    "k8s/injector",
    "rust-toolchain.toml",
    "xtask/src/package",
    "xtask/src/package.rs",
];

/// Notes that a file was built from the sources as they were when this process first asked.
///
/// # Errors
///
/// If the note cannot be written.
pub fn record(built: &Path) -> Result<()> {
    let note = note(built);
    fs::write(&note, fingerprint()).with_context(|| format!("cannot write {}", note.display()))
}

/// Whether a file exists and was built from these sources.
pub fn is_current(built: &Path) -> bool {
    built.exists() && fs::read_to_string(note(built)).is_ok_and(|noted| noted == fingerprint())
}

/// The path of a built file.
///
/// # Panics
///
/// If the file is missing or was built from other sources.
pub(crate) fn current(built: PathBuf) -> PathBuf {
    let shown = built.display();
    let advice = "cargo xtask package --test-modules";
    assert!(is_current(&built), "{shown} is missing or older than the sources; build it with: {advice}");
    built
}

/// A hash of the sources' names and contents, taken once per process. Folders of tests are left out.
///
/// # Panics
///
/// If the sources cannot be read.
pub fn fingerprint() -> &'static str {
    static NOW: OnceLock<String> = OnceLock::new();
    NOW.get_or_init(|| hash().unwrap_or_else(|error| panic!("{error:#}")))
}

fn note(built: &Path) -> PathBuf {
    let name = built.file_name().and_then(OsStr::to_str).unwrap_or_default();
    built.with_file_name(format!(".{name}.sources"))
}

fn hash() -> Result<String> {
    let mut files = BTreeMap::new();
    for source in SOURCES {
        collect(&root().join(source), &mut files)?;
    }
    ensure!(files.len() > SOURCES.len(), "there are no sources below {}", root().display());
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

fn collect(path: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    if path.is_dir() {
        if path.ends_with("tests") {
            return Ok(());
        }
        let entries = fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
        return entries.into_iter().try_for_each(|entry| collect(&entry?.path(), files));
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.strip_prefix(root()).unwrap_or(path);
    files.insert(name.to_path_buf(), bytes);
    Ok(())
}
