//! llama.cpp's server with a tiny random model.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::local;
use crate::child::Child;
use crate::exposition::Exposition;
use crate::http::{self, Endpoint};
use crate::wait::STARTUP;
use crate::{tools, workspace};

/// `tests/python/llm/server.py`.
#[derive(Debug)]
pub struct Llama {
    /// Where it listens.
    pub address: SocketAddr,
    _child: Child,
}

/// Token counts since the start of a server, or of some calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tokens {
    /// Tokens of prompts, cached ones included.
    pub input: f64,
    /// Generated tokens.
    pub output: f64,
}

impl Llama {
    /// Writes the model into `folder`, starts the server and waits until it answers.
    pub fn start(folder: &Path, port: u16) -> Result<Self> {
        let model = folder.join("tiny.gguf");
        let written = python("tiny_model.py")?.arg(&model).output().context("cannot start Python")?;
        ensure!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let mut command = python("server.py")?;
        command.arg(&model).arg(port.to_string());
        let address = local(port);
        let mut child = Child::spawn("llama.cpp's server", &command, &folder.join("llama.log"))?;
        child.wait_ready(STARTUP, || http::get(&Endpoint::Tcp(address), "/health").is_ok())?;
        Ok(Self { address, _child: child })
    }

    /// The server's own counters.
    pub fn counted(&self) -> Result<Tokens> {
        let metrics = Exposition::parse(&http::get(&Endpoint::Tcp(self.address), "/metrics")?)?;
        let counter = |name: &str| metrics.sum(&format!("llamacpp:{name}_total"), &[]);
        Ok(Tokens {
            input: counter("prompt_tokens") + counter("prompt_tokens_cached"),
            output: counter("tokens_predicted"),
        })
    }

    /// Has the official client make so many calls of a kind, a function of `tests/python/llm/client.py`. Returns the
    /// tokens that the answers report.
    pub fn drive(server: SocketAddr, kind: &str, calls: usize) -> Result<Tokens> {
        let mut command = Self::client(server, kind, calls)?;
        let output = command.stderr(Stdio::piped()).output().context("cannot start the client")?;
        ensure!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout)?;
        let count = |name: &str| said[name].as_f64().with_context(|| format!("{kind}: {said}"));
        ensure!(said["calls"] == calls, "{kind}: {said}");
        Ok(Tokens { input: count("input")?, output: count("output")? })
    }

    /// The command of [`drive`](Self::drive).
    pub fn client(server: SocketAddr, kind: &str, calls: usize) -> Result<Command> {
        let mut command = python("client.py")?;
        command.arg(format!("http://{server}")).arg(kind).arg(calls.to_string());
        Ok(command)
    }
}

fn python(script: &str) -> Result<Command> {
    let mut command = Command::new(tools::llm_python()?);
    command.arg(workspace::python_file("llm").join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}
