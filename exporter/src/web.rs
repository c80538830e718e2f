//! `--web.config.file`, in the format of Prometheus' exporter-toolkit: who may ask, and over what.
//!
//! The file and those that it names are looked at for each connection and each request, and read again when one of
//! them has changed. A change that is not valid is said once, and what was valid before stays in force until one of
//! the files changes again: one that it names may come after it.
//!
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>

mod auth;
mod file;
mod limit;
mod tls;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::{HeaderName, HeaderValue};

use crate::log;

pub use auth::{Access, Guard};
pub use file::parse;
pub use limit::RateLimit;
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
    /// Of all requests together; without it there is none.
    pub rate_limit: Option<RateLimit>,
}

/// Everything that is wrong with the file, for `--check-config`.
pub fn check(path: &Path) -> Result<(), Vec<String>> {
    load(path, &mut Vec::new()).map(|_| ())
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
    /// All that was tried to read last, whether or not it could be.
    seen: Vec<Seen>,
}

/// A file, and what it looked like just before it was read: what is written or replaced later is then a change.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    look: Option<Look>,
}

/// What differs when a file was written or replaced, or may be read since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Web {
    /// Reads the file, if there is one.
    pub fn open(path: Option<PathBuf>) -> Result<Self, Vec<String>> {
        let mut seen = Vec::new();
        let config =
            path.as_deref().map_or_else(|| Ok(WebConfig::default()), |path| load(path, &mut seen))?;
        Ok(Self { path, current: Mutex::new(Loaded { config: Arc::new(config), seen }) })
    }

    /// What holds now.
    pub fn current(&self) -> Arc<WebConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path
            && current.seen.iter().any(Seen::has_changed)
        {
            reload(path, &mut current);
        }
        Arc::clone(&current.config)
    }
}

impl Seen {
    fn now(path: &Path) -> Self {
        Self { path: path.to_owned(), look: look(path) }
    }

    fn has_changed(&self) -> bool {
        look(&self.path) != self.look
    }
}

fn reload(path: &Path, current: &mut Loaded) {
    current.seen.clear();
    match load(path, &mut current.seen) {
        Ok(config) => {
            log::info(format_args!("--web.config.file {}: has changed and was read again", path.display()));
            current.config = Arc::new(config);
        }
        Err(faults) => {
            for fault in faults {
                log::error(format_args!("{fault} (what was valid before stays in force)"));
            }
        }
    }
}

/// What the file says, and in `seen` all that was tried to read for it, also where there are faults.
fn load(path: &Path, seen: &mut Vec<Seen>) -> Result<WebConfig, Vec<String>> {
    let file = format!("--web.config.file {}", path.display());
    seen.push(Seen::now(path));
    let text = fs::read_to_string(path)
        .map_err(|cause| vec![format!("{file}: cannot be read: {cause}; give the path of a YAML file")])?;
    // Paths in it are relative to where it is.
    file::read(&file, &text, path.parent().unwrap_or(Path::new("")), seen)
}

fn look(path: &Path) -> Option<Look> {
    let meta = fs::metadata(path).ok()?;
    Some(Look {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}
