//! `cargo xtask bench filter`: the CPU time that Envoy spends on a call, with nothing, with Scoretap, and with what
//! people would use in its place.
//!
//! All variants are measured in turns: each epoch starts one Envoy for each variant, and each round measures every one of
//! them. The tables show medians over all rounds, with the quartiles. An absolute figure depends on the machine and on its
//! other load; ratios within one run depend on them less.

mod bodies;
mod kind;
mod load;
mod memory;
mod plot;
mod process;
mod report;
mod samples;
mod setups;
mod variant;

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use scoretap_tests::apps::Broken;
use scoretap_tests::stack::Stack;
use scoretap_tests::tools::{self, EnvoyVersion};
use scoretap_tests::workspace;

pub(super) use memory::{Args as MemoryArgs, run as run_memory};

use super::sections;
use kind::{Kind, Path};
use process::Threads;
use samples::{Cell, Sample, Samples};
use variant::Variant;

/// `--write` replaces the plot, and sections of two documents.
const PLOT: &str = "docs/cost.svg";
const TABLES: &str = "docs/cost.md";

/// The Envoy that calls are timed on. Its stats logger needs 1.37.
const ENVOY: EnvoyVersion = EnvoyVersion::Newest;

/// Envoy has a core to itself where it has one worker; callers and app are on the other.
const ENVOY_CORE: u32 = 0;
const OTHER_CORE: u32 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each Envoy is started
    #[arg(long, value_name = "N", default_value_t = 3)]
    epochs: usize,
    /// How often each Envoy is measured after each start
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: usize,
    /// Calls for one figure
    #[arg(long, value_name = "N", default_value_t = 2048)]
    calls: usize,
    /// Only POST of 1 KB with one worker: leaves the table of all calls as it is
    #[arg(long)]
    quick: bool,
    /// Measure Insight on bodies of answers instead
    #[arg(long, conflicts_with = "quick")]
    bodies: bool,
    /// Write the tables in docs/cost.md, and docs/cost.svg
    #[arg(long)]
    write: bool,
}

impl Args {
    /// The command that repeats this run.
    fn command(&self) -> String {
        let Self { epochs, rounds, calls, quick, bodies, .. } = self;
        let only = match (quick, bodies) {
            (true, _) => " --quick",
            (false, true) => " --bodies",
            (false, false) => "",
        };
        format!(
            "`cargo xtask bench filter{only} --epochs {epochs} --rounds {rounds} --calls {calls} --write`"
        )
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.bodies {
        return bodies::run(args);
    }
    tools::envoy(ENVOY)?;
    tools::python()?;
    variant::build()?;
    let app = Broken::start()?;
    let mut samples = Samples::default();
    for epoch in 0..args.epochs {
        for workers in if args.quick { 1..=1 } else { 1..=2 } {
            eprintln!("epoch {} of {}, workers: {workers}", epoch + 1, args.epochs);
            measure(args, epoch, workers, app.address, &mut samples)?;
        }
    }
    let setups = setups::measure(args.epochs * args.rounds, args.calls / 8)?;
    let measured_by = format!("Measured by {}.\n\n", args.command());
    let section = |text: String| format!("{measured_by}{text}");
    let cost = section(report::main_table(&samples)?);
    let targets = section(report::targets(&samples)?);
    let setups = section(setups::table(&setups)?);
    let cells = section(report::all_cells(&samples)?);
    println!("{cost}\n{targets}\n{setups}\n{cells}");
    if args.write {
        sections::write(TABLES, "cost", &cost)?;
        sections::write(TABLES, "targets", &targets)?;
        sections::write(TABLES, "setups", &setups)?;
        if !args.quick {
            sections::write(TABLES, "cells", &cells)?;
        }
        fs::write(workspace::root().join(PLOT), plot::svg(&samples)).context(PLOT)?;
    }
    Ok(())
}

const WARM_UP: usize = 5_000;

struct Running {
    variant: Variant,
    stack: Stack,
    pid: u32,
}

fn measure(args: &Args, epoch: usize, workers: u32, app: SocketAddr, samples: &mut Samples) -> Result<()> {
    let envoys = Variant::ALL.into_iter().map(|variant| start(variant, app, workers));
    let envoys = envoys.collect::<Result<Vec<_>>>()?;
    let kinds: &[Kind] = if args.quick { &[Kind::Post1K] } else { &Kind::ALL };
    for envoy in &envoys {
        // V8 compiles the module once at start, and again, better, what is called often.
        for path in Path::ALL {
            load::run(envoy.stack.address, &Kind::Post1K.request(path), callers(workers), WARM_UP)?;
        }
    }
    for round in 0..args.rounds {
        for kind in kinds.iter().copied() {
            for path in Path::ALL {
                let cell = Cell { workers, kind, path };
                for envoy in &envoys {
                    let sample = sample(envoy, cell, args.calls)
                        .with_context(|| format!("{}, {}", envoy.variant.title(), kind.title()))?;
                    samples.add(envoy.variant, cell, (epoch, round), sample);
                }
            }
        }
    }
    Ok(())
}

fn start(variant: Variant, app: SocketAddr, workers: u32) -> Result<Running> {
    let stack = variant.start(&format!("bench-{variant:?}-{workers}"), ENVOY, app, workers)?;
    let pid = stack.envoy_pid().context("Envoy is gone")?;
    if workers == 1 {
        process::pin(pid, ENVOY_CORE)?;
        process::pin(std::process::id(), OTHER_CORE)?;
    } else {
        process::unpin(pid)?;
        process::unpin(std::process::id())?;
    }
    Ok(Running { variant, stack, pid })
}

/// Enough that a worker always has a call to work on: a wake-up costs more than a variant does, and how often one is
/// needed depends on the machine's other load.
const fn callers(workers: u32) -> usize {
    64 * workers as usize
}

fn sample(envoy: &Running, cell: Cell, calls: usize) -> Result<Sample> {
    let request = cell.kind.request(cell.path);
    let before = process::cpu_time(envoy.pid, Threads::EnvoyWorkers)?;
    load::run(envoy.stack.address, &request, callers(cell.workers), calls)?;
    let spent = process::cpu_time(envoy.pid, Threads::EnvoyWorkers)? - before;
    // Latency is measured with one caller, so that no call waits for another.
    let took = load::run(envoy.stack.address, &request, 1, calls / 8)?;
    Ok(Sample::new(spent / u32::try_from(calls)?, took))
}
