//! What goes wrong in production, done to a running stack under load, and what has to be true afterwards.
//!
//! The short suite does each once, `cargo xtask soak` all of them again and again.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::http::{self, Call, CallResult, Protocol};
use crate::stack::{Stack, StackBuilder};
use crate::wait::wait_for;
use crate::workspace::TestModule;

const ROW: &str = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;
const CALLERS: usize = 4;
const RECOVERY: Duration = Duration::from_secs(30);
/// Envoy gives memory back when it likes; what grows with every fault would soon be more than this.
const GROWTH_KILOBYTES: u64 = 60_000;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// What a person would say.
    pub name: &'static str,
    strike: fn(&mut Stack) -> Result<()>,
    /// Whether calls fail meanwhile, as they would without Scoretap.
    calls_fail: bool,
    loss: Loss,
}

/// Which counts are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// None.
    Nothing,
    /// Those of calls that ended while no VM was there. Envoy has counted them, and the gap says so.
    Unseen,
    /// All that Envoy held: it is another process now.
    All,
}

/// Every fault.
pub const FAULTS: [Fault; 8] = [
    Fault { name: "the exporter is killed", strike: kill_exporter, calls_fail: false, loss: Loss::Nothing },
    Fault { name: "the VM traps again and again", strike: trap, calls_fail: false, loss: Loss::Unseen },
    Fault {
        name: "a bad configuration comes and goes",
        strike: swap,
        calls_fail: false,
        loss: Loss::Nothing,
    },
    Fault { name: "callers abort, drip and pipeline", strike: abuse, calls_fail: false, loss: Loss::Nothing },
    Fault { name: "callers send 1 MB of headers", strike: large, calls_fail: false, loss: Loss::Nothing },
    Fault {
        name: "Envoy has no file descriptors left",
        strike: starve,
        calls_fail: true,
        loss: Loss::Nothing,
    },
    Fault { name: "Envoy is killed", strike: kill_envoy, calls_fail: true, loss: Loss::All },
    Fault { name: "the disk of Envoy's log is full", strike: fill_disk, calls_fail: true, loss: Loss::All },
];

/// A stack to which all of this can be done: reconfigurable, with a module that traps when told to.
pub fn stack(name: &str) -> StackBuilder {
    Stack::builder(name).dynamic().module(&TestModule::Trap.path())
}

impl Fault {
    /// Does it under load and checks what has to be true then. The error says what was not.
    pub fn happens_to(&self, stack: &mut Stack) -> Result<()> {
        // So that there is something to lose.
        recover(stack)?;
        let before = Truth::read(stack)?;
        let (struck, answers) = under_load(stack, self.strike);
        struck.with_context(|| self.name)?;
        let failed = answers.iter().filter(|answer| !is_answered(answer)).count();
        ensure!(self.calls_fail || failed == 0, "{}: {failed} of {} calls failed", self.name, answers.len());
        recover(stack).with_context(|| self.name)?;
        let after = Truth::read(stack)?;
        self.compare(before, after).with_context(|| format!("{}: {before:?}, then {after:?}", self.name))
    }

    fn compare(&self, before: Truth, after: Truth) -> Result<()> {
        let grown = after.kilobytes.saturating_sub(before.kilobytes);
        ensure!(grown < GROWTH_KILOBYTES, "Envoy has grown by {grown} KB");
        let start =
            if self.loss == Loss::All { Truth { app: before.app, ..Truth::default() } } else { before };
        let (seen, by_envoy) = (after.seen - start.seen, after.by_envoy - start.by_envoy);
        match self.loss {
            Loss::Nothing | Loss::All => ensure!(seen == by_envoy, "{seen} seen of {by_envoy}"),
            Loss::Unseen => ensure!(seen < by_envoy, "nothing trapped"),
        }
        let reached_app = after.app - start.app;
        match self.loss {
            // Abandoned and refused calls never reached the app.
            Loss::Nothing | Loss::Unseen => {
                ensure!(by_envoy >= reached_app, "{by_envoy} counted, {reached_app} reached the app");
            }
            Loss::All => {
                ensure!(by_envoy <= reached_app, "{by_envoy} counted, {reached_app} reached the app");
            }
        }
        Ok(())
    }
}

/// What is known from several sides at a quiet moment.
#[derive(Debug, Clone, Copy, Default)]
struct Truth {
    seen: f64,
    by_envoy: f64,
    app: f64,
    kilobytes: u64,
}

impl Truth {
    fn read(stack: &Stack) -> Result<Self> {
        stack.settle();
        let metrics = stack.metrics();
        let pid = stack.envoy_pid().context("Envoy is gone")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(Self {
            seen: metrics.sum("scoretap_calls_seen_total", &[]),
            by_envoy: metrics.sum("scoretap_envoy_requests_total", &[]),
            app: stack.app_calls().len() as f64,
            kilobytes: resident.trim().trim_end_matches(" kB").parse()?,
        })
    }
}

