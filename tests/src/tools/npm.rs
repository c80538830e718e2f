//! From the npm registry. One folder each.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::install::{once, step};

/// The `node_modules` with these packages, each with its version. None of their scripts is run.
pub(super) fn packages(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let dir = once(name, &packages.join(" "), |dir| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(dir)
            .args(packages);
        step(name, &mut npm, "Node 20 with npm is needed, and the npm registry")
    })?;
    Ok(dir.join("node_modules"))
}
