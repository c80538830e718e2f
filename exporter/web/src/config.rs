//! `--web.config.file`, in the format of Prometheus' exporter-toolkit: TLS, users, headers and a rate limit.
//!
//! The file and the files that it names are checked at each connection and each request, and read again when one of them
//! changed. A change that is not valid is logged once; the last valid configuration stays in force. The invalid one is
//! read again when one of its files changes, because a certificate may be written after the file that names it.
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
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::OwnedMutexGuard;

use crate::counts::Counts;
use crate::threads;

pub use auth::{Access, Guard};
pub use file::parse;
pub use limit::RateLimit;
pub use tls::Tls;

/// How long a connection or a request waits for changed files to be read. After that it uses the last valid
/// configuration, for example if the file system hangs.
const READ_TIME: Duration = Duration::from_secs(1);

/// TLS, users and limits of a server.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// Without it, connections are not encrypted.
    pub tls: Option<Tls>,
    /// Names and bcrypt hashes. Without users, everybody has access.
    pub users: Vec<(String, String)>,
    /// Added to every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The limit of all requests together.
    pub rate_limit: Option<RateLimit>,
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Plain connections, no users.
    None,
    /// A web configuration file.
    File(PathBuf),
    /// TLS with a PEM certificate and its key, and no other settings. Offers HTTP/2.
    #[cfg(feature = "http2")]
    Certificate {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

impl From<Option<PathBuf>> for Source {
    fn from(file: Option<PathBuf>) -> Self {
        file.map_or(Self::None, Self::File)
    }
}

/// Every fault of the file, for `--check-config`.
pub fn check(path: &Path) -> Result<(), Vec<String>> {
    Source::File(path.to_owned()).load(&mut Vec::new()).map(|_| ())
}

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct Web {
    shared: Arc<Shared>,
    /// All files that the last read tried to read. Locked during a read.
    seen: Arc<tokio::sync::Mutex<Vec<Seen>>>,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    current: Mutex<Arc<WebConfig>>,
    counts: Counts,
}

/// A file, and its metadata from just before it was read, so that every later write or replacement is a change.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    metadata: Option<Metadata>,
}

/// Metadata that changes when a file is written, replaced or made readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Metadata {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Web {
    /// Reads the configuration for the first time.
    pub fn open(source: impl Into<Source>) -> Result<Self, Vec<String>> {
        let (source, counts, mut seen) = (source.into(), Counts::default(), Vec::new());
        let config = source.load(&mut seen)?;
        if !matches!(source, Source::None) {
            counts.loaded();
        }
        let shared = Shared { source, current: Mutex::new(Arc::new(config)), counts };
        Ok(Self { shared: Arc::new(shared), seen: Arc::new(tokio::sync::Mutex::new(seen)) })
    }

    /// The counts of servers with this configuration.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// The configuration in force. Waits for files that changed, but no longer than [`READ_TIME`].
    pub async fn current(&self) -> Arc<WebConfig> {
        if !matches!(self.shared.source, Source::None) {
            // A slower read continues without this caller.
            drop(tokio::time::timeout(READ_TIME, self.refresh()).await);
        }
        self.shared.current()
    }

    async fn refresh(&self) {
        let seen = Arc::clone(&self.seen).lock_owned().await;
        let shared = Arc::clone(&self.shared);
        if let Err(cause) = threads::run(threads::STACK, move || shared.refresh(seen)).await {
            log::warn!("cannot check the web configuration for changes: {cause}");
        }
    }
}

impl Shared {
    fn current(&self) -> Arc<WebConfig> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn refresh(&self, mut seen: OwnedMutexGuard<Vec<Seen>>) {
        if !seen.iter().any(Seen::has_changed) {
            return;
        }
        seen.clear();
        let loaded = self.source.load(&mut seen);
        self.counts.reload(loaded.is_ok());
        match loaded {
            Ok(config) => {
                log::info!(file:% = self.source.name(); "the file or one that it names changed; read again");
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
            }
            Err(faults) => {
                for fault in faults {
                    log::error!("{fault} (the last valid configuration stays in force)");
                }
            }
        }
    }
}

impl Source {
    /// Reads the configuration. Adds every file that it tries to read to `seen`, even if there are faults.
    fn load(&self, seen: &mut Vec<Seen>) -> Result<WebConfig, Vec<String>> {
        match self {
            Self::None => Ok(WebConfig::default()),
            Self::File(path) => load(path, seen),
            #[cfg(feature = "http2")]
            Self::Certificate { certificate, key } => file::certificate(certificate, key, seen),
        }
    }

    fn name(&self) -> std::path::Display<'_> {
        match self {
            Self::None => Path::new("").display(),
            Self::File(path) => path.display(),
            #[cfg(feature = "http2")]
            Self::Certificate { certificate, .. } => certificate.display(),
        }
    }
}

impl Seen {
    fn now(path: &Path) -> Self {
        Self { path: path.to_owned(), metadata: metadata(path) }
    }

    fn has_changed(&self) -> bool {
        metadata(&self.path) != self.metadata
    }
}

fn load(path: &Path, seen: &mut Vec<Seen>) -> Result<WebConfig, Vec<String>> {
    let file = format!("--web.config.file {}", path.display());
    seen.push(Seen::now(path));
    let text = fs::read_to_string(path)
        .map_err(|cause| vec![format!("{file}: cannot be read: {cause}; give the path of a YAML file")])?;
    // Relative paths are relative to the file's folder.
    file::read(&file, &text, path.parent().unwrap_or(Path::new("")), seen)
}

fn metadata(path: &Path) -> Option<Metadata> {
    let meta = fs::metadata(path).ok()?;
    Some(Metadata {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}
