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
/// The target of the shipped programs, which run in any container of this architecture.
#[cfg(target_arch = "x86_64")]
pub const MUSL_TARGET: &str = "x86_64-unknown-linux-musl";
/// The target of the shipped programs, which run in any container of this architecture.
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
    // Not --locked: the package's lock file names a pre-release that was withdrawn.
    let dir = cargo_install("wasm-bindgen-cli", &version, &["--bin", "wasm-bindgen-test-runner"])?;
    Ok(dir.join("bin/wasm-bindgen-test-runner"))
}

/// `mdbook`, without its server and its search.
pub fn mdbook() -> Result<PathBuf> {
    // Unoptimized, because it renders a few pages and compiles three times faster.
    let flags = ["--no-default-features", "--locked", "--debug"];
    let dir = cargo_install("mdbook", "0.5.4", &flags)?;
    Ok(dir.join("bin/mdbook"))
}

/// Compiles a package from crates.io once, and returns the folder that has its `bin`.
fn cargo_install(package: &str, version: &str, flags: &[&str]) -> Result<PathBuf> {
    once(package, version, |dir| {
        let build = tools_dir().join(format!("{package}-build"));
        eprintln!("the next step compiles for some minutes");
        let mut command = Command::new("cargo");
        command.args(["install", "--quiet", package, "--version", version]).args(flags);
        command.arg("--root").arg(dir).arg("--target-dir").arg(&build).current_dir(workspace::root());
        step(&format!("{package} {version}"), &mut command, "is crates.io reachable?")?;
        fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
    })
}

fn locked_version(package: &str) -> Result<String> {
    let path = workspace::root().join("Cargo.lock");
    let lock = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    lock.split_once(&format!("name = \"{package}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(version, _)| version.to_owned())
        .with_context(|| format!("{} does not mention {package}", path.display()))
}
