//! `cargo xtask test`: the checks that a change has to pass, mostly in order of speed.

use std::time::Instant;

use anyhow::{Result, bail};
use scoretap_tests::tools::{self, EnvoyVersion};

use crate::cluster::FULL;
use crate::run::{cargo, visibly};
use crate::{cluster, fuzz, generate, package};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run these stages alone
    #[arg(value_name = "STAGE", value_parser = clap::builder::PossibleValuesParser::new(names()))]
    stages: Vec<String>,
    /// In `servers-full` and the stages on clusters, run only the tests with these names
    #[arg(last = true, value_name = "TEST")]
    tests: Vec<String>,
}

/// The seed of random inputs, so that a change is tested with the same inputs each time. `cargo test` draws others.
pub(crate) const SEED: &str = "1";

/// The module of the tests that need Prometheus 3, which the stage `cluster-full` builds.
const CREATED: &str = "created::";
/// The tests of rules and dashboards that run on each Prometheus that is there.
const HAVE_DATA: &str = "have_data";

/// The result of a stage that did not fail.
pub(crate) enum Outcome {
    Ran,
    /// The stage, or a part of it, did not run for this reason.
    NotRun(String),
}

struct Stage {
    name: &'static str,
    /// Takes the names of the tests to run. Empty means all.
    run: fn(&[String]) -> Result<Outcome>,
}

const STAGES: [Stage; 16] = [
    Stage { name: "tools", run: |_| whole(install) },
    Stage { name: "format", run: |_| whole(|| visibly(&mut cargo(&["fmt", "--all", "--check"]))) },
    Stage { name: "clippy", run: |_| whole(clippy) },
    Stage { name: "native", run: |_| whole(native) },
    Stage { name: "portable", run: |_| whole(portable) },
    Stage { name: "node", run: |_| whole(node) },
    Stage { name: "package", run: |_| whole(package::build_if_stale) },
    Stage { name: REPRODUCE, run: |_| whole(reproduce) },
    Stage { name: "envoy", run: |_| envoy() },
    Stage { name: "servers", run: |_| whole(servers) },
    Stage { name: SERVERS_FULL, run: servers_full },
    Stage { name: "cluster", run: cluster::core },
    Stage { name: CLUSTER_FULL, run: cluster::full },
    // The stage `cluster` has built Helm.
    Stage { name: "generated", run: |_| generated() },
    Stage { name: "fuzz", run: |_| fuzz::check() },
    Stage { name: "demo", run: |_| whole(crate::demo::check) },
];

/// Builds for half an hour the first time, so it runs on request only. Once that is built, `cluster` runs its tests
/// too.
const CLUSTER_FULL: &str = "cluster-full";
/// Installs gigabytes, so it runs on request only.
const SERVERS_FULL: &str = "servers-full";
/// Builds all that is shipped a second time, so it runs on request only.
const REPRODUCE: &str = "reproduce";
/// The stages that run on request only.
const ON_REQUEST: [&str; 3] = [CLUSTER_FULL, SERVERS_FULL, REPRODUCE];

pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |stage: &&Stage| {
        let by_default = args.stages.is_empty() && !ON_REQUEST.contains(&stage.name);
        by_default || args.stages.iter().any(|name| name == stage.name)
    };
    let mut done = Vec::new();
    for stage in STAGES.iter().filter(wanted) {
        println!("\n=== {}", stage.name);
        let start = Instant::now();
        let result = (stage.run)(&args.tests);
        let seconds = start.elapsed().as_secs_f64();
        let line = match result {
            Ok(Outcome::Ran) => format!("{}: ok, {seconds:.1} s", stage.name),
            Ok(Outcome::NotRun(what)) => format!("{}: NOT RUN: {what}; {seconds:.1} s", stage.name),
            Err(error) => {
                println!("=== {} FAILED after {seconds:.1} s", stage.name);
                bail!("{error:#}\n\n{}\n{}: failed", done.join("\n"), stage.name);
            }
        };
        println!("=== {line}");
        done.push(line);
    }
    println!("\n{}", done.join("\n"));
    Ok(())
}

/// A stage that runs completely on every machine.
fn whole(stage: fn() -> Result<()>) -> Result<Outcome> {
    stage().map(|()| Outcome::Ran)
}

fn names() -> [&'static str; STAGES.len()] {
    STAGES.map(|stage| stage.name)
}

/// Downloads all tools first, so that later stages do not wait for downloads.
fn install() -> Result<()> {
    tools::targets(&[tools::WASM_TARGET, tools::MUSL_TARGET])?;
    for version in EnvoyVersion::ALL {
        tools::envoy(version)?;
    }
    tools::python()?;
    tools::llm_python()?;
    tools::servers_python()?;
    tools::libraries_python()?;
    tools::promtool()?;
    tools::shellcheck()?;
    tools::check_jsonschema()?;
    tools::actionlint()?;
    tools::buildah()?;
    tools::cyclonedx()?;
    tools::docker_compose()?;
    tools::alertmanager()?;
    tools::wasm_bindgen_test_runner()?;
    tools::mdbook()?;
    tools::chromium()?;
    if tools::can_build_cluster_programs() {
        tools::textparse()?;
    }
    Ok(())
}

