//! The Helm chart as an archive, as `helm package` writes it but with the same bytes each time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, Header};

/// `.helmignore` and what it names.
const LEFT_OUT: [&str; 2] = [".helmignore", "files/rules/thresholds.yaml"];

/// The archive's name.
pub(super) fn name() -> String {
    format!("scoretap-{}.tgz", env!("CARGO_PKG_VERSION"))
}

/// Writes the archive into `dist`.
pub(super) fn write(sources: &Path, dist: &Path) -> Result<()> {
    let chart = sources.join("k8s/chart");
    let mut files = Vec::new();
    collect(&chart, &mut files)?;
    // Helm reads the name and version first.
    files.sort_by_key(|file| (!file.ends_with("Chart.yaml"), file.clone()));
    let mut archive = Builder::new(GzBuilder::new().write(Vec::new(), Compression::best()));
    for file in files {
        let path = file.strip_prefix(&chart)?;
        if LEFT_OUT.iter().any(|left_out| path == Path::new(left_out)) {
            continue;
        }
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut header = Header::new_gnu();
        header.set_size(content.len().try_into()?);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, Path::new("scoretap").join(path), content.as_slice())?;
    }
    let archive = archive.into_inner()?.finish()?;
    fs::write(dist.join(name()), archive).with_context(|| format!("cannot write {}", name()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chart_has_the_version_of_the_workspace() {
        let chart = scoretap_tests::workspace::root().join("k8s/chart/Chart.yaml");
        let chart: serde_norway::Value = serde_norway::from_str(&fs::read_to_string(chart).unwrap()).unwrap();
        for field in ["version", "appVersion"] {
            assert_eq!(chart[field], env!("CARGO_PKG_VERSION"), "{field}");
        }
    }

    #[test]
    fn archive_is_reproducible_without_ignored_files() {
        let root = scoretap_tests::workspace::root();
        let written = ["a", "b"].map(|name| {
            let dist = scoretap_tests::workspace::target().join("tmp/chart").join(name);
            fs::create_dir_all(&dist).unwrap();
            write(&root, &dist).unwrap();
            fs::read(dist.join(super::name())).unwrap()
        });
        assert_eq!(written[0], written[1]);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(written[0].as_slice()));
        let files: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(files[0], Path::new("scoretap/Chart.yaml"));
        assert!(files.contains(&"scoretap/files/rules/calls.yaml".into()), "{files:?}");
        assert!(!files.contains(&"scoretap/files/rules/thresholds.yaml".into()), "{files:?}");
    }

    #[test]
    fn archive_leaves_out_what_helm_ignores() {
        let root = scoretap_tests::workspace::root();
        let ignored = fs::read_to_string(root.join("k8s/chart/.helmignore")).unwrap();
        let ignored: Vec<_> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(ignored, LEFT_OUT[1..]);
    }
}
