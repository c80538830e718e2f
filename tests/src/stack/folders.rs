//! A stack's files: a short-lived folder for sockets and configuration, a lasting one for what the processes print.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::workspace;

/// The folders of one stack.
#[derive(Debug)]
pub struct Folders {
    /// Sockets and configuration. Removed with the stack.
    pub run: PathBuf,
    /// The output of the processes, `target/test-logs/NAME/`, kept after the test.
    pub logs: PathBuf,
}

impl Folders {
    /// Makes both, empty.
    pub fn create(name: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // A unix socket's path has to fit into 107 bytes: nothing below `target/` is sure to.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Process ids repeat in PID namespaces, where tests of clusters run.
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros();
        let run = std::env::temp_dir().join(format!("scoretap-{:x}-{}-{number}", start, std::process::id()));
        let logs = workspace::target().join("test-logs").join(name);
        let _ = fs::remove_dir_all(&logs);
        for folder in [&run, &logs] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(Self { run, logs })
    }
}

/// Sets how many calls in a hundred Insight reads, as the kubelet does: a new folder, and a link to it renamed over `link`.
pub fn set_insight_percent(link: &Path, percent: &str) -> Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let [folder, draft] = ["folder", "link"].map(|kind| link.with_file_name(format!("..{kind}-{number}")));
    fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(folder.join("insight_percent"), percent)?;
    symlink(&folder, &draft)?;
    fs::rename(&draft, link).with_context(|| format!("cannot replace {}", link.display()))
}

impl Drop for Folders {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.run);
    }
}
