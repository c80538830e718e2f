//! From Debian: Prometheus and Alertmanager. Downloaded and unpacked, not installed: no root, no service started,
//! no change to the system's own lists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::install::{on_path, once, run, step};

const ADVICE: &str = "is Debian's archive reachable?";

/// A program of a Debian package. Where there is no apt, the one on PATH has to do.
pub(super) fn program(package: &str, program: &str) -> Result<PathBuf> {
    if on_path("apt-get").is_none() || on_path("dpkg").is_none() {
        return on_path(program).with_context(|| {
            format!("{program} is not there and this is no Debian: install {package} so that it is on PATH")
        });
    }
    let dir = once(&format!("debian-{package}"), "1", |dir| install(package, dir))?;
    let binary = dir.join("root/usr/bin").join(program);
    if !binary.is_file() {
        bail!("{} is not there: delete {} and try again", binary.display(), dir.display());
    }
    Ok(binary)
}

/// The folder into which packages are unpacked together with all that they need and this system has not.
pub(super) fn with_dependencies(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let dir = once(&format!("debian-{name}"), &packages.join(" "), |dir| {
        update(dir)?;
        let mut command = apt_get(dir);
        command.args(["install", "--download-only", "--no-install-recommends", "--yes"]).args(packages);
        step(&format!("Debian's {name} and what it needs"), &mut command, ADVICE)?;
        let archives = fs::read_dir(dir.join("cache/archives"))?.flatten().map(|entry| entry.path());
        for archive in archives.filter(|file| file.extension().is_some_and(|extension| extension == "deb")) {
            run(
                Command::new("dpkg").arg("--extract").arg(&archive).arg(dir.join("root")),
                "is the disk full?",
            )?;
        }
        for spent in ["state", "cache"] {
            fs::remove_dir_all(dir.join(spent))?;
        }
        Ok(())
    })?;
    Ok(dir.join("root"))
}

fn update(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir.join("state/lists/partial"))?;
    fs::create_dir_all(dir.join("cache/archives/partial"))?;
    step("lists of Debian's packages, for this once", apt_get(dir).arg("update"), ADVICE)
}

fn install(package: &str, dir: &Path) -> Result<()> {
    update(dir)?;
    step(&format!("Debian's {package}"), apt_get(dir).args(["download", package]), ADVICE)?;
    let archive = downloaded(dir)?;
    run(Command::new("dpkg").arg("--extract").arg(&archive).arg(dir.join("root")), "is the disk full?")?;
    for spent in ["state", "cache"] {
        fs::remove_dir_all(dir.join(spent))?;
    }
    fs::remove_file(archive)?;
    Ok(())
}

/// apt with lists and cache of its own: the system's can be written by root alone.
fn apt_get(dir: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.current_dir(dir).args(["-qq", "-o", "Dir::State::status=/var/lib/dpkg/status"]);
    command.args(["-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User="]);
    command.arg("-o").arg(format!("Dir::State={}", dir.join("state").display()));
    command.arg("-o").arg(format!("Dir::Cache={}", dir.join("cache").display()));
    command
}

fn downloaded(dir: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(dir)?.flatten().map(|entry| entry.path());
    files
        .find(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get downloaded nothing into {}", dir.display()))
}
