//! The tables of `bench filter`.

use std::fmt::Write;
use std::fs;

use anyhow::Result;

use super::kind::{Kind, Path};
use super::samples::{Cell, Sample, Samples, Spread};
use super::variant::Variant;

/// The call of the first table.
const MAIN: Cell = Cell { workers: 1, kind: Kind::Post1K, path: Path::Matched };

/// A target: how many times what another variant adds.
struct Target {
    variant: Variant,
    path: Path,
    other: Variant,
    limit: f64,
}

const TARGETS: [Target; 7] = [
    Target { variant: Variant::Logger, path: Path::Matched, other: Variant::LuaSameJob, limit: 0.5 },
    Target { variant: Variant::Logger, path: Path::Matched, other: Variant::NoOpFilter, limit: 2.0 },
    Target { variant: Variant::Logger, path: Path::Unmatched, other: Variant::NoOpFilter, limit: 1.0 },
    Target { variant: Variant::SparedLogger, path: Path::Unmatched, other: Variant::NoOpFilter, limit: 1.0 },
    Target { variant: Variant::Filter, path: Path::Matched, other: Variant::LuaSameJob, limit: 0.65 },
    Target { variant: Variant::Filter, path: Path::Matched, other: Variant::NoOpFilter, limit: 2.5 },
    Target { variant: Variant::Filter, path: Path::Unmatched, other: Variant::NoOpFilter, limit: 1.7 },
];

const fn cpu(sample: &Sample) -> f64 {
    sample.cpu
}

/// CPU and latency that each variant adds to the most common call.
pub(super) fn main_table(samples: &Samples) -> Result<String> {
    let mut out = String::new();
    let unmatched = Cell { path: Path::Unmatched, ..MAIN };
    let nothing = samples.spread(Variant::Nothing, MAIN, cpu);
    writeln!(
        out,
        "Added to a {} with one worker, in microseconds: median (quartiles). \"When quiet\" compares the \
         first deciles, when the machine had the least other load. With nothing, Envoy spends {} µs of CPU on a \
         call.\n",
        MAIN.kind.title(),
        nothing.text()
    )?;
    writeln!(
        out,
        "| in Envoy | CPU, matched | when quiet | CPU, unmatched | when quiet | p50 | p99 | module |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    for variant in Variant::ALL.into_iter().filter(|variant| *variant != Variant::Nothing) {
        writeln!(
            out,
            "| {} | {} | {:.1} | {} | {:.1} | {} | {} | {} |",
            variant.title(),
            samples.added(variant, MAIN, cpu).text(),
            samples.added_when_quiet(variant, MAIN),
            samples.added(variant, unmatched, cpu).text(),
            samples.added_when_quiet(variant, unmatched),
            samples.added(variant, MAIN, |sample| sample.p50).text(),
            samples.added(variant, MAIN, |sample| sample.p99).text(),
            module_size(variant)?,
        )?;
    }
    Ok(out)
}

/// The table of targets.
pub(super) fn targets(samples: &Samples) -> Result<String> {
    let mut out = String::new();
    writeln!(
        out,
        "CPU that a variant adds, as a multiple of what another adds: ratio of the medians (quartiles over epochs).\n"
    )?;
    writeln!(out, "| variant | calls | compared with | target | measured | when quiet |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for Target { variant, path, other, limit } in TARGETS {
        let cell = Cell { path, ..MAIN };
        let ratio = samples.ratio(variant, other, cell);
        let quiet = samples.added_when_quiet(variant, cell) / samples.added_when_quiet(other, cell);
        let Spread { median, low, high } = ratio;
        let met = if median <= limit { "" } else { ", missed" };
        writeln!(
            out,
            "| {} | {} | {} | {limit} | {median:.2} ({low:.2} … {high:.2}){met} | {quiet:.2} |",
            variant.title(),
            path.title(),
            other.title()
        )?;
    }
    Ok(out)
}

/// CPU that each variant adds to every kind of call.
pub(super) fn all_cells(samples: &Samples) -> Result<String> {
    let mut out = String::new();
    let cells = (1..=2).flat_map(|workers| {
        let kinds = Kind::ALL.into_iter();
        kinds.flat_map(move |kind| Path::ALL.into_iter().map(move |path| Cell { workers, kind, path }))
    });
    let cells: Vec<Cell> = cells.filter(|cell| samples.has(*cell)).collect();
    writeln!(
        out,
        "CPU added to a call, in microseconds: median (quartiles). The first column is what Envoy spends with nothing.\n"
    )?;
    write!(out, "| workers | call |")?;
    for variant in Variant::ALL {
        write!(out, " {} |", variant.title())?;
    }
    writeln!(out, "\n|---|---|{}", "---|".repeat(Variant::ALL.len()))?;
    for cell in cells {
        write!(out, "| {} | {}, {} |", cell.workers, cell.kind.title(), cell.path.title())?;
        for variant in Variant::ALL {
            let spread = match variant {
                Variant::Nothing => samples.spread(variant, cell, cpu),
                _ => samples.added(variant, cell, cpu),
            };
            write!(out, " {} |", spread.text())?;
        }
        writeln!(out)?;
    }
    Ok(out)
}

fn module_size(variant: Variant) -> Result<String> {
    Ok(match variant.module() {
        Some(path) => format!("{:.1} KB", fs::metadata(path)?.len() as f64 / 1024.0),
        None => String::new(),
    })
}
