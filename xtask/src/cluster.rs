//! The stages `cluster` and `cluster-full`: a real Kubernetes from plain processes, in namespaces of its own.

use std::path::Path;

use anyhow::{Result, ensure};
use scoretap_tests::tools::{self, EnvoyVersion, Tier};

use crate::package;
use crate::run::{cargo, visibly};
use crate::test::{Outcome, with_prometheus_3};

/// The module of the tests that run on request only.
pub(crate) const FULL: &str = "full::";

/// Runs the tests whose programs exist or can be built in minutes.
pub(crate) fn core(tests: &[String]) -> Result<Outcome> {
    if let Some(missing) = cannot_build(Tier::Core)? {
        return Ok(Outcome::NotRun(missing));
    }
    prepare(Tier::Core)?;
    match tools::missing_cluster_program(Tier::Full)? {
        None => run(tests, &[]),
        Some(missing) => {
            run(tests, &["--skip", FULL])?;
            let why = format!("the tests with prometheus-operator, Prometheus and istiod, because {missing}");
            Ok(Outcome::NotRun(format!("{why}: `cargo xtask test cluster-full` builds them; all others ran")))
        }
    }
}

/// Builds the full tier too, which takes half an hour the first time, and runs the tests that need it.
pub(crate) fn full(tests: &[String]) -> Result<Outcome> {
    for tier in [Tier::Core, Tier::Full] {
        if let Some(missing) = cannot_build(tier)? {
            return Ok(Outcome::NotRun(missing));
        }
        prepare(tier)?;
    }
    if !tests.is_empty() {
        return run(tests, &[]);
    }
    with_prometheus_3()?;
    run(&[FULL.to_owned()], &[])
}

/// Why programs of this tier are missing and cannot be built. Fails on a CI system.
fn cannot_build(tier: Tier) -> Result<Option<String>> {
    let missing = tools::missing_cluster_program(tier)?.filter(|_| !tools::can_build_cluster_programs());
    let missing =
        missing.map(|missing| format!("all tests on a cluster, because {missing} and go is not on PATH"));
    let on_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    match missing {
        Some(missing) if on_ci => anyhow::bail!("{missing}"),
        missing => Ok(missing),
    }
}

/// Builds what pods run, so that it matches the tree. Downloads the rest, because the namespaces have no internet
/// access.
fn prepare(tier: Tier) -> Result<()> {
    package::build_if_stale()?;
    tools::envoy(EnvoyVersion::Newest)?;
    tools::custom_resource_definitions()?;
    tools::cluster_programs(tier)
}

fn run(tests: &[String], more: &[&str]) -> Result<Outcome> {
    let runner = runner();
    ensure!(
        runs(&runner),
        "`{}` fails: tests on a cluster need network namespaces (util-linux, and user namespaces or root)",
        runner.join(" ")
    );
    let config = format!("target.'cfg(unix)'.runner = {runner:?}");
    let mut command = cargo(&["test", "--package", "scoretap-tests", "--test", "cluster"]);
    // The tests mostly wait, so more threads than cores are faster.
    command.args(["--config", &config, "--", "--test-threads", "8"]).args(tests).args(more);
    visibly(&mut command)?;
    Ok(Outcome::Ran)
}

/// When the process ends, the kernel kills everything that it started and removes its networks and mounts.
fn runner() -> Vec<&'static str> {
    let mut words =
        vec!["unshare", "--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !tools::is_root() {
        words.push("--map-root-user");
    }
    words
}

fn runs(runner: &[&str]) -> bool {
    let mut command = std::process::Command::new(runner[0]);
    command.args(&runner[1..]).arg(Path::new("true"));
    command.output().is_ok_and(|output| output.status.success())
}
