//! Faults of production, caused in a running stack under load, and the checks afterwards.
//!
//! The short suite causes each fault once, `cargo xtask soak` repeats all of them. docs/failure-modes.md has a row for each.

mod actions;
mod callers;
mod truth;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::http::{self, CallResult};
use crate::stack::{Stack, StackBuilder, WayIn};
use crate::wait::wait_for;
use crate::workspace::TestModule;

use callers::{Callers, ROUND, is_answered, score};
use truth::Truth;

pub use truth::Memory;

const RECOVERY: Duration = Duration::from_secs(30);
/// Envoy returns memory at times of its own choosing. A leak in any fault would soon exceed this.
pub const GROWTH: Memory = Memory { envoy: 20_000, exporter: 5_000 };

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The name in the documents.
    pub name: &'static str,
    prepare: fn(&mut Stack) -> Result<()>,
    cause: fn(&mut Stack, &Callers) -> Result<()>,
    calls_fail: Failures,
    loss: Loss,
}

/// Which calls fail during a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failures {
    /// No call fails.
    None,
    /// Some calls fail, and would fail without Scoretap: Envoy or the app is down.
    WithoutUs,
    /// The HTTP filter fails calls in flight when its VM traps. The access logger fails none.
    InFlightOfFilter,
}

/// Which counts are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// No count.
    Nothing,
    /// The route and outcome of calls that ended under an invalid configuration: they count as unmatched.
    Unmatched,
    /// Calls that ended while no VM ran. Envoy counted them, so the honesty check shows the gap.
    Unseen,
    /// Counts of the old Envoy process. The new one starts at zero.
    OldProcess,
    /// As [`Loss::OldProcess`], but the old Envoy passes on the counts of its last seconds.
    HandedOver,
}

/// Every fault.
pub const FAULTS: [Fault; 15] = [
    Fault::harmless("the exporter is killed", actions::kill_exporter),
    Fault::harmless("the exporter has no file descriptors left", actions::starve_exporter),
    Fault {
        calls_fail: Failures::InFlightOfFilter,
        loss: Loss::Unseen,
        ..Fault::harmless("the VM traps again and again", actions::trap)
    },
    Fault { loss: Loss::Unmatched, ..Fault::harmless("a bad configuration comes and goes", actions::swap) },
    Fault {
        calls_fail: Failures::WithoutUs,
        loss: Loss::OldProcess,
        ..Fault::harmless("Envoy is killed", actions::kill_envoy)
    },
    Fault {
        prepare: actions::restart_envoy,
        loss: Loss::HandedOver,
        ..Fault::harmless("Envoy hot-restarts", actions::hot_restart)
    },
    Fault {
        calls_fail: Failures::WithoutUs,
        ..Fault::harmless("Envoy has no file descriptors left", actions::starve_envoy)
    },
    // The log lines of a bad configuration do not fit.
    Fault {
        prepare: actions::fill_disk,
        loss: Loss::Unmatched,
        ..Fault::harmless("the disk of the logs is full", actions::swap)
    },
    Fault::harmless("the clock steps", actions::step_clock),
    Fault { calls_fail: Failures::WithoutUs, ..Fault::harmless("the app dies", actions::kill_app) },
    Fault::harmless("the app hangs", actions::hang_app),
    Fault {
        calls_fail: Failures::WithoutUs,
        ..Fault::harmless("the app resets, drips and answers garbage", actions::break_app)
    },
    Fault::harmless("callers abort, drip and pipeline", actions::abuse),
    Fault::harmless("callers send 1 MB of headers", actions::send_large_headers),
    Fault::harmless("callers name 10,000 models", actions::flood),
];

/// A stack for all faults: it can be reconfigured and hot-restarted, its module traps on request, and its Envoy has a
/// clock of its own.
pub fn stack(name: &str, way_in: WayIn) -> StackBuilder {
    let builder = Stack::builder(name).way_in(way_in).module(&TestModule::Trap.path());
    builder.dynamic().hot_restartable().own_clock()
}

impl Fault {
    const fn harmless(name: &'static str, cause: fn(&mut Stack, &Callers) -> Result<()>) -> Self {
        Self { name, prepare: |_| Ok(()), cause, calls_fail: Failures::None, loss: Loss::Nothing }
    }

    /// Causes the fault under load and checks calls, counts and memory afterwards.
    pub fn happens_to(&self, stack: &mut Stack) -> Result<()> {
        self.is_survived_by(stack).with_context(|| self.name)?;
        // The stack has recovered, so nothing more is lost.
        let nothing = Self::harmless("nothing", |_, callers| callers.call_well(vec![score(); 50]));
        nothing.is_survived_by(stack).with_context(|| format!("after {}", self.name))
    }

    fn is_survived_by(&self, stack: &mut Stack) -> Result<()> {
        (self.prepare)(stack)?;
        let (earlier, callers) = (Callers::of(stack), Callers::of(stack));
        recover(stack, &earlier)?;
        let memory = Memory::of(stack)?;
        let before = match self.loss {
            Loss::Nothing | Loss::Unmatched | Loss::Unseen => Truth::read(stack),
            Loss::OldProcess | Loss::HandedOver => Truth::default(),
        };
        let begun = Instant::now();
        let mut at_risk = 0.0;
        let answers = callers.meanwhile(|| {
            (self.cause)(stack, &callers)?;
            // The ledger does not know the round in flight yet.
            at_risk = callers.ledger().answers() + ROUND as f64;
            Ok(())
        })?;
        self.check_failures(stack.way_in, &callers, &answers)?;
        recover(stack, &callers)?;
        let (change, mut known) = (Truth::read(stack).since(&before), callers.ledger());
        if self.loss == Loss::HandedOver {
            known.uncertain += earlier.ledger().answers();
        }
        let verdict =
            change.is_what(&known, self.loss, at_risk).and_then(|()| change.fits_into(begun.elapsed()));
        verdict.with_context(|| format!("counted: {change:?}; the callers know: {known:?}"))?;
        Memory::of(stack)?.has_not_grown(memory, GROWTH)
    }

    fn check_failures(&self, way_in: WayIn, callers: &Callers, answers: &[CallResult]) -> Result<()> {
        let failed = answers.iter().filter(|answer| !is_answered(answer)).count();
        match (self.calls_fail, way_in) {
            (Failures::WithoutUs, _) => {
                ensure!(callers.ledger().failures() > 0.0, "no call failed, so the fault did not happen");
            }
            (Failures::InFlightOfFilter, WayIn::HttpFilter) => {}
            (Failures::None | Failures::InFlightOfFilter, _) => {
                ensure!(failed == 0, "{failed} of {} calls failed", answers.len());
            }
        }
        Ok(())
    }
}

/// Waits until calls and scrapes succeed again, without help.
fn recover(stack: &Stack, callers: &Callers) -> Result<()> {
    wait_for("20 calls in a row are answered", RECOVERY, || {
        callers.call(vec![score(); 20]).iter().all(is_answered)
    })?;
    let up = || http::get(&stack.exporter, "/metrics").is_ok_and(|text| text.contains("\nscoretap_up 1\n"));
    wait_for("the exporter reads Envoy", RECOVERY, up)
}
