//! `scoretap dialect`: makes a dialect from the dashboards and alerts of a team, and checks it.
//!
//! The stages: [`sources`] finds queries, [`variables`] and [`query`] understand them, `plan` decides which family
//! fills each of them, and [`report`] shows the verdicts.

#[expect(dead_code, reason = "the plan follows")]
mod check;
mod judge;
mod labels;
mod map;
mod measure;
#[expect(dead_code, reason = "the plan follows")]
pub(crate) mod model;
mod plan;
mod query;
mod report;
mod sources;
mod variables;
mod write;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::text::clean;
use crate::{Status, usage};
use report::Report;
use write::Earlier;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a dialect from dashboards, rules and expositions
    #[command(after_help = MAKE_HELP)]
    Make(Make),
}

const MAKE_HELP: &str = "\
Reads Grafana dashboards (classic and schema v2), library panels, rule files, PrometheusRules, ConfigMaps, KEDA and
HPA queries, and what the app's /metrics printed. Changes none of them.

The exporter serves the dialect with --dialect-file. A second run with the same --output keeps your edits.

Exit status:
  0  the dialect was made
  1  an input could not be read (the others were), or, with --strict, a query stays empty
  2  wrong usage";

#[derive(Debug, clap::Args)]
struct Make {
    /// Dashboards, rule files, Kubernetes objects and expositions: files, folders, or - for standard input
    #[arg(value_name = "FROM", required = true)]
    from: Vec<PathBuf>,
    /// Name of the dialect
    #[arg(long)]
    name: String,
    /// Where to write the dialect [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where to write the report, query by query, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Fail if a query stays empty
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    // Long expressions are deep trees, and walking these takes stack.
    const STACK: usize = 256 * 1024 * 1024;
    std::thread::scope(|scope| {
        let work = || match &args.command {
            Command::Make(args) => make(args),
        };
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.context("cannot start a thread")?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn make(args: &Make) -> Result<Status> {
    if !scoretap_dialect::names::is_word(&args.name) {
        return Err(usage(format!(
            "--name {:?}: write letters, digits and \"_\", not starting with a digit",
            args.name
        )));
    }
    let input = sources::read(&args.from);
    for fault in &input.faults {
        eprintln!("error: {}", clean(fault));
    }
    let earlier = args.output.as_deref().map(earlier).transpose()?.flatten();
    let plan = plan::plan(&input, &args.name, earlier.as_ref());
    let text = write::write(&plan, &args.name, earlier.as_ref());
    match &args.output {
        Some(file) => fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?,
        None => print!("{text}"),
    }
    let report = Report::new(&args.name, &input, &plan);
    if let Some(file) = &args.report {
        let text = serde_json::to_string_pretty(&report.json())? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    // The dialect is the output, if it has no file.
    if args.output.is_some() {
        print!("{}", report.table());
    } else {
        eprint!("{}", report.table());
    }
    let is_strict_fault = args.strict && report.has_empty();
    Ok(if input.faults.is_empty() && !is_strict_fault { Status::Well } else { Status::Findings })
}

/// The earlier version of the dialect, whose edits are kept.
fn earlier(file: &Path) -> Result<Option<Earlier>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let earlier = Earlier::parse(&file.display().to_string(), &text);
    let keep = "correct it, or move it away to start again";
    earlier.map(Some).map_err(|faults| anyhow::anyhow!("{}\n{keep}", faults.join("\n")))
}
