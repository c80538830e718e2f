//! The tables: what was measured, and what was aimed at.

use std::fmt::Write;
use std::fs;

use anyhow::Result;

use super::flask::App;
use super::kind::{Kind, Path};
use super::memory::{CALLS, Memory, SETTLED};
use super::samples::{Cell, Sample, Samples, Spread};
use super::variant::Variant;

/// What the first table is about.
const MAIN: Cell = Cell { workers: 1, kind: Kind::Post1K, path: Path::Matched };

/// At most so many times what another variant adds.
struct Aim {
    variant: Variant,
    path: Path,
    other: Variant,
    limit: f64,
}

const AIMS: [Aim; 7] = [
    Aim { variant: Variant::Logger, path: Path::Matched, other: Variant::LuaSameJob, limit: 0.5 },
    Aim { variant: Variant::Logger, path: Path::Matched, other: Variant::NoOpFilter, limit: 2.0 },
    Aim { variant: Variant::Logger, path: Path::Unmatched, other: Variant::NoOpFilter, limit: 1.0 },
    Aim { variant: Variant::SparedLogger, path: Path::Unmatched, other: Variant::NoOpFilter, limit: 1.0 },
    Aim { variant: Variant::Filter, path: Path::Matched, other: Variant::LuaSameJob, limit: 0.65 },
    Aim { variant: Variant::Filter, path: Path::Matched, other: Variant::NoOpFilter, limit: 2.5 },
    Aim { variant: Variant::Filter, path: Path::Unmatched, other: Variant::NoOpFilter, limit: 1.7 },
];

/// What the README shows.
pub(super) fn summary(samples: &Samples) -> Result<String> {
    let mut out = String::new();
    main_table(samples, &mut out)?;
    aims(samples, &mut out)?;
    apps(samples, &mut out)?;
    memory(samples, &mut out)?;
    Ok(out)
}

/// The rest.
pub(super) fn details(samples: &Samples) -> Result<String> {
    let mut out = String::new();
    all_cells(samples, &mut out)?;
    Ok(out)
}

const fn cpu(sample: &Sample) -> f64 {
    sample.cpu
}

fn main_table(samples: &Samples, out: &mut String) -> Result<()> {
    let unmatched = Cell { path: Path::Unmatched, ..MAIN };
    let nothing = samples.spread(Variant::Nothing, MAIN, cpu);
    writeln!(
        out,
        "Added to a call of {} at one worker. Microseconds: median (quartiles), and the difference of \
         the first deciles, from when the machine did least else. With nothing, Envoy spends {} µs of CPU.\n",
        MAIN.kind.title(),
        nothing.text()
    )?;
    writeln!(
        out,
        "| in Envoy | CPU, matched | when quiet | CPU, unmatched | when quiet | p50 | p99 | memory per VM | module |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    for variant in Variant::ALL.into_iter().filter(|variant| *variant != Variant::Nothing) {
        writeln!(
            out,
            "| {} | {} | {:.1} | {} | {:.1} | {} | {} | {} | {} |",
            variant.title(),
            samples.added(variant, MAIN, cpu).text(),
            samples.added_when_quiet(variant, MAIN),
            samples.added(variant, unmatched, cpu).text(),
            samples.added_when_quiet(variant, unmatched),
            samples.added(variant, MAIN, |sample| sample.p50).text(),
            samples.added(variant, MAIN, |sample| sample.p99).text(),
            memory_of_a_worker(samples, variant),
            module_size(variant)?,
        )?;
    }
    Ok(())
}

fn aims(samples: &Samples, out: &mut String) -> Result<()> {
    writeln!(
        out,
        "\nCPU added, as a multiple of what another adds: of the medians (quartiles of the epochs).\n"
    )?;
    writeln!(out, "| | calls | of | at most | is | when quiet |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for Aim { variant, path, other, limit } in AIMS {
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
    Ok(())
}

fn all_cells(samples: &Samples, out: &mut String) -> Result<()> {
    let cells = (1..=2).flat_map(|workers| {
        let kinds = Kind::ALL.into_iter();
        kinds.flat_map(move |kind| Path::ALL.into_iter().map(move |path| Cell { workers, kind, path }))
    });
    let cells: Vec<Cell> = cells.filter(|cell| samples.has(*cell)).collect();
    writeln!(out, "CPU added to a call, microseconds: median (quartiles).\n")?;
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
    Ok(())
}

fn apps(samples: &Samples, out: &mut String) -> Result<()> {
    let of = |app| samples.apps.get(&app).cloned().unwrap_or_default();
    let (plain, counted) = (of(App::Plain), of(App::WithPrometheusClient));
    if plain.is_empty() {
        return Ok(());
    }
    let added = plain.iter().zip(&counted).map(|(plain, counted)| counted - plain).collect();
    writeln!(
        out,
        "\nFor scale, CPU of the app for a call: {} {} µs; with prometheus_client {} µs more.",
        App::Plain.title(),
        Spread::of(plain).text(),
        Spread::of(added).text()
    )?;
    Ok(())
}

fn memory(samples: &Samples, out: &mut String) -> Result<()> {
    if samples.memory.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nMemory of Envoy, two workers:\n")?;
    writeln!(out, "| in Envoy | after {SETTLED} calls | after {CALLS} calls |\n|---|---|---|")?;
    for Memory { variant, settled, end } in &samples.memory {
        let megabytes = |kilobytes: &f64| format!("{:.1} MB", kilobytes / 1024.0);
        writeln!(out, "| {} | {} | {} |", variant.title(), megabytes(settled), megabytes(end))?;
    }
    Ok(())
}

/// What one worker more costs beyond what it costs an Envoy with nothing.
fn memory_of_a_worker(samples: &Samples, variant: Variant) -> String {
    let resident = |variant, workers| {
        samples.resident.get(&(variant, workers)).cloned().map_or(f64::NAN, |all| Spread::of(all).median)
    };
    let worker = |variant| resident(variant, 2) - resident(variant, 1);
    let kilobytes = worker(variant) - worker(Variant::Nothing);
    if kilobytes.is_nan() { "not measured".into() } else { format!("{:.1} MB", kilobytes / 1024.0) }
}

fn module_size(variant: Variant) -> Result<String> {
    Ok(match variant.module() {
        Some(path) => format!("{:.1} KB", fs::metadata(path)?.len() as f64 / 1024.0),
        None => String::new(),
    })
}
