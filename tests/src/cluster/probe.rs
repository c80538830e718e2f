//! Runs probes like the kubelet, except that the time between attempts is a fifth as long.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::process::Launch;
use crate::http::{self, Call, Endpoint, Protocol};

const SPEED: u32 = 5;

/// A thread that runs attempts until this is dropped.
#[derive(Debug)]
pub(super) struct Probe {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` before a threshold is reached.
    passed: Option<bool>,
    why: String,
}

/// The target of a probe.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: Ipv4Addr,
    pub(super) pid: u32,
    pub(super) launch: Launch,
    /// The container's declared ports. A probe resolves names only in its own container.
    pub(super) ports: Value,
}

impl Probe {
    pub(super) fn start(spec: &Value, target: Target) -> Self {
        let probe = Self { state: Arc::default(), stop: Arc::default() };
        let (state, stop, spec) = (Arc::clone(&probe.state), Arc::clone(&probe.stop), spec.clone());
        std::thread::spawn(move || attempts(&spec, &target, &state, &stop));
        probe
    }

    /// The last result that reached a threshold.
    pub(super) fn passed(&self) -> Option<bool> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).passed
    }

    /// The error of the last failed attempt.
    pub(super) fn why(&self) -> String {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).why.clone()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn attempts(spec: &Value, target: &Target, state: &Mutex<State>, stop: &AtomicBool) {
    let number = |field: &str, default: u64| spec[field].as_u64().unwrap_or(default);
    let seconds = |field: &str, default| Duration::from_secs(number(field, default));
    let pause = |time: Duration| {
        let end = Instant::now() + time / SPEED;
        while Instant::now() < end && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10).min(end.saturating_duration_since(Instant::now())));
        }
    };
    let (mut successes, mut failures) = (0, 0);
    pause(seconds("initialDelaySeconds", 0));
    while !stop.load(Ordering::Relaxed) {
        let result = attempt(spec, target, seconds("timeoutSeconds", 1));
        (successes, failures) = if result.is_ok() { (successes + 1, 0) } else { (0, failures + 1) };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if successes >= number("successThreshold", 1) {
            state.passed = Some(true);
        } else if failures >= number("failureThreshold", 3) {
            state.passed = Some(false);
        }
        if let Err(error) = result {
            state.why = format!("{error:#}");
        }
        drop(state);
        pause(seconds("periodSeconds", 10));
    }
}

/// One attempt of a probe. Also runs a hook, because hooks have the same fields.
pub(super) fn attempt(spec: &Value, target: &Target, timeout: Duration) -> Result<()> {
    if let Some(words) = spec["exec"]["command"].as_array() {
        let words: Vec<String> = words.iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect();
        let output = target.launch.exec(target.pid, &words)?;
        let printed = [output.stdout, output.stderr].concat();
        ensure!(
            output.status.success(),
            "{words:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&printed)
        );
        return Ok(());
    }
    if spec["tcpSocket"].is_object() {
        let address = address(&spec["tcpSocket"], target)?;
        TcpStream::connect_timeout(&address, timeout).with_context(|| format!("connecting to {address}"))?;
        return Ok(());
    }
    if spec["httpGet"].is_object() {
        return http_get(&spec["httpGet"], target, timeout);
    }
    bail!("this kind of probe is not known here: {spec}")
}

fn http_get(spec: &Value, target: &Target, timeout: Duration) -> Result<()> {
    let address = address(spec, target)?;
    let path = spec["path"].as_str().unwrap_or("/");
    let status = if spec["scheme"] == "HTTPS" {
        https_status(address, path, timeout)?
    } else {
        let mut call = Call::get(path).header("user-agent", "kube-probe/1.37").abort_after(timeout);
        for header in spec["httpHeaders"].as_array().into_iter().flatten() {
            call = call.header(
                header["name"].as_str().unwrap_or_default(),
                header["value"].as_str().unwrap_or_default(),
            );
        }
        http::call(&Endpoint::Tcp(address), Protocol::Http1, call)?.status
    };
    ensure!((200..400).contains(&status), "GET {address}{path} answered {status}");
    Ok(())
}

/// Like the kubelet, does not verify certificates.
fn https_status(address: SocketAddr, path: &str, timeout: Duration) -> Result<u16> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--insecure", "--output", "/dev/null", "--write-out", "%{http_code}"]);
    command.args(["--max-time", &timeout.as_secs().to_string(), &format!("https://{address}{path}")]);
    let output = command.stdin(Stdio::null()).output().context("cannot start curl")?;
    String::from_utf8_lossy(&output.stdout).parse().context("curl printed no status")
}

fn address(spec: &Value, target: &Target) -> Result<SocketAddr> {
    let port = match &spec["port"] {
        Value::String(name) => {
            let declared = target.ports.as_array().into_iter().flatten().find(|port| port["name"] == **name);
            let number = declared.and_then(|port| port["containerPort"].as_u64());
            number.with_context(|| format!("container {} declares no port {name}", target.launch.name))?
        }
        number => number.as_u64().context("a port is a name or a number")?,
    };
    Ok(SocketAddr::from((target.address, u16::try_from(port)?)))
}
