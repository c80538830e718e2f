//! `cargo xtask bench`: what Scoretap costs. Figures, not tests: they are read by people, on a machine that is quiet.

mod exporter;
mod filter;
mod sections;

use anyhow::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Measure the cost of a call: the module in both ways in, Envoy's Lua and stats logger, and a library inside the app
    Filter(filter::Args),
    /// How much memory Envoy has, with and without the module
    Memory(filter::MemoryArgs),
    /// Measure a scrape beside Envoy's own exposition of the same counters and a Python client's of the same series
    Exporter(exporter::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Filter(args) => filter::run(args),
        What::Memory(args) => filter::run_memory(args),
        What::Exporter(args) => exporter::run(args),
    }
}
