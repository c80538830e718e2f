//! The faults, one function each. Calls continue during each.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::RECOVERY;
use super::callers::{Callers, ROW, is_answered, meanwhile, score};
use crate::apps::{Break, Broken};
use crate::http::{self, Call, Endpoint, Load, Protocol};
use crate::stack::{Stack, WayIn};
use crate::wait::wait_for;

const ABORT_AFTER: Duration = Duration::from_millis(300);
const MODELS: usize = 10_000;
/// Milliseconds from a start of the exporter to its next kill: before, during and after a scrape.
const KILLS_AFTER: [u64; 5] = [3, 9, 14, 21, 28];
/// The default of the filter's `max_series`.
const MOST_SERIES: usize = 200;

/// Kills the exporter during scrapes. Each scrape is complete or fails.
pub(super) fn kill_exporter(stack: &mut Stack, _: &Callers) -> Result<()> {
    let scrapes = Load { endpoint: stack.exporter.clone(), protocol: Protocol::Http1, callers: 2 };
    let scraped = meanwhile(
        || scrapes.run(vec![Call::get("/metrics"); 4]),
        || {
            KILLS_AFTER.into_iter().try_for_each(|milliseconds| {
                std::thread::sleep(Duration::from_millis(milliseconds));
                stack.stop_exporter();
                stack.start_exporter()
            })
        },
    )?;
    for answer in scraped.into_iter().flatten().filter(|answer| answer.complete) {
        ensure!(is_read(&answer.text()), "a truncated scrape looked complete: {}", answer.text());
    }
    Ok(())
}

/// Idle connections take all descriptors, so scrapes fail until these connections close.
pub(super) fn starve_exporter(stack: &mut Stack, callers: &Callers) -> Result<()> {
    let Endpoint::Tcp(address) = stack.exporter else { unreachable!("the exporter listens on TCP") };
    let scrape = |stack: &Stack| {
        let answer =
            http::call(&stack.exporter, Protocol::Http1, Call::get("/metrics").abort_after(ABORT_AFTER));
        answer.is_ok_and(|answer| is_read(&answer.text()))
    };
    with_few_descriptors(stack.exporter_pid(), 4, || {
        let idle: Vec<_> = (0..20).map(|_| TcpStream::connect(address)).collect();
        ensure!(!scrape(stack), "there was a descriptor left");
        callers.call_well(vec![score(); 50])?;
        drop(idle);
        wait_for("scrapes succeed again", RECOVERY, || scrape(stack))
    })
}

pub(super) fn kill_envoy(stack: &mut Stack, _: &Callers) -> Result<()> {
    restart_envoy(stack)
}

pub(super) fn restart_envoy(stack: &mut Stack) -> Result<()> {
    stack.stop_envoy();
    stack.start_envoy()
}

pub(super) fn hot_restart(stack: &mut Stack, _: &Callers) -> Result<()> {
    stack.hot_restart()
}

