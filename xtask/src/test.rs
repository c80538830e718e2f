//! `cargo xtask test`: what has to hold before a change is accepted, the quickest checks first.

use std::time::Instant;

use anyhow::{Result, bail};
use scoretap_tests::tools::{self, EnvoyVersion};

use crate::run::{cargo, visibly};
use crate::{fuzz, package};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run these stages alone
    #[arg(value_name = "STAGE", value_parser = clap::builder::PossibleValuesParser::new(names()))]
    stages: Vec<String>,
}

struct Stage {
    name: &'static str,
    run: fn() -> Result<()>,
}

const STAGES: [Stage; 10] = [
    Stage { name: "tools", run: install },
    Stage { name: "format", run: || visibly(&mut cargo(&["fmt", "--all", "--check"])) },
    Stage { name: "clippy", run: clippy },
    Stage { name: "native", run: native },
    Stage { name: "node", run: node },
    Stage { name: "package", run: build },
    Stage { name: "reproduce", run: package::reproduce },
    Stage { name: "envoy", run: envoy },
    Stage { name: "fuzz", run: fuzz::run },
    Stage { name: "demo", run: crate::demo::check },
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |stage: &&Stage| args.stages.is_empty() || args.stages.iter().any(|name| name == stage.name);
    let mut done = Vec::new();
    for stage in STAGES.iter().filter(wanted) {
        println!("\n=== {}", stage.name);
        let start = Instant::now();
        let result = (stage.run)();
        let seconds = start.elapsed().as_secs_f64();
        if let Err(error) = result {
            println!("=== {} FAILED after {seconds:.1} s", stage.name);
            bail!("{error:#}\n\n{}{}: failed", summary(&done), stage.name);
        }
        println!("=== {} took {seconds:.1} s", stage.name);
        done.push((stage.name, seconds));
    }
    println!("\n{}", summary(&done));
    [without_kubectl(), fuzz::without_compiler()].iter().flatten().for_each(|missing| println!("{missing}"));
    Ok(())
}

fn summary(done: &[(&str, f64)]) -> String {
    done.iter().map(|(name, seconds)| format!("{name}: ok, {seconds:.1} s\n")).collect()
}

fn names() -> [&'static str; STAGES.len()] {
    STAGES.map(|stage| stage.name)
}

/// All at the beginning: who waits for a download wants to do it once.
fn install() -> Result<()> {
    tools::targets(&[tools::WASM_TARGET, tools::WASM_BINDGEN_TARGET, tools::MUSL_TARGET])?;
    for version in EnvoyVersion::ALL {
        tools::envoy(version)?;
    }
    tools::python()?;
    tools::promtool()?;
    tools::kubernetes_validate()?;
    tools::kubernetes_models()?;
    tools::shellcheck()?;
    tools::buildah()?;
    tools::alertmanager()?;
    tools::wasm_bindgen_test_runner()?;
    tools::chromium()?;
    Ok(())
}

fn clippy() -> Result<()> {
    visibly(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // The module's code exists for its own target alone.
    let module = ["clippy", "--package", "scoretap-filter", "--all-features", "--target", tools::WASM_TARGET];
    visibly(&mut cargo(&[&module[..], &["--", "-D", "warnings"]].concat()))
}

fn native() -> Result<()> {
    visibly(&mut cargo(&[
        "test",
        "--package",
        "scoretap-core",
        "--package",
        "scoretap-exporter",
        "--package",
        "scoretap-injector",
        "--package",
        "xtask",
    ]))
}

/// The core's own suite again, as WebAssembly.
fn node() -> Result<()> {
    let mut command = cargo(&["test", "--package", "scoretap-core", "--target", tools::WASM_BINDGEN_TARGET]);
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", tools::wasm_bindgen_test_runner()?);
    visibly(&mut command)
}

/// Everything that needs the real things. The overlays of `k8s/` are rendered by kubectl, which no package that is
/// installed here has.
fn envoy() -> Result<()> {
    let mut command = cargo(&["test", "--package", "scoretap-tests"]);
    if let Some(missing) = without_kubectl() {
        println!("{missing}");
        command.args(["--", "--skip", "overlays::"]);
    }
    visibly(&mut command)
}

fn without_kubectl() -> Option<String> {
    let error = tools::kubectl().err()?;
    Some(format!("NOT RUN: the tests of k8s/ overlays, as {error:#}"))
}

fn build() -> Result<()> {
    package::build()?;
    package::test_modules()
}