fn clippy() -> Result<()> {
    visibly(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // `--all-targets` does not include them, because a plain `cargo test` leaves them out.
    let left_out = ["--test", "cluster", "--test", "servers"];
    let options = ["--", "-D", "warnings"];
    visibly(&mut cargo(&[&["clippy", "-p", "scoretap-tests"], &left_out[..], &options[..]].concat()))?;
    // The modules' code compiles only for its own target.
    let modules =
        ["--package", "scoretap-filter", "--package", "scoretap-host", "--package", "scoretap-insight"];
    let options = ["--all-features", "--target", tools::WASM_TARGET, "--", "-D", "warnings"];
    visibly(&mut cargo(&[&["clippy"], &modules[..], &options[..]].concat()))
}

fn native() -> Result<()> {
    let packages = [
        "scoretap-core",
        "scoretap-scan",
        "scoretap-dialect",
        "scoretap-exporter",
        "scoretap-web",
        "scoretap-injector",
        "scoretap-cli",
        "xtask",
    ];
    let mut command = cargo(&["test"]);
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    visibly(command.env("PROPTEST_RNG_SEED", SEED))
}

/// Checks that `scoretap` compiles for the platforms of its users. No dependency needs a C compiler.
fn portable() -> Result<()> {
    const TARGETS: [&str; 3] = ["aarch64-apple-darwin", "x86_64-apple-darwin", "x86_64-pc-windows-gnu"];
    tools::targets(&TARGETS)?;
    let check = |target: &&str| {
        visibly(&mut cargo(&["check", "--locked", "--package", "scoretap-cli", "--target", target]))
    };
    TARGETS.iter().try_for_each(check)
}

fn reproduce() -> Result<()> {
    package::build_if_stale()?;
    package::reproduce()
}

/// Runs the core's own tests again, as WebAssembly.
fn node() -> Result<()> {
    let mut command = cargo(&["test", "--package", "scoretap-core", "--target", tools::WASM_TARGET]);
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", tools::wasm_bindgen_test_runner()?);
    visibly(&mut command)
}

/// Runs the tests that need Envoy, Prometheus and other real programs. Skips those that need kubectl or helm if these
/// are missing.
fn envoy() -> Result<Outcome> {
    package::build_if_stale()?;
    let mut command = cargo(&["test", "--package", "scoretap-tests", "--"]);
    let mut not_run = Vec::new();
    if let Err(missing) = tools::kubectl() {
        command.args(["--skip", "patches::"]);
        not_run.push(format!("the tests of Istio's patches, as {missing:#}"));
    }
    if let Err(missing) = tools::helm() {
        command.args(["--skip", "helm::"]);
        not_run.push(format!("the tests of the chart without a cluster, as {missing:#}"));
    }
    if let Err(missing) = tools::cluster_program("prometheus") {
        command.args(["--skip", CREATED]);
        not_run.push(format!(
            "the test of created timestamps, and Prometheus 3 in the tests of rules and dashboards, as {missing:#}"
        ));
    }
    if !tools::can_build_cluster_programs() {
        command.args(["--skip", "textparse::"]);
        not_run.push("the tests with Prometheus' parsers, as go is not on PATH".to_owned());
    }
    if !tools::can_be_root() {
        command.args(["--skip", "images::"]);
        not_run.push(
            "the tests of images, as only root may build them where there are no user namespaces".to_owned(),
        );
    }
    visibly(&mut command)?;
    if not_run.is_empty() {
        return Ok(Outcome::Ran);
    }
    Ok(Outcome::NotRun(format!("{}; all others ran", not_run.join("; "))))
}

/// Runs the tests with model servers and clients that others wrote, and the demo of an LLM.
fn servers() -> Result<()> {
    package::build_if_stale()?;
    visibly(&mut cargo(&["test", "--package", "scoretap-tests", "--test", "servers", "--", "--skip", FULL]))?;
    crate::demo::check_llm()
}

/// Runs the tests with model servers that need an environment of their own.
fn servers_full(tests: &[String]) -> Result<Outcome> {
    package::build_if_stale()?;
    let mut command = cargo(&["test", "--package", "scoretap-tests", "--test", "servers", "--"]);
    // One server at a time, as some take a gigabyte of memory.
    command.args(["--test-threads", "1"]);
    if tests.is_empty() {
        command.arg(FULL);
    }
    visibly(command.args(tests))?;
    Ok(Outcome::Ran)
}

/// Runs the tests that need Prometheus 3.
pub(crate) fn with_prometheus_3() -> Result<()> {
    for (test, names) in [("exporter", CREATED), ("monitoring", HAVE_DATA)] {
        visibly(&mut cargo(&["test", "--package", "scoretap-tests", "--test", test, "--", names]))?;
    }
    Ok(())
}

/// Checks that the generated files are up to date.
fn generated() -> Result<Outcome> {
    if let Err(missing) = tools::helm() {
        return Ok(Outcome::NotRun(format!("the comparison of generated files, as {missing:#}")));
    }
    package::build_if_stale()?;
    generate::check()?;
    Ok(Outcome::Ran)
}
