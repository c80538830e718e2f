//! The proof that a package depends on its sources alone: built again from a copy in another folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use scoretap_tests::workspace;

use super::Workshop;
use crate::run::output;

/// The command's PromQL parser is generated at build time, and its generator (lrtable 0.14) lists the conflicts of the
/// grammar in the order of a hash map, which is another one in each build.
const NOT_COMPARED: &str = "  scoretap";

/// Builds the package a second time elsewhere and compares the checksums with those in `target/dist/`.
pub(crate) fn reproduce() -> Result<()> {
    let elsewhere = workspace::target().join("reproduce");
    let sources = elsewhere.join("a folder with another name");
    copy_sources(&sources)?;
    let dist = elsewhere.join("dist");
    Workshop { sources, target: elsewhere.join("target") }.build(&dist)?;
    let (first, second) = (sums(&workspace::dist())?, sums(&dist)?);
    ensure!(first == second, "two builds of the same sources differ:\n{first}\n{second}");
    println!(
        "built again in another folder: the same checksums, apart from `scoretap`, which is not compared"
    );
    Ok(())
}

fn sums(dist: &Path) -> Result<String> {
    let path = dist.join("SHA256SUMS");
    let sums = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let compared: Vec<&str> = sums.lines().filter(|line| !line.ends_with(NOT_COMPARED)).collect();
    ensure!(compared.len() + 1 == sums.lines().count(), "{} does not list `scoretap`", path.display());
    Ok(compared.join("\n"))
}

/// Copies what git knows or would add; what has not changed since the last time is left alone, so that cargo does too.
fn copy_sources(to: &Path) -> Result<()> {
    let root = workspace::root();
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&root);
    let files: Vec<PathBuf> = output(&mut git)?.split_terminator('\0').map(PathBuf::from).collect();
    for file in files.iter().filter(|file| root.join(file).is_file()) {
        let content = fs::read(root.join(file)).with_context(|| format!("cannot read {}", file.display()))?;
        let copy = to.join(file);
        if fs::read(&copy).is_ok_and(|found| found == content) {
            continue;
        }
        fs::create_dir_all(copy.parent().context("a file is in a folder")?)?;
        fs::write(&copy, content).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    Ok(())
}