/// Traps the VM. Envoy restarts an access logger's VM by itself. An HTTP filter's VM stays down until its
/// configuration changes.
pub(super) fn trap(stack: &mut Stack, callers: &Callers) -> Result<()> {
    (0..20).try_for_each(|_| callers.call_well(vec![score().header("x-scoretap-trap", "1")]))?;
    if stack.way_in == WayIn::HttpFilter {
        stack.reconfigure(r#"{"max_series": 100}"#)?;
        stack.reconfigure("{}")?;
    }
    Ok(())
}

pub(super) fn swap(stack: &mut Stack, callers: &Callers) -> Result<()> {
    for configuration in [r#"{"max_series": "many"}"#, "{", "{}"] {
        stack.reconfigure(configuration)?;
        callers.call_well(vec![score(); 20])?;
    }
    Ok(())
}

/// Envoy has no descriptor for new connections. Open connections continue.
pub(super) fn starve_envoy(stack: &mut Stack, callers: &Callers) -> Result<()> {
    with_few_descriptors(stack.envoy_pid(), 0, || {
        let idle: Vec<_> = (0..40).map(|_| TcpStream::connect(stack.address)).collect();
        let turned_away = callers.call(vec![score().abort_after(Duration::from_secs(1))]);
        drop(idle);
        ensure!(!turned_away.iter().any(is_answered), "there was a descriptor left");
        Ok(())
    })
}

/// Restarts Envoy and the exporter with logs that fail with "no space left on device", until the next restart.
pub(super) fn fill_disk(stack: &mut Stack) -> Result<()> {
    let logs = ["envoy.log", "exporter.log"].map(|log| stack.folders.logs.join(log));
    stack.stop_envoy();
    stack.stop_exporter();
    for log in &logs {
        fs::rename(log, log.with_extension("before"))?;
        symlink("/dev/full", log)?;
    }
    stack.start_envoy()?;
    stack.start_exporter()?;
    logs.iter().try_for_each(fs::remove_file)?;
    Ok(())
}

/// Steps Envoy's clock forward, to before its start, and back. The exporter always shows the latest bounds.
pub(super) fn step_clock(stack: &mut Stack, callers: &Callers) -> Result<()> {
    for (hours, bound) in [(1, "0.3"), (-2, "0.4"), (0, "0.6")] {
        stack.set_clock(hours)?;
        stack.reconfigure(&format!(r#"{{"bounds_seconds": [{bound}]}}"#))?;
        callers.call_well(vec![score(); 50])?;
        let metrics = stack.metrics();
        let buckets = metrics.select("prediction_duration_seconds_bucket", &[]);
        let shown: BTreeSet<_> = buckets.filter_map(|(labels, _)| labels.get("le")).collect();
        ensure!(shown.iter().eq(&["+Inf", bound]), "{hours} h off, bounds are {shown:?} in place of {bound}");
    }
    stack.reconfigure("{}")
}

pub(super) fn kill_app(stack: &mut Stack, callers: &Callers) -> Result<()> {
    stack.app()?.kill();
    let answers = callers.call(vec![score(); 50]);
    let refused = answers.iter().flatten().filter(|answer| answer.status == 503).count();
    ensure!(refused == 50, "{refused} of 50 calls were answered with 503");
    stack.app()?.start_again()
}

/// Pauses the app, so that it accepts calls and answers none. Some callers leave.
pub(super) fn hang_app(stack: &mut Stack, callers: &Callers) -> Result<()> {
    stack.app()?.pause();
    let gone = callers.call(vec![score().abort_after(ABORT_AFTER); 8]);
    stack.app()?.go_on();
    ensure!(gone.iter().all(Result::is_err), "the app did not hang");
    Ok(())
}

/// Replaces the app for a while by one that breaks in every way.
pub(super) fn break_app(stack: &mut Stack, callers: &Callers) -> Result<()> {
    let app = stack.app()?;
    app.kill();
    let broken = Broken::start_at(app.address)?;
    let ways = Break::ALL.iter().cycle().take(4 * Break::ALL.len());
    let calls = ways.map(|way| Call::post(&way.path(), "{}").abort_after(Duration::from_millis(800)));
    callers.call(calls.collect());
    broken.stop();
    stack.app()?.start_again()
}

pub(super) fn abuse(stack: &mut Stack, callers: &Callers) -> Result<()> {
    let slow = Call::post("/score", r#"{"data": [], "sleep_ms": 300}"#);
    callers.call(vec![slow.abort_after(Duration::from_millis(50)); 10]);
    let request = |more: &str| {
        format!("POST /score HTTP/1.1\r\nhost: x\r\n{more}content-length: {}\r\n\r\n{ROW}", ROW.len())
    };
    let pipelined = request("").repeat(50);
    let answers = http::raw(stack.address, pipelined.as_bytes(), Duration::from_secs(1))?;
    let answered = String::from_utf8_lossy(&answers).matches("HTTP/1.1 200").count();
    ensure!(answered == 50, "{answered} of 50 pipelined calls were answered");
    let mut dripping = TcpStream::connect(stack.address)?;
    for byte in request("connection: close\r\n").bytes() {
        dripping.write_all(&[byte])?;
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut answer = String::new();
    dripping.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "a dripping caller got {answer}");
    callers.called_well(answered + 1);
    Ok(())
}

pub(super) fn send_large_headers(stack: &mut Stack, callers: &Callers) -> Result<()> {
    callers.call([100_000, 1_000_000].map(|size| score().header("x", &"a".repeat(size))).to_vec());
    let request = format!("POST /score HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(2_000_000));
    // Envoy rejects this in the middle of the request.
    let _ = http::raw(stack.address, request.as_bytes(), ABORT_AFTER);
    Ok(())
}

pub(super) fn flood(stack: &mut Stack, callers: &Callers) -> Result<()> {
    let calls = (0..MODELS).map(|number| Call::post(&format!("/v1/models/name-{number}:predict"), "{}"));
    let answers = callers.call(calls.collect());
    ensure!(answers.iter().all(Result::is_ok), "some calls were not answered");
    let metrics = stack.metrics();
    let families = metrics.select("prediction_requests_total", &[("status", "success")]);
    let named = families.filter(|(labels, _)| labels["model_name"].starts_with("name-")).count();
    ensure!((1..=MOST_SERIES).contains(&named), "{named} models have a series");
    Ok(())
}

/// Runs `action` while the process can open only `spare` more files.
fn with_few_descriptors<T>(pid: Option<u32>, spare: u64, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let raw = pid.and_then(|pid| i32::try_from(pid).ok()).context("the process is gone")?;
    let (pid, open) = (Pid::from_raw(raw), fs::read_dir(format!("/proc/{raw}/fd"))?.count() as u64);
    let few = Rlimit { current: Some(open + spare), ..getrlimit(Resource::Nofile) };
    let usual = prlimit(pid, Resource::Nofile, few)?;
    let result = action();
    prlimit(pid, Resource::Nofile, usual)?;
    result
}

fn is_read(exposition: &str) -> bool {
    exposition.contains("\nscoretap_up 1\n")
}