fn score() -> Call {
    Call::post("/score", ROW)
}

fn is_answered(answer: &CallResult) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.complete)
}

/// Callers call from before the strike until after it.
fn under_load(stack: &mut Stack, strike: fn(&mut Stack) -> Result<()>) -> (Result<()>, Vec<CallResult>) {
    let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let load = stack.load(Protocol::Http1, CALLERS);
    std::thread::scope(|scope| {
        let callers = scope.spawn(|| {
            let mut answers = load.run(vec![score(); 20]);
            begun.store(true, Ordering::Relaxed);
            while !over.load(Ordering::Relaxed) {
                answers.extend(load.run(vec![score(); 20]));
            }
            answers
        });
        let struck = wait_for("callers call", RECOVERY, || begun.load(Ordering::Relaxed));
        let struck = struck.and_then(|()| strike(stack));
        over.store(true, Ordering::Relaxed);
        (struck, callers.join().unwrap_or_default())
    })
}

/// Nobody lends a hand: calls are answered and scrapes succeed again, or this is an error.
fn recover(stack: &Stack) -> Result<()> {
    wait_for("20 calls in a row are answered", RECOVERY, || {
        stack.load(Protocol::Http1, 2).run(vec![score(); 20]).iter().all(is_answered)
    })?;
    let up = || http::get(&stack.exporter, "/metrics").is_ok_and(|text| text.contains("\nscoretap_up 1"));
    wait_for("the exporter reads Envoy", RECOVERY, up)
}

fn kill_exporter(stack: &mut Stack) -> Result<()> {
    (0..5).try_for_each(|_| {
        stack.stop_exporter();
        stack.start_exporter()
    })
}

fn kill_envoy(stack: &mut Stack) -> Result<()> {
    stack.stop_envoy();
    stack.start_envoy()
}

fn trap(stack: &mut Stack) -> Result<()> {
    for _ in 0..20 {
        let answer = stack.call(score().header("x-scoretap-trap", "1"))?;
        ensure!(answer.status == 200, "the call that trapped was answered {}", answer.status);
    }
    Ok(())
}

fn swap(stack: &mut Stack) -> Result<()> {
    [r#"{"max_series": 100}"#, r#"{"max_series": "many"}"#, "{"]
        .iter()
        .try_for_each(|bad| stack.reconfigure(bad))?;
    stack.reconfigure("{}")
}

fn abuse(stack: &mut Stack) -> Result<()> {
    for _ in 0..10 {
        let slow = Call::post("/score", r#"{"data": [], "sleep_ms": 300}"#);
        let _ = stack.call(slow.abort_after(Duration::from_millis(50)));
    }
    let request = format!("POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{ROW}", ROW.len());
    let pipelined = http::raw(stack.address, request.repeat(50).as_bytes(), Duration::from_secs(1))?;
    let answers = String::from_utf8_lossy(&pipelined).matches("HTTP/1.1 200").count();
    ensure!(answers == 50, "{answers} of 50 pipelined calls were answered");
    let mut dripping = TcpStream::connect(stack.address)?;
    for byte in request.bytes().take(60) {
        dripping.write_all(&[byte])?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn large(stack: &mut Stack) -> Result<()> {
    for size in [100_000, 1_000_000, 2_000_000] {
        let request = format!("POST /score HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(size));
        // Refused, in the middle if need be.
        let _ = http::raw(stack.address, request.as_bytes(), Duration::from_millis(300));
    }
    Ok(())
}

/// New connections find no descriptor; the ones that are open go on.
fn starve(stack: &mut Stack) -> Result<()> {
    let pid = stack.envoy_pid().context("Envoy is gone")?.to_string();
    let limit = |soft: &str| -> Result<()> {
        let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")]).status()?;
        ensure!(status.success(), "prlimit failed");
        Ok(())
    };
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    limit(&open.to_string())?;
    let idle: Vec<_> = (0..20).filter_map(|_| TcpStream::connect(stack.address).ok()).collect();
    let refused = stack.call(score().abort_after(Duration::from_secs(1))).is_err();
    drop(idle);
    limit("4096")?;
    ensure!(refused, "there was a descriptor left");
    Ok(())
}

/// Everything that Envoy says from now on meets "no space left on device".
fn fill_disk(stack: &mut Stack) -> Result<()> {
    stack.stop_envoy();
    let log = stack.folders.logs.join("envoy.log");
    fs::rename(&log, log.with_extension("before"))?;
    symlink("/dev/full", &log)?;
    stack.start_envoy()?;
    stack.reconfigure(r#"{"max_series": "a line for the log"}"#)?;
    stack.reconfigure("{}")?;
    fs::remove_file(&log)?;
    Ok(())
}
