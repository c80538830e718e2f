//! The kernel's figures of a process and its threads.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::run::output;

/// The threads whose time counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    All,
    /// Not Envoy's main thread, which does nothing for a call and something every few seconds.
    EnvoyWorkers,
}

/// CPU time so far, to the nanosecond: `/proc/PID/stat` counts in hundredths of a second.
pub(super) fn cpu_time(pid: u32, threads: Threads) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let name = fs::read_to_string(thread.path().join("comm"))?;
        if threads == Threads::EnvoyWorkers && !name.starts_with("wrk:worker") {
            continue;
        }
        let path = thread.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let spent = text.split(' ').next().unwrap_or_default();
        nanoseconds += spent.parse::<u64>().with_context(|| format!("{}: {text:?}", path.display()))?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The processes that it started.
pub(super) fn children(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let text = fs::read_to_string(thread.path().join("children"))?;
        found.extend(text.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    Ok(found)
}

/// Binds all threads of a process to one core.
pub(super) fn pin(pid: u32, core: u32) -> Result<()> {
    set_cores(pid, &core.to_string())
}

/// Lets all threads of a process run anywhere.
pub(super) fn unpin(pid: u32) -> Result<()> {
    set_cores(pid, "0-1")
}

fn set_cores(pid: u32, cores: &str) -> Result<()> {
    output(Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", cores, &pid.to_string()]))?;
    Ok(())
}
