//! `cargo xtask`: everything that is done with this workspace beside `cargo build`.

mod bench;
mod demo;
mod fuzz;
mod package;
mod run;
mod soak;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything that is done with this workspace beside `cargo build`. What is missing is installed under target/tools.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows Scoretap at work: a real model server, Envoy, callers of all kinds, and a table of what was measured
    Demo(demo::Args),
    /// Checks everything, on real Envoys
    Test(test::Args),
    /// Builds what is shipped into target/dist
    Package(package::Args),
    /// Does to the system, under load, what goes wrong in production
    Soak(soak::Args),
    /// Measures what Scoretap costs
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Package(args) => package::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
