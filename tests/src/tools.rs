//! The tools of tests and demo, installed under `target/tools/` by ordinary clients: pip, apt, cargo.
//!
//! Each function returns a path that is ready for use and installs first where something is missing. Nothing is
//! installed system-wide, nothing needs root, and a second call costs one read of a file.

mod apt;
mod azure;
mod clock;
mod go;
mod install;
mod kubernetes;
mod npm;
mod operator;
mod pip;
mod rust;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

pub use azure::{azure_alerts, kusto};
pub use clock::clock;
pub use go::{
    Tier, can_build_cluster_programs, cluster_program, cluster_programs, cluster_sources,
    custom_resource_definitions, helm, missing_cluster_program, textparse,
};
pub use install::tools_dir;
pub use kubernetes::{
    Buildah, as_root, buildah, can_be_root, cyclonedx, docker_compose, is_root, kubectl, shellcheck,
};
pub use operator::{actionlint, check_jsonschema};
pub use rust::{MUSL_TARGET, WASM_TARGET, mdbook, targets, wasm_bindgen_test_runner};

/// The Envoy releases that Scoretap is tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvoyVersion {
    /// The newest release.
    Newest,
    /// The oldest supported release. Its admin interface has no `allow_paths`.
    Oldest,
}

impl EnvoyVersion {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Newest, Self::Oldest];

    /// As the package index names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "1.40.0",
            Self::Oldest => "1.36.4",
        }
    }
}

/// The Envoy binary itself, not the package's Python wrapper: a signal must reach Envoy.
pub fn envoy(version: EnvoyVersion) -> Result<PathBuf> {
    pip::envoy(version.as_str())
}

/// The Python interpreter that has what the model servers need.
pub fn python() -> Result<PathBuf> {
    Ok(pip::model_servers()?.join("bin/python"))
}

/// The gunicorn that serves `scorer.py`.
pub fn gunicorn() -> Result<PathBuf> {
    Ok(pip::model_servers()?.join("bin/gunicorn"))
}

/// The Python interpreter that has llama.cpp's server and the official client of OpenAI.
pub fn llm_python() -> Result<PathBuf> {
    Ok(pip::requirements("python-llm", "llm/requirements.txt")?.join("bin/python"))
}

/// The Python interpreter that has the model servers of `tests/python/servers`, and NumPy.
pub fn servers_python() -> Result<PathBuf> {
    Ok(pip::requirements("python-servers", "servers/requirements.txt")?.join("bin/python"))
}

/// The Python interpreter of a model server that needs an environment of its own, such as `mlserver`.
pub fn server_python(name: &str) -> Result<PathBuf> {
    let requirements = format!("servers/requirements-{name}.txt");
    Ok(pip::requirements(&format!("python-{name}"), &requirements)?.join("bin/python"))
}

/// The Python interpreter that has Evidently, and predictions that others published.
pub fn evidently_python() -> Result<PathBuf> {
    let venv =
        pip::requirements_and_data("python-evidently", "evidently/requirements.txt", &["nannyml==0.13.1"])?;
    Ok(venv.join("bin/python"))
}

/// The Python interpreter that has the instrumenting libraries of `tests/python/libraries`.
pub fn libraries_python() -> Result<PathBuf> {
    Ok(pip::requirements("python-libraries", "libraries/requirements.txt")?.join("bin/python"))
}

/// Prometheus itself.
pub fn prometheus() -> Result<PathBuf> {
    apt::program("prometheus", "prometheus")
}

/// Prometheus' own checker of rules and expositions.
pub fn promtool() -> Result<PathBuf> {
    apt::program("prometheus", "promtool")
}

/// A browser without a window, ready for its flags. The one on PATH, or else Debian's with the libraries it needs.
pub fn chromium() -> Result<Command> {
    if let Some(chromium) = install::on_path("chromium") {
        return Ok(Command::new(chromium));
    }
    let root = apt::with_dependencies("chromium", &["chromium", "fonts-dejavu-core"])?;
    let mut command = Command::new(root.join("usr/lib/chromium/chromium"));
    let libraries = root.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let paths = [libraries.join("pulseaudio"), libraries];
    command.env("LD_LIBRARY_PATH", std::env::join_paths(paths)?).env("XDG_DATA_HOME", root.join("usr/share"));
    Ok(command)
}

/// Alertmanager.
pub fn alertmanager() -> Result<PathBuf> {
    apt::program("prometheus-alertmanager", "prometheus-alertmanager")
}

/// Alertmanager's checker of configurations.
pub fn amtool() -> Result<PathBuf> {
    apt::program("prometheus-alertmanager", "amtool")
}
