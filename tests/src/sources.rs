//! Whether a built file matches the sources. A test of a program that was built before the last edit proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::workspace::root;

/// Part of every build.
const COMMON: [&str; 6] = [
    ".cargo",
    "Cargo.lock",
    "Cargo.toml",
    "rust-toolchain.toml",
    "xtask/src/package",
    "xtask/src/package.rs",
];

/// The files of other folders that a package embeds.
const EMBEDDED: [(&str, &str); 2] = [("scoretap-injector", "envoy"), ("scoretap-cli", "k8s/chart")];

/// The package of a built file. Files that no package builds depend on all packages.
fn package_of(built: &Path) -> Option<&'static str> {
    match built.file_name().and_then(OsStr::to_str)? {
        "scoretap" => Some("scoretap-cli"),
        "scoretap-exporter" => Some("scoretap-exporter"),
        "scoretap-injector" | "scoretap-sidecar" => Some("scoretap-injector"),
        "scoretap-insight.wasm" => Some("scoretap-insight"),
        name if name.ends_with(".wasm") => Some("scoretap-filter"),
        _ => None,
    }
}

/// Notes that a file was built from the sources as they were when this process first asked.
///
/// # Errors
///
/// If the note cannot be written.
pub fn record(built: &Path) -> Result<()> {
    let note = note(built);
    fs::write(&note, fingerprint(built)).with_context(|| format!("cannot write {}", note.display()))
}

/// Whether a file exists and was built from these sources.
pub fn is_current(built: &Path) -> bool {
    built.exists() && fs::read_to_string(note(built)).is_ok_and(|noted| noted == fingerprint(built))
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

/// Reads the sources. Later edits make what this process builds stale.
///
/// # Panics
///
/// If the sources cannot be read.
pub fn freeze() {
    hashes();
}

/// A hash of the names and contents of a file's sources. Folders of tests are left out.
fn fingerprint(built: &Path) -> String {
    let (hashes, _) = hashes();
    let mut hasher = DefaultHasher::new();
    match package_of(built) {
        None => hashes.hash(&mut hasher),
        Some(_) => {
            hashes[COMMON_HASH].hash(&mut hasher);
            packages_of(built).iter().for_each(|name| hashes[*name].hash(&mut hasher));
        }
    }
    format!("{:016x}", hasher.finish())
}

/// The packages that a file is built from.
///
/// # Panics
///
/// If no package builds the file.
pub fn packages_of(built: &Path) -> Vec<&'static str> {
    let package = package_of(built).unwrap_or_else(|| panic!("no package builds {}", built.display()));
    with_dependencies(package, &hashes().1).into_iter().collect()
}

/// Each package's folder and the packages of this workspace that it needs.
type Packages = BTreeMap<String, (PathBuf, Vec<String>)>;

const COMMON_HASH: &str = "common";

fn with_dependencies<'a>(package: &'a str, packages: &'a Packages) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![package]);
    while let Some(name) = open.pop() {
        if found.insert(name) {
            let (_, dependencies) =
                packages.get(name).unwrap_or_else(|| panic!("there is no package {name}"));
            open.extend(dependencies.iter().map(String::as_str));
        }
    }
    found
}

fn hashes() -> &'static (BTreeMap<String, u64>, Packages) {
    static NOW: OnceLock<(BTreeMap<String, u64>, Packages)> = OnceLock::new();
    NOW.get_or_init(|| read().unwrap_or_else(|error| panic!("{error:#}")))
}

fn read() -> Result<(BTreeMap<String, u64>, Packages)> {
    let packages = packages()?;
    let folders: Vec<PathBuf> = packages.values().map(|(folder, _)| folder.clone()).collect();
    let hash = |roots: &[PathBuf]| {
        let mut files = BTreeMap::new();
        for folder in roots {
            collect(folder, &folders, &mut files)?;
        }
        ensure!(!files.is_empty(), "there are no sources in {roots:?}");
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        Ok(hasher.finish())
    };
    let mut hashes = BTreeMap::from([(COMMON_HASH.to_owned(), hash(&COMMON.map(|name| root().join(name)))?)]);
    for (name, (folder, _)) in &packages {
        let embedded = EMBEDDED.iter().filter(|(package, _)| package == name);
        let mut roots = vec![folder.clone()];
        roots.extend(embedded.map(|(_, folder)| root().join(folder)));
        hashes.insert(name.clone(), hash(&roots)?);
    }
    Ok((hashes, packages))
}

fn packages() -> Result<Packages> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = cargo.output().context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let package = |package: &Value| {
        let folder = PathBuf::from(text(package, "manifest_path")).parent().map(Path::to_path_buf);
        let own = |dependency: &&Value| dependency["path"].is_string() && dependency["kind"] != "dev";
        let dependencies = list(package, "dependencies");
        let dependencies = dependencies.iter().filter(own).map(|dependency| text(dependency, "name"));
        Some((text(package, "name"), (folder?, dependencies.collect())))
    };
    Ok(list(&metadata, "packages").iter().filter_map(package).collect())
}

fn note(built: &Path) -> PathBuf {
    let name = built.file_name().and_then(OsStr::to_str).unwrap_or_default();
    built.with_file_name(format!(".{name}.sources"))
}

/// Reads all files below `path`, except tests and the folders of other packages.
fn collect(path: &Path, packages: &[PathBuf], files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    if path.is_dir() {
        let entries = fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
        return entries.into_iter().try_for_each(|entry| {
            let path = entry?.path();
            let skipped = path.ends_with("tests") || packages.contains(&path);
            if skipped { Ok(()) } else { collect(&path, packages, files) }
        });
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.strip_prefix(root()).unwrap_or(path);
    files.insert(name.to_path_buf(), bytes);
    Ok(())
}
