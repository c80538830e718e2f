//! `scoretap dialect`: makes a dialect from the dashboards and alerts of a team, and checks it.
//!
//! The stages: [`sources`] finds queries, [`variables`] and [`query`] understand them, [`patterns`] finds the names that
//! a pattern matches, `plan` decides which family fills each of them, and [`report`] shows the verdicts.

mod check;
mod judge;
mod labels;
mod map;
mod matching;
mod measure;
pub(crate) mod model;
mod patterns;
mod plan;
mod query;
mod report;
mod sources;
mod variables;
mod write;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::text::{clean, count};
use crate::{Status, console, usage};
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
    /// Compare what a dialect promises for each query with the series of a Prometheus
    #[command(after_help = CHECK_HELP)]
    Check(Check),
}

const MAKE_HELP: &str = "\
Reads Grafana dashboards (classic and schema v2), library panels, rule files, PrometheusRules, ConfigMaps, KEDA and \
HPA queries, and what the app's /metrics printed. Changes none of them.

The exporter serves the dialect with --dialect-file. A second run with the same --output keeps your edits.

Exit status:
  0  the dialect was made
  1  an input could not be read (the others were), or, with --strict, a query stays empty
  2  wrong usage
  3  no query and no metric was read, so no file was written; a file could not be written; or the earlier \
dialect in --output is invalid";

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

const CHECK_HELP: &str = "\
A query that works is confirmed once there was a call of the kind that it asks for; until then it is not exercised. One \
that stays empty is confirmed if the dialect gives it no series. Queries of other exporters' series are not checked.

Exit status:
  0  no verdict is wrong
  1  a verdict is wrong, or an input could not be read
  2  wrong usage
  3  Prometheus could not be asked or was too slow, or the dialect is invalid";

#[derive(Debug, clap::Args)]
struct Check {
    /// The dialect that the exporter serves
    #[arg(value_name = "DIALECT")]
    dialect: PathBuf,
    /// Dashboards, rule files and Kubernetes objects: files, folders, or - for standard input
    #[arg(value_name = "FROM", required = true)]
    from: Vec<PathBuf>,
    /// Address of the Prometheus that scrapes the exporter
    #[arg(long, value_name = "URL", default_value = "http://localhost:9090")]
    prometheus: String,
    /// How far back to look for series, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    since: u64,
    /// How long to wait for the answer to each query, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    // Long expressions are deep trees, and walking these takes stack.
    const STACK: usize = 256 * 1024 * 1024;
    std::thread::scope(|scope| {
        let work = || match &args.command {
            Command::Make(args) => make(args),
            Command::Check(args) => check(args),
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
    let mut input = read(&args.from);
    if input.queries.is_empty() && input.exposed.is_empty() {
        bail!(
            "no query and no metric was read, so nothing is written: name dashboards, rule files or a saved /metrics"
        );
    }
    let earlier = args.output.as_deref().map(earlier).transpose()?.flatten();
    patterns::expand(&mut input, earlier.as_ref().map_or(&[], |earlier| &earlier.dialect.families));
    let plan = plan::plan(&input, &args.name, earlier.as_ref());
    let text = write::write(&plan, &args.name, earlier.as_ref());
    match &args.output {
        Some(file) => fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?,
        None => console::print(&text)?,
    }
    let report = Report::new(&args.name, &input, &plan);
    if let Some(file) = &args.report {
        let text = serde_json::to_string_pretty(&report.json())? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    // The dialect is the output, if it has no file.
    if args.output.is_some() {
        console::print(&report.table())?;
    } else {
        console::note(report.table().trim_end());
    }
    let is_strict_fault = args.strict && report.has_empty();
    Ok(if input.faults.is_empty() && !is_strict_fault { Status::Well } else { Status::Findings })
}

fn check(args: &Check) -> Result<Status> {
    let timeout = Duration::from_secs(args.timeout);
    let prometheus = check::Prometheus::new(&args.prometheus, args.since, timeout)?;
    let file = args.dialect.display();
    let Some(dialect) = earlier(&args.dialect)? else {
        return Err(usage(format!("{file}: there is no such file")));
    };
    let mut input = read(&args.from);
    patterns::expand(&mut input, &dialect.dialect.families);
    let plan =
        check::only_of(plan::plan(&input, &dialect.dialect.name, Some(&dialect)), &input, &dialect.dialect);
    let report = Report::new(&dialect.dialect.name, &input, &plan);
    let checked = check::check(&report, &dialect.dialect, &prometheus, console::Progress::new())?;
    console::print(&checked.text)?;
    if checked.late > 0 {
        let hint = late(&checked, args);
        // A wrong verdict decides the status.
        if !checked.is_broken {
            bail!(hint);
        }
        console::note(&format!("error: {hint}"));
    }
    Ok(if input.faults.is_empty() && !checked.is_broken { Status::Well } else { Status::Findings })
}

/// The advice about selectors without an answer.
fn late(checked: &check::Checked, args: &Check) -> String {
    format!(
        "{} had no answer from Prometheus within {}; raise --timeout, or look at less than {} with --since",
        count(checked.late, "selector"),
        count(usize::try_from(args.timeout).unwrap_or(usize::MAX), "second"),
        count(usize::try_from(args.since).unwrap_or(usize::MAX), "second"),
    )
}

/// Reads the input, and reports its faults.
fn read(from: &[PathBuf]) -> model::Input {
    let input = sources::read(from);
    for fault in &input.faults {
        console::note(&format!("error: {}", clean(fault)));
    }
    input
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
