//! The callers during a fault, and their own record of how each call ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::RECOVERY;
use crate::http::{Call, CallResult, Load, Protocol};
use crate::stack::Stack;
use crate::wait::wait_for;

pub(super) const ROW: &str = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;
pub(super) const AT_ONCE: u16 = 4;
/// The calls of one round.
pub(super) const ROUND: usize = 20;
/// Callers wait this long after a failed round.
const BACKOFF: Duration = Duration::from_millis(10);

/// Numbers of calls, by HTTP status or by outcome.
pub(super) type Tally = BTreeMap<String, f64>;

/// The callers.
#[derive(Debug)]
pub(super) struct Callers {
    load: Load,
    ledger: Mutex<Ledger>,
}

/// The callers' own record of their calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// Calls that were answered, by HTTP status.
    pub(super) codes: Tally,
    /// The same calls as successes and failures.
    pub(super) statuses: Tally,
    /// Calls without an answer. Envoy may have counted them in any way, or not at all.
    pub(super) uncertain: f64,
}

/// A call that the scorer answers with 200.
pub(super) fn score() -> Call {
    Call::post("/score", ROW)
}

pub(super) fn is_answered(answer: &CallResult) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.complete)
}

impl Callers {
    pub(super) fn of(stack: &Stack) -> Self {
        Self { load: stack.load(Protocol::Http1, AT_ONCE.into()), ledger: Mutex::default() }
    }

    /// The record so far.
    pub(super) fn ledger(&self) -> Ledger {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes calls, [`AT_ONCE`] at a time.
    pub(super) fn call(&self, calls: Vec<Call>) -> Vec<CallResult> {
        let answers = self.load.run(calls);
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().for_each(|answer| ledger.note(answer));
        answers
    }

    /// Makes calls that must all be answered with 200.
    pub(super) fn call_well(&self, calls: Vec<Call>) -> Result<()> {
        let answers = self.call(calls);
        let failed = answers.iter().filter(|answer| !is_answered(answer)).count();
        ensure!(failed == 0, "{failed} of {} calls failed", answers.len());
        Ok(())
    }

    /// Records calls that another client made and that were answered with 200.
    pub(super) fn called_well(&self, count: usize) {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).answered(200, true, count);
    }

    /// Makes calls from before `action` until after it, and returns how they ended.
    pub(super) fn meanwhile(&self, action: impl FnOnce() -> Result<()>) -> Result<Vec<CallResult>> {
        meanwhile(|| self.call(vec![score(); ROUND]), action)
    }
}

/// Repeats `round` from before `action` until after it, and returns the results of all rounds.
pub(super) fn meanwhile(
    round: impl Fn() -> Vec<CallResult> + Sync,
    action: impl FnOnce() -> Result<()>,
) -> Result<Vec<CallResult>> {
    let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let rounds = scope.spawn(|| {
            let mut answers = round();
            begun.store(true, Ordering::Relaxed);
            while !over.load(Ordering::Relaxed) {
                let more = round();
                if more.iter().any(Result::is_err) {
                    std::thread::sleep(BACKOFF);
                }
                answers.extend(more);
            }
            answers
        });
        let done = wait_for("the first calls are over", RECOVERY, || begun.load(Ordering::Relaxed));
        let done = done.and_then(|()| action());
        over.store(true, Ordering::Relaxed);
        let answers = rounds.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        done.map(|()| answers)
    })
}

impl Ledger {
    /// The number of answered calls.
    pub(super) fn answers(&self) -> f64 {
        self.codes.values().sum()
    }

    /// The number of calls that failed or got no answer.
    pub(super) fn failures(&self) -> f64 {
        self.uncertain + self.statuses.get("failure").copied().unwrap_or_default()
    }

    fn note(&mut self, answer: &CallResult) {
        match answer {
            Ok(answer) => self.answered(answer.status, answer.complete, 1),
            Err(_) => self.uncertain += 1.0,
        }
    }

    fn answered(&mut self, code: u16, complete: bool, count: usize) {
        let status = if complete && code < 400 { "success" } else { "failure" };
        *self.codes.entry(code.to_string()).or_default() += count as f64;
        *self.statuses.entry(status.to_owned()).or_default() += count as f64;
    }
}
