//! The fuzz targets of `fuzz/`, each for a few seconds from the committed corpus.
//!
//! Built with the flags that `cargo fuzz` would pass, but for the sanitizers: those need a nightly toolchain, and code
//! without `unsafe` has little for them to find.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use scoretap_tests::workspace;

use crate::run::{cargo, output, visibly};

const SECONDS_EACH: u32 = 8;
const INSTRUMENTATION: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// libFuzzer comes as its sources.
pub(crate) fn without_compiler() -> Option<String> {
    let missing = Command::new("c++").arg("--version").output().is_err();
    missing.then(|| "NOT RUN: the fuzz targets, as there is no C++ compiler: install g++".to_owned())
}

pub(crate) fn run() -> Result<()> {
    if let Some(missing) = without_compiler() {
        println!("{missing}");
        return Ok(());
    }
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let target_dir = workspace::target().join("fuzz");
    // With a target named, the flags are not for build scripts.
    let mut build =
        cargo(&["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", host]);
    build.current_dir(workspace::root()).env("CARGO_TARGET_DIR", &target_dir);
    build.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"));
    visibly(&mut build)?;
    for corpus in fs::read_dir(workspace::root().join("fuzz/corpus"))? {
        let name = corpus?.file_name();
        let found = target_dir.join("found").join(&name);
        fs::create_dir_all(&found)?;
        let mut fuzz = Command::new(target_dir.join(host).join("release").join(&name));
        // What is new goes into the first folder; the committed corpus stays as it is.
        fuzz.arg(&found).arg(workspace::root().join("fuzz/corpus").join(&name)).current_dir(&target_dir);
        fuzz.args([
            &format!("-max_total_time={SECONDS_EACH}"),
            "-timeout=5",
            "-verbosity=0",
            "-print_final_stats=1",
        ]);
        visibly(&mut fuzz)?;
    }
    Ok(())
}
