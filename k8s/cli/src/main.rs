//! `scoretap`, also found as `kubectl scoretap`: install, check and watch Scoretap on a Kubernetes cluster.
//!
//! It talks to the cluster through kubectl and helm, with the caller's own rights, and needs nothing in the cluster.

#![forbid(unsafe_code)]
// `console` prints, because these macros panic when the reader is gone.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod baseline;
mod chart;
mod check;
mod console;
mod dialect;
mod forward;
mod inject;
mod install;
mod kubectl;
mod prometheus;
mod servers;
mod targets;
mod text;
mod top;
mod workload;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use kubectl::Cluster;

/// Installs, checks and watches Scoretap on a Kubernetes cluster, through kubectl and helm.
#[derive(Debug, Parser)]
#[command(name = "scoretap", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status:
  0  all is well
  1  something is wrong: findings, targets that are down, manifests that cannot be injected
  2  wrong usage
  3  the cluster could not be asked, or a file could not be read or written";

#[derive(Debug, Subcommand)]
enum Command {
    /// Install or upgrade Scoretap with helm and the chart that this program carries
    Install(install::Args),
    /// Remove what `install` made; running pods keep their sidecar until they are recreated
    Uninstall(install::UninstallArgs),
    /// Find what is wrong, and the command that fixes it
    Check(check::Args),
    /// Show calls per second, outcomes and latency of each model and version
    Top(top::Args),
    /// Show which sidecars Prometheus scrapes, and what it says about them
    Targets(targets::Args),
    /// Reach Grafana, Prometheus, Alertmanager or a pod's metrics from this machine
    PortForward(forward::Args),
    /// Print manifests with the sidecar in them
    Inject(inject::Args),
    /// Keep dashboards and alerts: make a dialect that serves the names that they ask for, and check it
    Dialect(dialect::Args),
    /// Compare predictions with those of a time when the model was right
    Baseline(baseline::Args),
}

/// How facts are printed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Output {
    /// Format of what is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

impl Output {
    pub(crate) fn is_json(self) -> bool {
        self.output == Format::Json
    }
}

/// The result of a command that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Well,
    Findings,
}

/// A usage error: exit status 2.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

pub(crate) fn usage(message: String) -> anyhow::Error {
    Usage(message).into()
}

fn main() -> ExitCode {
    match run(parse()) {
        Ok(Status::Well) => ExitCode::SUCCESS,
        Ok(Status::Findings) => ExitCode::from(1),
        Err(error) => {
            console::note(&format!("error: {}", text::clean(&format!("{error:#}"))));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 3 })
        }
    }
}

/// The command line. If it runs as kubectl's plugin, help and errors say `kubectl scoretap`.
fn parse() -> Cli {
    let program = std::env::args_os().next().unwrap_or_default();
    let is_plugin = Path::new(&program).file_stem().is_some_and(|name| name == "kubectl-scoretap");
    let command = if is_plugin { Cli::command().bin_name("kubectl scoretap") } else { Cli::command() };
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

fn run(cli: Cli) -> Result<Status> {
    let cluster = &cli.cluster;
    match cli.command {
        Command::Install(args) => install::run(cluster, &args),
        Command::Uninstall(args) => install::uninstall(cluster, &args),
        Command::Check(args) => check::run(cluster, &args),
        Command::Top(args) => top::run(cluster, &args),
        Command::Targets(args) => targets::run(cluster, &args),
        Command::PortForward(args) => forward::run(cluster, &args),
        Command::Inject(args) => inject::run(&args),
        Command::Dialect(args) => dialect::run(&args),
        Command::Baseline(args) => baseline::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The commands in a document: lines of examples, and code between backticks.
    fn commands(text: &str) -> impl Iterator<Item = Vec<&str>> {
        let examples = text.lines().filter_map(|line| {
            let line = line.trim_start_matches([' ', '>']);
            line.strip_prefix("$ ").unwrap_or(line).strip_prefix("scoretap ")
        });
        let inline = text.split("`scoretap ").skip(1).filter_map(|rest| rest.split('`').next());
        let is_command = |line: &&str| {
            let first = line.split_whitespace().next().unwrap_or_default();
            first.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };
        examples.chain(inline).filter(is_command).map(|line| {
            let end = line.find(['#', '|', '>', '<']).unwrap_or(line.len());
            line[..end].split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect()
        })
    }

    fn documents() -> Vec<std::path::PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (mut folders, mut found) =
            (vec![root.join("docs"), root.join("k8s")], vec![root.join("README.md")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "md") {
                    found.push(path);
                }
            }
        }
        found
    }

    #[test]
    fn documented_commands_parse() {
        let mut shown = 0;
        for document in documents() {
            let text = std::fs::read_to_string(&document).unwrap();
            for words in commands(&text) {
                if let Err(error) = Cli::try_parse_from(["scoretap"].iter().chain(&words)) {
                    // Prose mentions commands without their arguments.
                    let missing = [ErrorKind::MissingRequiredArgument, ErrorKind::InvalidValue];
                    let is_mention = words.len() <= 2 && missing.contains(&error.kind());
                    assert!(
                        error.exit_code() == 0 || is_mention,
                        "{}: {words:?}: {error}",
                        document.display()
                    );
                }
                shown += 1;
            }
        }
        assert!(shown > 0);
    }
}
