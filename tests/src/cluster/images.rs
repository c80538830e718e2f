//! The images that the node "pulls": each has a name, files on this machine, and a default command.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::tools::{self, EnvoyVersion};
use crate::workspace;

/// The first folder of `PATH` in every container.
pub(super) const PROGRAMS: &str = "/image/bin";

/// The contents of a container beside the machine's own `/usr`.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Each file or folder of this machine, and its path in the container.
    pub(super) files: Vec<(PathBuf, String)>,
    /// The command if the pod has none. The pod's args are appended.
    pub(super) entrypoint: Vec<String>,
    /// The variables of the image.
    pub(super) environment: Vec<(String, String)>,
    pub(super) idle: bool,
}

impl Image {
    /// An image that runs this program.
    pub fn of(program: &Path) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::default().program(&name, program).entrypoint(&[&name])
    }

    /// An image that starts no process. Its containers count as running, and their probes succeed.
    pub fn idle() -> Self {
        Self { idle: true, ..Self::default() }
    }

    /// Puts a program on `PATH`.
    pub fn program(self, name: &str, file: &Path) -> Self {
        let path = format!("{PROGRAMS}/{name}");
        self.file(file, &path)
    }

    /// Puts a file or folder of this machine at `path`.
    pub fn file(mut self, file: &Path, path: &str) -> Self {
        self.files.push((file.to_owned(), path.to_owned()));
        self
    }

    /// The command of containers without one.
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// A variable of the image.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Images by the last part of their name: `envoy` for `docker.io/envoyproxy/envoy:distroless-v1.40.0`.
#[derive(Debug)]
pub(super) struct Images(Mutex<HashMap<String, Image>>);

impl Images {
    /// Scoretap's own images, Envoy's, the tests' app, and `idle`.
    pub(super) fn shipped() -> Result<Self> {
        let exporter = Image::default()
            .file(&workspace::exporter(), "/scoretap-exporter")
            .file(&workspace::sidecar(), "/scoretap-sidecar")
            .file(&workspace::module(), "/scoretap.wasm")
            .file(&workspace::insight_module(), "/scoretap-insight.wasm")
            .entrypoint(&["/scoretap-exporter"]);
        let injector = Image::default()
            .file(&workspace::injector(), "/scoretap-injector")
            .entrypoint(&["/scoretap-injector"]);
        let envoy = Image::of(&tools::envoy(EnvoyVersion::Newest)?);
        let images = [
            ("scoretap-exporter", exporter),
            ("scoretap-injector", injector),
            ("envoy", envoy),
            ("app", Image::of(&test_app()?)),
            ("idle", Image::idle()),
        ];
        Ok(Self(Mutex::new(images.into_iter().map(|(name, image)| (name.to_owned(), image)).collect())))
    }

    pub(super) fn insert(&self, name: &str, image: Image) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), image);
    }

    pub(super) fn find(&self, reference: &str) -> Option<Image> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name(reference)).cloned()
    }
}

/// Without registry, tag and digest.
fn name(reference: &str) -> &str {
    let without_digest = reference.split('@').next().unwrap_or_default();
    let last = without_digest.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

/// `tests/src/bin/app.rs`, which cargo builds beside the tests that are running.
fn test_app() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).context("a test is below target/")?;
    Ok(profile.join("app"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_is_found_by_its_last_part() {
        for reference in ["envoy", "docker.io/a/envoy:v1", "localhost:5000/envoy", "a/envoy:v1@sha256:00"] {
            assert_eq!(name(reference), "envoy", "{reference}");
        }
    }
}
