//! For scale: the same metrics by a library inside the app.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Result;
use scoretap_tests::apps::local;
use scoretap_tests::child::Child;
use scoretap_tests::http::{self, Endpoint};
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::STARTUP;
use scoretap_tests::{ports, tools, workspace};

use super::load;
use super::process::{self, Threads};

/// The Flask scorer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum App {
    Plain,
    WithPrometheusClient,
}

impl App {
    pub(super) const ALL: [Self; 2] = [Self::Plain, Self::WithPrometheusClient];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Plain => "Flask scorer",
            Self::WithPrometheusClient => "Flask scorer with prometheus_client",
        }
    }

    const fn module(self) -> &'static str {
        match self {
            Self::Plain => "scorer:app",
            Self::WithPrometheusClient => "scorer_with_metrics:app",
        }
    }
}

const CALLERS: usize = 2;

/// CPU of the app for a call, in microseconds, round by round.
pub(super) fn measure(rounds: usize, calls: usize) -> Result<BTreeMap<App, Vec<f64>>> {
    let folders = Folders::create("bench-flask")?;
    let apps = App::ALL.into_iter().map(|app| Ok((app, start(app, &folders)?)));
    let apps = apps.collect::<Result<Vec<_>>>()?;
    let mut figures: BTreeMap<App, Vec<f64>> = BTreeMap::new();
    for round in 0..=rounds {
        for (app, (child, port)) in &apps {
            let before = cpu(child.pid())?;
            load::run(local(*port), REQUEST, CALLERS, calls)?;
            let spent = cpu(child.pid())? - before;
            // The first round is to get warm.
            if round > 0 {
                figures.entry(*app).or_default().push(spent / calls as f64);
            }
        }
    }
    Ok(figures)
}

const REQUEST: &[u8] = b"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
    Content-Length: 39\r\n\r\n{\"data\": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}";

fn start(app: App, folders: &Folders) -> Result<(Child, u16)> {
    let port = ports::free();
    let address = local(port);
    let mut command = Command::new(tools::gunicorn()?);
    command.arg("--chdir").arg(workspace::root().join("tests/python"));
    command.args(["--worker-class", "gthread", "--workers", "1", "--threads", "2", "--no-control-socket"]);
    command.args(["--bind", &address.to_string(), app.module()]);
    command.envs([("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    let mut child = Child::spawn(app.title(), &command, &folders.logs.join(format!("{app:?}.log")))?;
    child.wait_ready(STARTUP, || http::get(&Endpoint::Tcp(address), "/health").is_ok())?;
    Ok((child, port))
}

/// gunicorn's master and its worker.
fn cpu(pid: u32) -> Result<f64> {
    let mut total = process::cpu_time(pid, Threads::All)?;
    for child in process::children(pid)? {
        total += process::cpu_time(child, Threads::All)?;
    }
    Ok(total.as_secs_f64() * 1e6)
}
