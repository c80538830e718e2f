//! `cargo xtask demo`: the whole system, with callers of every kind, and a table of what the exporter says.
//!
//! The table reads `/metrics` and nothing else: what it shows, a dashboard can show.

mod callers;
mod check;
mod llm;
mod prometheus;
mod screen;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use scoretap_tests::apps::{Llama, Scorer};
use scoretap_tests::http::{Call, Endpoint};
use scoretap_tests::stack::{Folders, Stack, Upstream};
use scoretap_tests::tools::{self, EnvoyVersion};
use scoretap_tests::{browser, ports};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::package;
use callers::Callers;
use prometheus::Watcher;
use screen::Screen;
use table::{History, Table};

pub(crate) use check::{check, check_llm};

/// Where things listen if they can.
const LISTENER: u16 = 15_100;
const EXPORTER: u16 = 15_190;
const APP: u16 = 8_080;

/// The model that begins to answer the same for everybody.
const SILENT_MODEL: &str = "fraud";

/// Shorter than the slowest calls of the mix, so that timeouts are to be seen.
const ROUTE_TIMEOUT: &str = "1s";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End after this time in place of at Ctrl-C
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// After how many seconds one model begins to answer the same for everybody, with 200
    #[arg(long, value_name = "N", default_value_t = 60)]
    fail_silently_after: u64,
    /// Show a small LLM in place of the scorer
    #[arg(long, conflicts_with = "fail_silently_after")]
    llm: bool,
    /// Also run Prometheus with the shipped alerts, at windows of seconds
    #[arg(long)]
    with_prometheus: bool,
    /// At the end, write a picture of the exporter's page into this PNG file
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// A running demo.
struct Demo {
    stack: Stack,
    /// The call of each number.
    call: fn(usize) -> Call,
    table: Table,
    /// The lines about this demo.
    introduction: String,
    _llm: Option<Llama>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    install(args)?;
    package::build_for_demo()?;
    // From here on an interrupt means: stop everything, then end.
    let stop = stop_on_signal()?;
    let demo = if args.llm { llm::start()? } else { start(args.fail_silently_after)? };
    let watcher = args.with_prometheus.then(|| Watcher::start(&demo.stack)).transpose()?;
    let callers = Callers::start(&Endpoint::Tcp(demo.stack.address), demo.call);
    let alerts = watcher.as_ref().map(Watcher::introduction).unwrap_or_default();
    let introduction = format!("{}{alerts}\n{}", introduction(&demo.stack), demo.introduction);
    let shown = show(&demo, watcher.as_ref(), &introduction, &stop, args.seconds.map(Duration::from_secs));
    let pictured = args.picture.as_deref().map_or(Ok(()), |file| picture(&demo.stack, file));
    callers.stop();
    drop(watcher);
    drop(demo);
    eprintln!("stopped everything");
    shown.and(pictured)
}

/// The size of the picture, in pixels.
const PICTURE: (u32, u32) = (1000, 860);

fn picture(stack: &Stack, file: &Path) -> Result<()> {
    let Endpoint::Tcp(exporter) = &stack.exporter else { return Ok(()) };
    let file = std::path::absolute(file)?;
    let profile = stack.folders.run.join("browser");
    browser::screenshot(&profile, &format!("http://{exporter}/"), &file, PICTURE, &[])?;
    eprintln!("wrote {}", file.display());
    Ok(())
}

fn install(args: &Args) -> Result<()> {
    tools::envoy(EnvoyVersion::Newest)?;
    if args.llm { tools::llm_python() } else { tools::python() }?;
    if args.with_prometheus {
        tools::prometheus()?;
    }
    if args.picture.is_some() {
        tools::chromium()?;
    }
    Ok(())
}

fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot wait for signals")?;
    }
    Ok(stop)
}

fn start(silent_after: u64) -> Result<Demo> {
    eprintln!("starting the scorer, Envoy and the exporter …");
    let logs = Folders::create("demo-scorer")?.logs.clone();
    let after = Duration::from_secs(silent_after);
    let scorer = Arc::new(Scorer::start_silent(&logs, ports::preferred(APP), SILENT_MODEL, after)?);
    let stack = Stack::builder("demo")
        .upstream(Upstream::Shared(scorer))
        .filter_config(r#"{"insight": {}}"#)
        .with_insight()
        .prefer_ports(LISTENER, EXPORTER)
        .edit_listener(|bootstrap| bootstrap.route()["timeout"] = ROUTE_TIMEOUT.into())
        .exporter_env("MODEL_NAME", "tutorial")
        .exporter_env("MODEL_VERSION", "1")
        .start()?;
    let address = stack.address;
    let introduction = format!(
        "After {silent_after} s the model {SILENT_MODEL} answers the same for everybody, with 200, as fast as before.\n\
         Watch the column `repeated`.\n\n\
         try   curl -d '{{\"data\": [[1,2,3,4,5,6,7,8,9]]}}' http://{address}/score\n"
    );
    Ok(Demo { stack, call: callers::call, table: table::of_scorer, introduction, _llm: None })
}

fn show(
    demo: &Demo,
    watcher: Option<&Watcher>,
    introduction: &str,
    stop: &AtomicBool,
    limit: Option<Duration>,
) -> Result<()> {
    let start = Instant::now();
    let over = || stop.load(Ordering::Relaxed) || limit.is_some_and(|limit| start.elapsed() >= limit);
    let screen = Screen::new(introduction);
    let mut history = History::default();
    let mut next = start;
    while !over() {
        // Short steps: a signal must not have to wait for the next table.
        if Instant::now() < next {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        next += screen.pause();
        history.add(Instant::now(), demo.stack.metrics());
        let alerts = watcher.map(Watcher::alerts).unwrap_or_default();
        screen.show(&(history.table(demo.table) + &alerts));
    }
    Ok(())
}

fn introduction(stack: &Stack) -> String {
    let Endpoint::Tcp(exporter) = &stack.exporter else { return String::new() };
    let server = stack.address;
    format!(
        "open in a browser           http://{exporter}/\n\
         the server, through Envoy   http://{server}/\n\
         the metrics                 http://{exporter}/metrics\n\
         logs                        {}\n",
        stack.folders.logs.display()
    )
}
