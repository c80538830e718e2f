//! Whole setups with a real model server: the app alone, the app with a metrics library, and the app behind a sidecar.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use scoretap_tests::apps::local;
use scoretap_tests::child::Child;
use scoretap_tests::http::{self, Endpoint};
use scoretap_tests::stack::{Folders, Stack};
use scoretap_tests::wait::STARTUP;
use scoretap_tests::{ports, tools, workspace};

use super::process::{self, Threads};
use super::samples::{Sample, Spread};
use super::variant::Variant;
use super::{ENVOY, load};

/// Where calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    App,
    AppWithPrometheusClient,
    Sidecar(Variant),
}

impl Setup {
    /// The one without metrics and sidecar comes first: the others are compared with it.
    const ALL: [Self; 6] = [
        Self::App,
        Self::AppWithPrometheusClient,
        Self::Sidecar(Variant::Nothing),
        Self::Sidecar(Variant::Logger),
        Self::Sidecar(Variant::StatsLogger),
        Self::Sidecar(Variant::LuaSameJob),
    ];

    fn title(self) -> String {
        match self {
            Self::App => "app alone, no metrics".into(),
            Self::AppWithPrometheusClient => "app alone, with `prometheus_client`".into(),
            Self::Sidecar(variant) => format!("app and sidecar: {}", variant.title()),
        }
    }
}

/// The cost of one setup, in microseconds, round by round.
pub(super) struct Measured {
    setup: Setup,
    rounds: Vec<Round>,
}

struct Round {
    app: f64,
    envoy: f64,
    latency: Sample,
}

struct Running {
    setup: Setup,
    address: SocketAddr,
    app: u32,
    envoy: Option<u32>,
    /// Keeps the sidecar running.
    _stack: Option<Stack>,
}

const CALLERS: usize = 2;

/// Measures all setups in turns.
pub(super) fn measure(rounds: usize, calls: usize) -> Result<Vec<Measured>> {
    process::unpin(std::process::id())?;
    let folders = Folders::create("bench-setups")?;
    let plain = start(Setup::App, "scorer:app", &folders)?;
    let counting = start(Setup::AppWithPrometheusClient, "scorer_with_metrics:app", &folders)?;
    let setups = Setup::ALL.into_iter().map(|setup| run(setup, &plain, &counting));
    let setups = setups.collect::<Result<Vec<_>>>()?;
    let mut all: Vec<Measured> =
        setups.iter().map(|running| Measured { setup: running.setup, rounds: Vec::new() }).collect();
    for round in 0..=rounds {
        for (running, measured) in setups.iter().zip(&mut all) {
            let figures = sample(running, calls).with_context(|| running.setup.title())?;
            // The first round warms up.
            if round > 0 {
                measured.rounds.push(figures);
            }
        }
    }
    Ok(all)
}

/// The table, each setup beside the app alone.
pub(super) fn table(all: &[Measured]) -> Result<String> {
    let mut out = String::new();
    writeln!(
        out,
        "A `POST /score` to a Flask scorer under gunicorn, in microseconds: median (quartiles). CPU with {CALLERS} callers, \
         latency with one. The first row is absolute; below it, \"more\" is beyond the first row, round by round.\n"
    )?;
    writeln!(out, "| setup | CPU of the app | CPU of Envoy | CPU in all, more | p50, more | p99, more |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    let Some(alone) = all.first() else { return Ok(out) };
    for Measured { setup, rounds } in all {
        let spread = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure).collect()).text();
        let more = |figure: fn(&Round) -> f64| match setup {
            Setup::App => spread(figure),
            Setup::AppWithPrometheusClient | Setup::Sidecar(_) => {
                let pairs = rounds.iter().zip(&alone.rounds);
                Spread::of(pairs.map(|(own, alone)| figure(own) - figure(alone)).collect()).text()
            }
        };
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            setup.title(),
            spread(|round| round.app),
            spread(|round| round.envoy),
            more(|round| round.app + round.envoy),
            more(|round| round.latency.p50),
            more(|round| round.latency.p99)
        )?;
    }
    Ok(out)
}

const REQUEST: &[u8] = b"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
    Content-Length: 39\r\n\r\n{\"data\": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}";

type App = (Child, SocketAddr);

fn start(setup: Setup, module: &str, folders: &Folders) -> Result<App> {
    let address = local(ports::free());
    let mut command = Command::new(tools::gunicorn()?);
    command.arg("--chdir").arg(workspace::root().join("tests/python"));
    command.args(["--worker-class", "gthread", "--workers", "1", "--threads", "2", "--no-control-socket"]);
    command.args(["--bind", &address.to_string(), module]);
    command.envs([("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    let mut child = Child::spawn(&setup.title(), &command, &folders.logs.join(format!("{module}.log")))?;
    child.wait_ready(STARTUP, || http::get(&Endpoint::Tcp(address), "/health").is_ok())?;
    Ok((child, address))
}

fn run(setup: Setup, plain: &App, counting: &App) -> Result<Running> {
    let (child, address) = if setup == Setup::AppWithPrometheusClient { counting } else { plain };
    let (app, address) = (child.pid(), *address);
    let Setup::Sidecar(variant) = setup else {
        return Ok(Running { setup, address, app, envoy: None, _stack: None });
    };
    let stack = variant.start(&format!("bench-setup-{variant:?}"), ENVOY, address, 1)?;
    let envoy = Some(stack.envoy_pid().context("Envoy is gone")?);
    Ok(Running { setup, address: stack.address, app, envoy, _stack: Some(stack) })
}

fn sample(running: &Running, calls: usize) -> Result<Round> {
    let before = cpu(running)?;
    load::run(running.address, REQUEST, CALLERS, calls)?;
    let after = cpu(running)?;
    let [app, envoy] =
        [after.0 - before.0, after.1 - before.1].map(|spent| spent.as_secs_f64() * 1e6 / calls as f64);
    let latency = Sample::new(Duration::ZERO, load::run(running.address, REQUEST, 1, calls)?);
    Ok(Round { app, envoy, latency })
}

/// CPU so far of gunicorn's master and worker, and of Envoy's workers.
fn cpu(running: &Running) -> Result<(Duration, Duration)> {
    let mut app = process::cpu_time(running.app, Threads::All)?;
    for child in process::children(running.app)? {
        app += process::cpu_time(child, Threads::All)?;
    }
    let envoy = running.envoy.map(|pid| process::cpu_time(pid, Threads::EnvoyWorkers)).transpose()?;
    Ok((app, envoy.unwrap_or_default()))
}
