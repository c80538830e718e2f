//! `cargo xtask bench filter`: the CPU time that Envoy spends on a call, with nothing, with Scoretap, and with what
//! people would use in its place.
//!
//! Everything is measured side by side: each epoch starts one Envoy for each variant, each round asks every one of them
//! in turn, and what is told are medians over all rounds, with the quartiles. A figure of one run means little on a
//! machine that others use too; a ratio within it means more.

mod flask;
mod kind;
mod load;
mod memory;
mod plot;
mod process;
mod report;
mod samples;
mod variant;

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use scoretap_tests::apps::Broken;
use scoretap_tests::child;
use scoretap_tests::stack::Stack;
use scoretap_tests::tools::{self, EnvoyVersion};
use scoretap_tests::workspace;

use kind::{Kind, Path};
use process::Threads;
use samples::{Cell, Sample, Samples};
use variant::Variant;

/// Where the README finds the plot and all tables. The first of them it has itself.
const PLOT: &str = "docs/cost.svg";
const TABLES: &str = "docs/cost.md";
const README: &str = "README.md";
const SECTION: &str = "<!-- generated: cost -->\n";
const END_OF_SECTION: &str = "<!-- /generated -->";

/// Envoy has a core to itself where it has one worker; callers and app are on the other.
const ENVOY_CORE: u32 = 0;
const OTHER_CORE: u32 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each Envoy is started anew
    #[arg(long, value_name = "N", default_value_t = 3)]
    epochs: usize,
    /// How often each Envoy is measured after each start
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: usize,
    /// Calls for one figure
    #[arg(long, value_name = "N", default_value_t = 2048)]
    calls: usize,
    /// Only POST of 1 KB with one worker
    #[arg(long)]
    quick: bool,
    /// Write the README's table, and docs/cost.md and docs/cost.svg
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    tools::envoy(EnvoyVersion::V1_40)?;
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
    if !args.quick {
        samples.apps = flask::measure(args.epochs * args.rounds / 2, args.calls / 8)?;
        samples.memory = memory::measure(app.address)?;
    }
    let (summary, details) = (report::summary(&samples)?, report::details(&samples)?);
    println!("{summary}\n{details}");
    if args.write {
        write(&samples, &summary, &details)?;
    }
    Ok(())
}

fn write(samples: &Samples, summary: &str, details: &str) -> Result<()> {
    let root = workspace::root();
    fs::create_dir_all(root.join("docs"))?;
    fs::write(root.join(TABLES), format!("{summary}\n{details}")).context(TABLES)?;
    fs::write(root.join(PLOT), plot::svg(samples)).context(PLOT)?;
    let readme = fs::read_to_string(root.join(README))?;
    let section = readme.split_once(SECTION).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END_OF_SECTION)?;
        Some(format!("{before}{SECTION}{summary}{END_OF_SECTION}{after}"))
    });
    fs::write(root.join(README), section.with_context(|| format!("{README} has no {SECTION}"))?)?;
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
        // V8 compiles twice: at once, and better what is called often.
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
    for envoy in &envoys {
        samples.resident.entry((envoy.variant, workers)).or_default().push(child::memory(envoy.pid)? as f64);
    }
    Ok(())
}

fn start(variant: Variant, app: SocketAddr, workers: u32) -> Result<Running> {
    let stack = variant.start(&format!("bench-{variant:?}-{workers}"), app, workers)?;
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

/// So many that a worker always has a call to work on: to be woken up costs more than what is to be measured, and how
/// often it is depends on what else the machine does.
const fn callers(workers: u32) -> usize {
    64 * workers as usize
}

fn sample(envoy: &Running, cell: Cell, calls: usize) -> Result<Sample> {
    let request = cell.kind.request(cell.path);
    let before = process::cpu_time(envoy.pid, Threads::EnvoyWorkers)?;
    load::run(envoy.stack.address, &request, callers(cell.workers), calls)?;
    let spent = process::cpu_time(envoy.pid, Threads::EnvoyWorkers)? - before;
    // How long a call takes is of interest where none waits for another.
    let took = load::run(envoy.stack.address, &request, 1, calls / 8)?;
    Ok(Sample::new(spent / u32::try_from(calls)?, took))
}
