//! The model servers behind Envoy: two real ones in Python, one that breaks on purpose, and one that
//! sends given bytes.

mod broken;
mod llama;
mod scripted;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::child::Child;
use crate::http::{self, Endpoint};
use crate::wait::STARTUP;
use crate::{ports, tools, workspace};

pub use broken::{Break, Broken};
pub use llama::{Llama, Tokens};
pub use scripted::{Part, Scripted};

/// `tests/python/scorer.py` under gunicorn, with its access log.
#[derive(Debug)]
pub struct Scorer {
    /// Where it listens.
    pub address: SocketAddr,
    folder: PathBuf,
    program: Program,
    child: Option<Child>,
}

/// A module of `tests/python/` with an app, and its environment.
#[derive(Debug, Clone)]
struct Program {
    module: &'static str,
    environment: Vec<(&'static str, String)>,
}

/// One line of the access log: what the app itself says about a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Logged {
    /// `POST`, …
    pub method: String,
    /// Path and query as they came, escapes included. A byte that is no ASCII stands as the character of its number.
    pub path: String,
    /// The HTTP status that the app sent.
    pub status: u16,
}

impl Scorer {
    /// Starts it and waits until it answers. Its output and its access log go to `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::launch(folder, ports::free(), Program { module: "scorer", environment: Vec::new() })
    }

    /// As [`Scorer::start`], on this port. The model of this name answers all rows alike from so many seconds after its
    /// first call.
    pub fn start_silent(folder: &Path, port: u16, model: &str, after: Duration) -> Result<Self> {
        let environment =
            vec![("SILENT_MODEL", model.to_owned()), ("SILENT_AFTER", after.as_secs().to_string())];
        Self::launch(folder, port, Program { module: "silent_scorer", environment })
    }

    fn launch(folder: &Path, port: u16, program: Program) -> Result<Self> {
        let mut scorer = Self { address: local(port), folder: folder.to_owned(), program, child: None };
        scorer.start_again()?;
        Ok(scorer)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.child.take().map(Child::kill).unwrap_or_default();
    }

    /// Starts it again after [`Scorer::kill`], at the same address. Its access log goes on.
    pub fn start_again(&mut self) -> Result<()> {
        let command = gunicorn(self.address, &self.access_log(), &self.program)?;
        let mut child = Child::spawn("the scorer", &command, &self.folder.join("scorer.log"))?;
        let endpoint = Endpoint::Tcp(self.address);
        child.wait_ready(STARTUP, || http::get(&endpoint, "/health").is_ok())?;
        self.child = Some(child);
        Ok(())
    }

    /// Asks it to end: it listens no longer, and finishes what it has begun.
    pub fn terminate(&self) {
        self.child.iter().for_each(Child::terminate);
    }

    /// Lets it hang: connections are taken and nothing is answered.
    pub fn pause(&self) {
        self.child.iter().for_each(Child::pause);
    }

    /// Ends a hang.
    pub fn go_on(&self) {
        self.child.iter().for_each(Child::go_on);
    }

    fn access_log(&self) -> PathBuf {
        self.folder.join("access.log")
    }

    /// Every call that it has finished so far, those of the harness' own health check left out.
    pub fn calls(&self) -> Result<Vec<Logged>> {
        let path = self.access_log();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let calls = text.lines().map(parse_line).collect::<Result<Vec<_>>>()?;
        Ok(calls.into_iter().filter(|call| call.path != "/health").collect())
    }
}

fn gunicorn(address: SocketAddr, access_log: &Path, program: &Program) -> Result<Command> {
    let mut command = Command::new(tools::gunicorn()?);
    command.arg("--chdir").arg(workspace::root().join("tests/python"));
    command.args(["--worker-class", "gthread", "--workers", "1", "--threads", "8", "--no-control-socket"]);
    command.args(["--limit-request-line", "0", "--bind", &address.to_string()]);
    command.arg("--access-logfile").arg(access_log);
    command.args(["--access-logformat", "%(m)s %({raw_uri}e)s %(s)s"]);
    command.arg(format!("{}:app", program.module)).envs(program.environment.iter().cloned());
    // One thread per call is gunicorn's job; a linear model gains nothing from numpy's own.
    command.envs([("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    Ok(command)
}

fn parse_line(line: &str) -> Result<Logged> {
    let (method, rest) = line.split_once(' ').with_context(|| format!("no method: {line:?}"))?;
    let (path, status) = rest.rsplit_once(' ').with_context(|| format!("no status: {line:?}"))?;
    let status = status.parse().with_context(|| format!("no status: {line:?}"))?;
    Ok(Logged { method: method.to_owned(), path: path.to_owned(), status })
}

/// `tests/python/grpc_model.py`.
#[derive(Debug)]
pub struct GrpcModel {
    /// Where it listens.
    pub address: SocketAddr,
    calls: PathBuf,
    _child: Child,
}

impl GrpcModel {
    /// The one method it knows.
    pub const METHOD: &str = "/inference.GRPCInferenceService/ModelInfer";

    /// Starts it and waits until it listens.
    pub fn start(folder: &Path) -> Result<Self> {
        let address = local(ports::free());
        let calls = folder.join("grpc-calls.log");
        let mut command = Command::new(tools::python()?);
        command.arg(workspace::python_file("grpc_model.py")).arg(address.to_string()).arg(&calls);
        let mut child = Child::spawn("the gRPC model server", &command, &folder.join("grpc-model.log"))?;
        child.wait_ready(STARTUP, || TcpStream::connect(address).is_ok())?;
        Ok(Self { address, calls, _child: child })
    }

    /// The gRPC status of every call so far.
    pub fn statuses(&self) -> Result<Vec<u32>> {
        let text = fs::read_to_string(&self.calls)?;
        let statuses = text.lines().map(|line| line.rsplit(' ').next().unwrap_or_default().parse());
        let statuses: Vec<u32> = statuses.collect::<Result<_, _>>().context("the gRPC model server's log")?;
        ensure!(text.is_empty() || text.ends_with('\n'), "the last line is still being written");
        Ok(statuses)
    }
}

/// An address on loopback.
pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
