//! The fuzz targets of `fuzz/`, by libFuzzer from the committed corpus.
//!
//! Built with the flags that `cargo fuzz` would pass, but for the sanitizers: those need a nightly toolchain, and code
//! without `unsafe` has little for them to find.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use scoretap_tests::workspace;

use crate::run::{cargo, output, visibly};
use crate::test::{Outcome, SEED};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long, all targets together
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: usize,
}

const NO_COMPILER: &str = "there is no C++ compiler; install g++";

const INSTRUMENTATION: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Searches by chance, and goes on from what earlier searches came to.
pub(crate) fn search(args: &Args) -> Result<()> {
    ensure!(has_compiler(), NO_COMPILER);
    let targets = build()?;
    let limit = format!("-max_total_time={}", 60 * args.minutes / targets.len());
    targets.iter().try_for_each(|target| target.fuzz("searched", &[&limit]))
}

/// Tries the same inputs each time: a change is judged by what it does, not by what chance finds that day.
pub(crate) fn check() -> Result<Outcome> {
    if !has_compiler() {
        return Ok(Outcome::NotRun(NO_COMPILER.to_owned()));
    }
    let seed = format!("-seed={SEED}");
    for target in build()? {
        let _ = fs::remove_dir_all(target.folder("checked"));
        target.fuzz("checked", &["-runs=100000", &seed])?;
    }
    Ok(Outcome::Ran)
}

/// libFuzzer comes as its sources.
fn has_compiler() -> bool {
    Command::new("c++").arg("--version").output().is_ok()
}

struct Target {
    program: PathBuf,
    corpus: PathBuf,
    target_dir: PathBuf,
}

fn build() -> Result<Vec<Target>> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let target_dir = workspace::target().join("fuzz");
    // With a target named, the flags are not for build scripts.
    let mut build =
        cargo(&["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", host]);
    build.current_dir(workspace::root()).env("CARGO_TARGET_DIR", &target_dir);
    build.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"));
    visibly(&mut build)?;
    let corpora = fs::read_dir(workspace::root().join("fuzz/corpus"))?;
    let target = |corpus: fs::DirEntry| Target {
        program: target_dir.join(host).join("release").join(corpus.file_name()),
        corpus: corpus.path(),
        target_dir: target_dir.clone(),
    };
    Ok(corpora.map(|corpus| corpus.map(target)).collect::<Result<_, _>>()?)
}

impl Target {
    /// Runs it. What is new in coverage goes into a folder of that name; the committed corpus stays as it is.
    fn fuzz(&self, found: &str, args: &[&str]) -> Result<()> {
        let found = self.folder(found);
        fs::create_dir_all(&found)?;
        let mut fuzz = Command::new(&self.program);
        // An input that breaks a law is written where it runs.
        fuzz.args([&found, &self.corpus]).args(args).current_dir(&self.target_dir);
        visibly(fuzz.args(["-timeout=5", "-verbosity=0", "-print_final_stats=1"]))
    }

    fn folder(&self, found: &str) -> PathBuf {
        self.target_dir.join(found).join(self.corpus.file_name().unwrap_or_default())
    }
}
