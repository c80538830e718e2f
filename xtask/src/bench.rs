//! `cargo xtask bench`: what Scoretap costs. Figures, not tests: they are read by people, on a machine that is quiet.

mod filter;

use anyhow::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// What a call costs in Envoy: nothing, the module in both ways in, Lua, and a library inside the app
    Filter(filter::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Filter(args) => filter::run(args),
    }
}
