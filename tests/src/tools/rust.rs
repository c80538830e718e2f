//! For cargo itself: the standard library of other targets, and the runner of tests in Node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::install::{on_path, once, run, step, tools_dir};
use crate::workspace;

/// Modules for Envoy, and tests in Node. The module needs nothing of WASI, whose C library would double the allocator's
/// size.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";
/// What the shipped exporter is built for: it runs in any container of this architecture.
#[cfg(target_arch = "x86_64")]
pub const MUSL_TARGET: &str = "x86_64-unknown-linux-musl";
/// What the shipped exporter is built for: it runs in any container of this architecture.
#[cfg(target_arch = "aarch64")]
pub const MUSL_TARGET: &str = "aarch64-unknown-linux-musl";

/// Makes sure that cargo can build for these targets.
pub fn targets(wanted: &[&str]) -> Result<()> {
    let sysroot = run(Command::new("rustc").args(["--print", "sysroot"]), "install Rust by rustup")?;
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    for target in wanted.iter().filter(|target| !rustlib.join(target).join("lib").is_dir()) {
        let advice = "without rustup, install this target's standard library as you installed Rust";
        let what = format!("Rust's standard library for {target}");
        step(&what, Command::new("rustup").args(["target", "add", target]), advice)?;
    }
    Ok(())
}

/// `wasm-bindgen-test-runner` at the version of `wasm-bindgen` in the lock file: the two must be the same.
pub fn wasm_bindgen_test_runner() -> Result<PathBuf> {
    if on_path("node").is_none() {
        bail!("node is not there; on Debian: apt-get install nodejs");
    }
    let version = locked_version("wasm-bindgen")?;
    let dir = once("wasm-bindgen-cli", &version, |dir| {
        let build = tools_dir().join("wasm-bindgen-cli-build");
        let what = format!("wasm-bindgen-cli {version}");
        eprintln!("the next step compiles for some minutes");
        // Not --locked: the lock file that the package brings names a pre-release that is no longer to be had.
        let mut command = Command::new("cargo");
        command.args(["install", "--quiet", "wasm-bindgen-cli", "--version", &version]);
        command.args(["--bin", "wasm-bindgen-test-runner"]);
        command.arg("--root").arg(dir).arg("--target-dir").arg(&build).current_dir(workspace::root());
        step(&what, &mut command, "is crates.io reachable?")?;
        fs::remove_dir_all(build).context("cannot remove the build folder of wasm-bindgen-cli")
    })?;
    Ok(dir.join("bin/wasm-bindgen-test-runner"))
}

fn locked_version(package: &str) -> Result<String> {
    let path = workspace::root().join("Cargo.lock");
    let lock = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    lock.split_once(&format!("name = \"{package}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(version, _)| version.to_owned())
        .with_context(|| format!("{} does not mention {package}", path.display()))
}
