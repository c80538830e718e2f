//! What manifests and scripts are checked with.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::install::{on_path, once, step};
use super::{apt, pip};

/// A Python with Kubernetes' own schemas, of all versions from 1.25 to 1.37.
pub fn kubernetes_validate() -> Result<PathBuf> {
    Ok(pip::packages("kubernetes-validate", &["kubernetes-validate==1.37.0"])?.join("bin/python"))
}

/// The folder of Node's packages that hold the schemas of the prometheus-operator's objects and of Istio's.
pub fn kubernetes_models() -> Result<PathBuf> {
    let packages = ["@kubernetes-models/prometheus-operator@6.0.0", "@kubernetes-models/istio@3.0.1"];
    let dir = once("kubernetes-models", &packages.join(" "), |dir| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(dir)
            .args(packages);
        step("the schemas of CRDs", &mut npm, "Node 20 with npm is needed, and the npm registry")
    })?;
    Ok(dir.join("node_modules"))
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

/// Builds images without a daemon, a registry or root.
#[derive(Debug)]
pub struct Buildah {
    /// The program.
    pub program: PathBuf,
    /// Where its libraries are, for `LD_LIBRARY_PATH`.
    pub libraries: PathBuf,
}

/// Debian's buildah.
pub fn buildah() -> Result<Buildah> {
    let root = apt::with_dependencies("buildah", &["buildah"])?;
    let libraries = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    Ok(Buildah { program: root.join("usr/bin/buildah"), libraries })
}
