//! What manifests and scripts are checked with.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::install::on_path;
use super::{apt, pip};

/// A Python with Kubernetes' own schemas, of all versions from 1.25 to 1.37.
pub fn kubernetes_validate() -> Result<PathBuf> {
    Ok(pip::packages("kubernetes-validate", &["kubernetes-validate==1.37.0"])?.join("bin/python"))
}

/// `kubectl kustomize` renders without a cluster. It is the machine's own: Debian's is of 2021 and reads no folder as a
/// resource, and no other registry that is an ordinary one has it.
pub fn kubectl() -> Result<PathBuf> {
    on_path("kubectl").context(
        "kubectl is not on PATH, and overlays cannot be rendered without: install kubectl 1.27 or later",
    )
}

/// Debian's checker of shell scripts.
pub fn shellcheck() -> Result<PathBuf> {
    apt::program("shellcheck", "shellcheck")
}
