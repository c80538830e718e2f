//! `cargo xtask bench memory`: Envoy's memory as an operator sees it, with and without the module, on both Envoys.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use scoretap_tests::apps::Broken;
use scoretap_tests::child;
use scoretap_tests::tools::{self, EnvoyVersion};

use super::kind::{Kind, Path};
use super::variant::{self, Variant};
use super::{TABLES, load};
use crate::bench::sections;

const WORKERS: u32 = 2;
const CALLERS: usize = 64;

/// The one without comes first: the others are compared with it.
const VARIANTS: [Variant; 6] = [
    Variant::Nothing,
    Variant::NoOpLogger,
    Variant::Logger,
    Variant::Filter,
    Variant::LuaSameJob,
    Variant::StatsLogger,
];

#[derive(Debug, clap::Args)]
pub(in crate::bench) struct Args {
    /// Calls before the first reading; the second comes after ten times as many
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    calls: usize,
    /// Write the table in docs/cost.md
    #[arg(long)]
    write: bool,
}

/// A process' memory, in kilobytes.
#[derive(Clone, Copy, Debug)]
struct Reading {
    resident: u64,
    anonymous: u64,
}

pub(in crate::bench) fn run(args: &Args) -> Result<()> {
    variant::build()?;
    let app = Broken::start()?;
    let mut table = head(args.calls)?;
    for envoy in EnvoyVersion::ALL {
        tools::envoy(envoy)?;
        let mut without = None;
        for variant in VARIANTS.into_iter().filter(|variant| variant.runs_on(envoy)) {
            eprintln!("Envoy {}: {}", envoy.as_str(), variant.title());
            let [early, late] = measure(variant, envoy, app.address, args.calls)?;
            let added = early.anonymous.saturating_sub(*without.get_or_insert(early.anonymous));
            writeln!(
                table,
                "| {} | {} | {} | {} | {} | {} | {} |",
                envoy.as_str(),
                variant.title(),
                megabytes(early.resident),
                megabytes(early.anonymous),
                megabytes(added),
                megabytes(late.resident),
                megabytes(late.anonymous)
            )?;
        }
    }
    println!("{table}");
    if args.write {
        sections::write(TABLES, "memory", &table)?;
    }
    Ok(())
}

fn head(calls: usize) -> Result<String> {
    let mut out = String::new();
    writeln!(out, "Measured by `cargo xtask bench memory --calls {calls} --write`.\n")?;
    writeln!(
        out,
        "Memory of an Envoy with {WORKERS} workers in MB (`VmRSS` and `RssAnon` in `/proc/PID/status`) after {calls} \
         calls, and after {} calls. \"Added\" is anonymous memory beyond that of nothing.\n",
        calls * 10
    )?;
    writeln!(out, "| Envoy | in Envoy | resident | anonymous | added | resident later | anonymous later |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    Ok(out)
}

fn measure(variant: Variant, envoy: EnvoyVersion, app: SocketAddr, calls: usize) -> Result<[Reading; 2]> {
    let name = format!("bench-memory-{variant:?}-{}", envoy.as_str());
    let stack = variant.start(&name, envoy, app, WORKERS)?;
    let pid = stack.envoy_pid().context("Envoy is gone")?;
    let after = |calls| {
        load::run(stack.address, &Kind::Post1K.request(Path::Matched), CALLERS, calls)?;
        anyhow::Ok(Reading { resident: child::memory(pid)?, anonymous: child::anonymous_memory(pid)? })
    };
    Ok([after(calls)?, after(calls * 9)?])
}

fn megabytes(kilobytes: u64) -> String {
    format!("{:.1}", kilobytes as f64 / 1024.0)
}
