//! The one tool that is ours: a library that gives a process a wall clock of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::install::{once, step};
use crate::workspace;

/// `tests/clock/clock.c`, compiled, for `LD_PRELOAD`.
pub fn clock() -> Result<PathBuf> {
    let path = workspace::root().join("tests/clock/clock.c");
    let source = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let dir = once("clock", &source, |dir| {
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .arg(dir.join("clock.so"))
            .arg(path);
        step("a clock that steps", &mut compiler, "a C compiler is needed, as for Rust itself")
    })?;
    Ok(dir.join("clock.so"))
}
