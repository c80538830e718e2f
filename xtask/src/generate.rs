//! `cargo xtask generate`: writes every generated file in the repository. `--check` compares instead of writing.

mod azure;
mod chart;
mod images;
mod rules;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use scoretap_tests::workspace;

use crate::package;
use crate::run::{cargo, visibly};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Fail if a file differs from what would be written
    #[arg(long)]
    check: bool,
}

/// The path of a file below the workspace's root, and its content.
type Generated = (String, String);
type Generator = fn(&Path) -> Result<Vec<Generated>>;

/// The order matters: for example, Azure's rules contain the thresholds.
const GENERATORS: [Generator; 9] = [
    images::named,
    chart::policy,
    chart::thresholds,
    rules::error_types,
    rules::canary_drift,
    rules::familiar_names,
    azure::rule_groups,
    chart::values_table,
    chart::rendered,
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    let mut stale = Vec::new();
    for generator in GENERATORS {
        for (path, content) in generator(&root)? {
            let file = root.join(&path);
            if fs::read_to_string(&file).is_ok_and(|found| found == content) {
                continue;
            }
            if !args.check {
                fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
                fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
            }
            stale.push(path);
        }
    }
    if args.check {
        if !stale.is_empty() {
            bail!("{} differ from their sources; run `cargo xtask generate`", stale.join(", "));
        }
        // The tests of the other files compare them with the code.
        return Ok(());
    }
    stale.iter().for_each(|path| println!("{path}"));
    written_by_tests()
}

/// The tables in documents and the golden expositions. The tests that compare them also write them.
fn written_by_tests() -> Result<()> {
    package::build_if_stale()?;
    for (package, file, tests) in [
        ("scoretap-tests", "docs", "generated_sections"),
        ("scoretap-tests", "monitoring", "runbook_states"),
        ("scoretap-exporter", "docs", ""),
        ("scoretap-exporter", "golden", ""),
    ] {
        let args = ["test", "--quiet", "--package", package, "--test", file, "--", tests];
        visibly(cargo(&args).env("SCORETAP_GENERATE", "1"))?;
    }
    Ok(())
}

/// Fails if a file differs from what would be written.
pub(crate) fn check() -> Result<()> {
    run(&Args { check: true })
}

/// A file of the workspace, as text.
fn read(root: &Path, path: &str) -> Result<String> {
    fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
}
