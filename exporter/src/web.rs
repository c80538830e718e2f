//! `--web.config.file`, in the format of Prometheus' exporter-toolkit: who may ask, and over what.
//!
//! The file and those that it names are looked at for each connection and each request, and read again when one of
//! them has changed. A change that is not valid is said once, and what was valid before stays in force.
//!
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>

mod auth;
mod file;
mod tls;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::{HeaderName, HeaderValue};

use crate::log;

pub use auth::{Access, Guard};
pub use file::parse;
pub use tls::Tls;

/// What holds for connections and requests.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// Without it connections are plain.
    pub tls: Option<Tls>,
    /// Names and bcrypt's hashes; who is not among them may not ask, unless there are none at all.
    pub users: Vec<(String, String)>,
    /// Of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What else was read: certificates and keys.
    files: Vec<PathBuf>,
}

/// Everything that is wrong with the file, for `--check-config`.
pub fn check(path: &Path) -> Result<(), Vec<String>> {
    load(path).map(|_| ())
}

/// The configuration that is in force.
#[derive(Debug)]
pub struct Web {
    path: Option<PathBuf>,
    current: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<WebConfig>,
    /// What the files looked like when they were read.
    seen: Vec<Option<Look>>,
}

/// What differs when a file was written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Web {
    /// Reads the file, if there is one.
    pub fn open(path: Option<PathBuf>) -> Result<Self, Vec<String>> {
        let loaded = match &path {
            None => Loaded { config: Arc::default(), seen: Vec::new() },
            Some(path) => {
                // Before it is read: what is written in between is then seen as a change.
                let before = look(path);
                let config = Arc::new(load(path)?);
                let seen =
                    std::iter::once(before).chain(config.files.iter().map(|file| look(file))).collect();
                Loaded { config, seen }
            }
        };
        Ok(Self { path, current: Mutex::new(loaded) })
    }

    /// What holds now.
    pub fn current(&self) -> Arc<WebConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path {
            let seen: Vec<Option<Look>> = std::iter::once(look(path))
                .chain(current.config.files.iter().map(|file| look(file)))
                .collect();
            if seen != current.seen {
                current.seen = seen;
                reload(path, &mut current);
            }
        }
        Arc::clone(&current.config)
    }
}

fn reload(path: &Path, current: &mut Loaded) {
    match load(path) {
        Ok(config) => {
            log::info(format_args!("--web.config.file {}: has changed and was read again", path.display()));
            current.config = Arc::new(config);
            current.seen.truncate(1);
            current.seen.extend(current.config.files.iter().map(|file| look(file)));
        }
        Err(faults) => {
            for fault in faults {
                log::error(format_args!("{fault} (what was valid before stays in force)"));
            }
        }
    }
}

fn load(path: &Path) -> Result<WebConfig, Vec<String>> {
    let file = format!("--web.config.file {}", path.display());
    let text = fs::read_to_string(path)
        .map_err(|cause| vec![format!("{file}: cannot be read: {cause}; give the path of a YAML file")])?;
    // Paths in it are relative to where it is.
    parse(&file, &text, path.parent().unwrap_or(Path::new("")))
}

fn look(path: &Path) -> Option<Look> {
    let meta = fs::metadata(path).ok()?;
    Some(Look {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
    })
}
