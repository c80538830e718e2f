//! `scoretap top`: calls per second, outcomes and latency of each model and version.

pub(crate) mod exposition;
mod rows;
mod source;
mod table;

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::kubectl::Cluster;
use crate::{Status, console, usage, workload};
use source::{From, Scope, Source};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the pods of a workload, such as deployment/scorer
    #[arg(value_name = "KIND/NAME", conflicts_with = "all")]
    workload: Option<String>,
    /// Namespace [default: the context's]
    #[arg(short, long, conflicts_with = "all")]
    namespace: Option<String>,
    /// All namespaces
    #[arg(long)]
    all: bool,
    /// Print one table and end
    #[arg(long)]
    once: bool,
    /// The source of the numbers
    #[arg(long, value_enum, default_value_t)]
    from: From,
    /// Format; json prints one answer and ends
    #[command(flatten)]
    output: crate::Output,
}

pub(crate) fn run(cluster: &Cluster, args: &Args) -> Result<Status> {
    cluster.reach()?;
    let scope = scope(cluster, args)?;
    let mut source = Source::open(cluster, &scope, args.from)?;
    if args.once || args.output.is_json() {
        return once(&mut source, args.output.is_json());
    }
    let is_terminal = std::io::stdout().is_terminal();
    loop {
        let rows = source.rows()?;
        let text = format!("{}\n{}\n", source.title(), table::table(&rows, console::width()));
        const HOME_AND_CLEAR: &str = "\x1b[H\x1b[J";
        let text =
            if is_terminal { format!("{HOME_AND_CLEAR}{text}Ctrl-C ends it\n") } else { format!("{text}\n") };
        if !console::has_reader(&text)? {
            return Ok(Status::Well);
        }
        std::thread::sleep(source.pause());
    }
}

/// The time between the two scrapes of a single table.
const APART: Duration = Duration::from_secs(3);

fn once(source: &mut Source<'_>, is_json: bool) -> Result<Status> {
    if source.needs_two_scrapes() {
        source.rows()?;
        std::thread::sleep(APART);
    }
    let rows = source.rows()?;
    if source.is_empty() {
        console::note(&format!(
            "{}: no pod with the sidecar runs; `scoretap check` says why",
            source.title()
        ));
        return Ok(Status::Findings);
    }
    if is_json {
        console::json(&json!({"source": source.title(), "models": rows::to_json(&rows)}))?;
    } else {
        console::line(&format!("{}\n{}", source.title(), table::table(&rows, console::width())))?;
    }
    Ok(Status::Well)
}

fn scope(cluster: &Cluster, args: &Args) -> Result<Scope> {
    if args.all {
        return Ok(Scope { namespace: None, pods: None });
    }
    let namespace = args.namespace.clone().unwrap_or_else(|| cluster.namespace());
    let Some(target) = &args.workload else { return Ok(Scope { namespace: Some(namespace), pods: None }) };
    let (kind, name) = workload::parse(target)?;
    if kind == "pod" {
        return Ok(Scope { namespace: Some(namespace), pods: Some(source::Pods::Name(name.to_owned())) });
    }
    let found = cluster.get(&[kind, name, "-n", &namespace]).map_err(|refused| usage(refused.to_string()))?;
    let labels = found.first().and_then(|object| object.pointer("/spec/selector/matchLabels")?.as_object());
    let labels = labels.into_iter().flatten();
    let pairs: Vec<_> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    Ok(Scope { namespace: Some(namespace), pods: Some(source::Pods::Labels(pairs.join(","))) })
}
