//! `cargo xtask`: everything that is done with this workspace beside `cargo build`.

mod bench;
mod cluster;
mod demo;
mod fuzz;
mod generate;
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
    /// Writes the committed files that are made from others, such as k8s/rendered
    Generate(generate::Args),
    /// Does to the system, under load, what goes wrong in production
    Soak(soak::Args),
    /// Looks for inputs that break what must be true of all
    Fuzz(fuzz::Args),
    /// Measures what Scoretap costs
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Package(args) => package::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Fuzz(args) => fuzz::search(&args),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a command, up to the end of its line, of its code, or to a comment.
    fn commands(text: &str) -> impl Iterator<Item = Vec<&str>> {
        let lines = text.split("cargo xtask ").skip(1).filter_map(|rest| rest.split(['\n', '`', '#']).next());
        lines.map(|line| line.split_whitespace().collect())
    }

    #[test]
    fn documented_xtask_commands_parse() {
        let mut shown = 0;
        for document in scoretap_tests::workspace::documents() {
            for words in commands(&std::fs::read_to_string(&document).unwrap()) {
                let parsed = Cli::try_parse_from(["cargo xtask"].iter().chain(&words));
                assert!(parsed.is_ok(), "{}: {words:?}: {}", document.display(), parsed.unwrap_err());
                shown += 1;
            }
        }
        assert!(shown > 10, "{shown}");
    }
}
