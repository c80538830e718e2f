//! The tools that check manifests and scripts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::install::on_path;
use super::{apt, pip};

/// The machine's own kubectl, which applies patches and templates without a cluster.
pub fn kubectl() -> Result<PathBuf> {
    on_path("kubectl").context("kubectl is not on PATH: install kubectl 1.27 or later")
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

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program that has to be root, if only of a user namespace.
pub fn as_root(program: &Path) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount"]).arg(program);
    command
}

/// Whether there is a way for [`as_root`].
pub fn can_be_root() -> bool {
    as_root(Path::new("true")).output().is_ok_and(|output| output.status.success())
}

/// Debian's buildah.
pub fn buildah() -> Result<Buildah> {
    let root = apt::with_dependencies("buildah", &["buildah"])?;
    let libraries = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    Ok(Buildah { program: root.join("usr/bin/buildah"), libraries })
}

/// Debian's docker-compose, which reads compose files without an engine.
pub fn docker_compose() -> Result<Command> {
    let root = apt::with_dependencies("docker-compose", &["docker-compose"])?;
    let mut command = Command::new("python3");
    // Libraries that the system has are not unpacked again.
    let packages = [root.join("usr/lib/python3/dist-packages"), "/usr/lib/python3/dist-packages".into()];
    command.arg(root.join("usr/bin/docker-compose")).env("PYTHONPATH", std::env::join_paths(packages)?);
    Ok(command)
}

/// A Python with CycloneDX's own schemas of bills of materials.
pub fn cyclonedx() -> Result<PathBuf> {
    let packages = ["cyclonedx-python-lib[json-validation]==11.12.0"];
    Ok(pip::packages("cyclonedx", &packages)?.join("bin/python"))
}
