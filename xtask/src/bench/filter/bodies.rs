//! `cargo xtask bench filter --bodies`: what Insight costs, by the size and kind of an answer.

mod answers;

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use scoretap_tests::child;
use scoretap_tests::stack::{Stack, Upstream};
use scoretap_tests::{tools, workspace};
use serde_json::json;

use super::samples::{Spread, position};
use super::{Args, ENVOY, ENVOY_CORE, OTHER_CORE, TABLES, load, process};
use crate::bench::sections;
use crate::package;
use answers::Answer;

/// The module that reads the bodies, beside the main module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Nothing,
    Copies,
    Insight,
}

impl Reader {
    /// The others are compared with the first.
    const ALL: [Self; 3] = [Self::Nothing, Self::Copies, Self::Insight];
}

/// Anonymous memory more than without Insight, in megabytes.
const MEMORY_AIM: f64 = 8.0;
/// The same where gzip is read.
const MEMORY_AIM_GZIP: f64 = 18.0;
/// Calls at the same time.
const CALLERS: usize = 16;

/// The Envoys of one epoch, and what was measured on all of them, by reader.
struct Figures {
    /// Microseconds of CPU for a call: by answer, then by round.
    cpu: [Vec<Vec<f64>>; 3],
    /// Anonymous memory in megabytes once plain answers were read, and once compressed ones were.
    memory: [Vec<[f64; 2]>; 3],
}

struct Running {
    stack: Stack,
    pid: u32,
}

pub(super) fn run(args: &Args) -> Result<()> {
    tools::envoy(ENVOY)?;
    package::build_if_stale()?;
    fs::write(copier(), wat::parse_str(include_str!("copies.wat"))?).context("cannot write the copier")?;
    let answers = Arc::new(answers::all()?);
    let app = answers::serve(Arc::clone(&answers))?;
    process::pin(std::process::id(), OTHER_CORE)?;
    let cpu = [(); 3].map(|()| vec![Vec::new(); answers.len()]);
    let mut figures = Figures { cpu, memory: Default::default() };
    for epoch in 0..args.epochs {
        eprintln!("epoch {} of {}", epoch + 1, args.epochs);
        measure(args, epoch, app, &answers, &mut figures)?;
    }
    let text = format!("Measured by {}.\n\n{}", args.command(), table(&answers, &figures)?);
    println!("{text}");
    if args.write {
        sections::write(TABLES, "bodies", &text)?;
    }
    Ok(())
}

fn copier() -> PathBuf {
    workspace::target().join("test-modules/copies.wasm")
}

fn measure(
    args: &Args,
    epoch: usize,
    app: SocketAddr,
    answers: &[Answer],
    figures: &mut Figures,
) -> Result<()> {
    let envoys = Reader::ALL.map(|reader| start(reader, epoch, app));
    let envoys = envoys.into_iter().collect::<Result<Vec<_>>>()?;
    for (envoy, memory) in envoys.iter().zip(&mut figures.memory) {
        // The first round warms up.
        let mut readings = [0.0; 2];
        for (reading, is_compressed) in readings.iter_mut().zip([false, true]) {
            for (number, answer) in answers.iter().enumerate() {
                if answer.is_compressed == is_compressed {
                    sample(envoy, answer, number, args.calls)?;
                }
            }
            *reading = child::anonymous_memory(envoy.pid)? as f64 / 1024.0;
        }
        memory.push(readings);
    }
    for _ in 0..args.rounds {
        for (number, answer) in answers.iter().enumerate() {
            for (envoy, cpu) in envoys.iter().zip(&mut figures.cpu) {
                let spent = sample(envoy, answer, number, args.calls)?;
                cpu.get_mut(number).context("a kind of answer")?.push(spent);
            }
        }
    }
    Ok(())
}

fn start(reader: Reader, epoch: usize, app: SocketAddr) -> Result<Running> {
    let builder = Stack::builder(&format!("bench-bodies-{reader:?}-{epoch}")).envoy(ENVOY);
    let builder = builder.upstream(Upstream::Http1(app)).without_exporter().concurrency(1);
    let builder = match reader {
        Reader::Nothing => builder,
        Reader::Copies => builder.edit_listener(|listener| {
            let filter = json!({"name": "copies", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {"vm_config": {
                    "vm_id": "copies", "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": copier()}},
                }},
            }});
            if let Some(filters) = listener.manager()["http_filters"].as_array_mut() {
                filters.insert(0, filter);
            }
        }),
        Reader::Insight => builder.with_insight().filter_config(r#"{"insight": {}}"#),
    };
    let stack = builder.start()?;
    let pid = stack.envoy_pid().context("Envoy is gone")?;
    process::pin(pid, ENVOY_CORE)?;
    Ok(Running { stack, pid })
}

/// Microseconds of Envoy's CPU for a call.
fn sample(envoy: &Running, answer: &Answer, number: usize, calls: usize) -> Result<f64> {
    let calls = (calls / answer.share).max(CALLERS);
    let before = process::cpu_time(envoy.pid, process::Threads::EnvoyWorkers)?;
    load::run(envoy.stack.address, &answer.request(number), CALLERS, calls).context(answer.title.clone())?;
    let spent = process::cpu_time(envoy.pid, process::Threads::EnvoyWorkers)? - before;
    // Each caller makes as many.
    Ok(spent.as_secs_f64() * 1e6 / (calls / CALLERS * CALLERS) as f64)
}

fn table(answers: &[Answer], figures: &Figures) -> Result<String> {
    let mut out = String::new();
    writeln!(
        out,
        "Envoy's CPU for a call beside the main module as an access logger, one worker, in microseconds: median \
         (quartiles). \"When quiet\" compares the first deciles.\n"
    )?;
    writeln!(out, "| answer | nothing reads it | copied, more | Insight, more | when quiet | aim |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    let [nothing, copies, insight] = &figures.cpu;
    for (((answer, nothing), copies), insight) in answers.iter().zip(nothing).zip(copies).zip(insight) {
        let more = Spread::of(differences(insight, nothing));
        let aim = answer.aim.as_ref().map_or_else(String::new, |(limit, words)| {
            format!("{words}{}", if more.median <= *limit { "" } else { ", missed" })
        });
        writeln!(
            out,
            "| {} | {} | {} | {} | {:.1} | {aim} |",
            answer.title,
            Spread::of(nothing.clone()).text(),
            Spread::of(differences(copies, nothing)).text(),
            more.text(),
            first_decile(insight) - first_decile(nothing),
        )?;
    }
    writeln!(out, "\nAnonymous memory of Envoy in MB, median over the starts.\n")?;
    writeln!(out, "| after reading | without Insight | with Insight | more | aim |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    let titles = [("plain answers", MEMORY_AIM), ("compressed answers too", MEMORY_AIM_GZIP)];
    let [nothing, _, insight] = &figures.memory;
    for (index, (title, limit)) in titles.into_iter().enumerate() {
        let median =
            |readings: &[[f64; 2]]| Spread::of(readings.iter().map(|all| all[index]).collect()).median;
        let (without, with) = (median(nothing), median(insight));
        let met = if with - without <= limit { "" } else { ", missed" };
        writeln!(out, "| {title} | {without:.1} | {with:.1} | {:.1} | {limit}{met} |", with - without)?;
    }
    Ok(out)
}

/// Round by round.
fn differences(of: &[f64], from: &[f64]) -> Vec<f64> {
    of.iter().zip(from).map(|(of, from)| of - from).collect()
}

fn first_decile(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(position(sorted.len(), 0.1)).copied().unwrap_or(f64::NAN)
}
