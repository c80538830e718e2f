//! `scoretap dialect`: makes a dialect from the dashboards and alerts of a team, and checks it.

#[expect(dead_code, reason = "the stages follow")]
pub(crate) mod model;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use crate::Status;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a dialect from dashboards, rules and expositions
    Make(Make),
}

#[derive(Debug, clap::Args)]
struct Make {
    /// Dashboards, rule files, Kubernetes objects and expositions: files, folders, or - for standard input
    #[arg(value_name = "FROM", required = true)]
    from: Vec<PathBuf>,
    /// Name of the dialect
    #[arg(long)]
    name: String,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let Command::Make(make) = &args.command;
    println!("{} from {:?}", make.name, make.from);
    Ok(Status::Well)
}
