//! The Helm chart that is compiled into this program.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

/// The chart's files: paths below its folder, and their contents.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/chart.rs"));

/// The chart, unpacked. The folder is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Unpacked {
    folder: TempDir,
}

impl Unpacked {
    /// The chart's folder.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("scoretap")
    }

    /// Writes a file with values beside the chart.
    pub(crate) fn write_values(&self, values: &Value) -> Result<PathBuf> {
        let path = self.folder.path().join("detected.json");
        fs::write(&path, values.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Unpacks the chart for helm into a folder that only the caller can read.
pub(crate) fn unpack() -> Result<Unpacked> {
    let folder = tempfile::tempdir()
        .context("cannot make a folder for the chart; set TMPDIR to one that is writable")?;
    let unpacked = Unpacked { folder };
    for (name, content) in FILES {
        let path = unpacked.path().join(name);
        let parent = path.parent().context("a file has a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacked_chart_has_every_file() {
        let unpacked = unpack().unwrap();
        let path = unpacked.path();
        assert!(path.join("Chart.yaml").is_file());
        for (name, content) in FILES {
            assert_eq!(&fs::read(path.join(name)).unwrap(), content, "{name}");
        }
        drop(unpacked);
        assert!(!path.exists());
    }
}
