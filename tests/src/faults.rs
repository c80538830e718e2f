//! Faults of production, caused in a running stack under load, and the checks afterwards.
//!
//! The short suite does each once, `cargo xtask soak` all of them again and again. README.md has a row for each.

mod callers;
mod strikes;
mod truth;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::http;
use crate::stack::{Stack, StackBuilder, WayIn};
use crate::wait::wait_for;
use crate::workspace::TestModule;

use callers::{Callers, is_answered, score};
use truth::Truth;

pub use truth::Memory;

const RECOVERY: Duration = Duration::from_secs(30);
/// Envoy gives memory back when it likes; what grows with every fault would soon be more than this.
pub const GROWTH: Memory = Memory { envoy: 20_000, exporter: 5_000 };

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The name in the documents.
    pub name: &'static str,
    prepare: fn(&mut Stack) -> Result<()>,
    strike: fn(&mut Stack, &Callers) -> Result<()>,
    calls_fail: Failures,
    loss: Loss,
}

/// Whether calls fail meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failures {
    /// No call fails.
    None,
    /// Calls fail that would fail without Scoretap: Envoy or the app is down.
    WithoutUs,
    /// As an access logger none does. As an HTTP filter those that are in flight when the VM traps.
    InFlightOfFilter,
}

/// Which counts are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Nothing is lost.
    Nothing,
    /// The route and outcome of calls that ended under an invalid configuration: they count as unmatched.
    Unmatched,
    /// Calls that ended while no VM was there. Envoy has counted them, and the gap says so.
    Unseen,
    /// All that Envoy held: it is another process now.
    All,
    /// As [`Loss::All`], but the new Envoy was told what the old one had counted in its last seconds.
    HandedOver,
}

/// Every fault.
pub const FAULTS: [Fault; 15] = [
    Fault::harmless("the exporter is killed", strikes::kill_exporter),
    Fault::harmless("the exporter has no file descriptors left", strikes::starve_exporter),
    Fault {
        calls_fail: Failures::InFlightOfFilter,
        loss: Loss::Unseen,
        ..Fault::harmless("the VM traps again and again", strikes::trap)
    },
    Fault { loss: Loss::Unmatched, ..Fault::harmless("a bad configuration comes and goes", strikes::swap) },
    Fault {
        calls_fail: Failures::WithoutUs,
        loss: Loss::All,
        ..Fault::harmless("Envoy is killed", strikes::kill_envoy)
    },
    Fault {
        prepare: strikes::restart_envoy,
        loss: Loss::HandedOver,
        ..Fault::harmless("Envoy hot-restarts", strikes::hot_restart)
    },
    Fault {
        calls_fail: Failures::WithoutUs,
        ..Fault::harmless("Envoy has no file descriptors left", strikes::starve_envoy)
    },
    // The log lines of a bad configuration do not fit.
    Fault {
        prepare: strikes::fill_disk,
        loss: Loss::Unmatched,
        ..Fault::harmless("the disk of the logs is full", strikes::swap)
    },
    Fault::harmless("the clock steps", strikes::step_clock),
    Fault { calls_fail: Failures::WithoutUs, ..Fault::harmless("the app dies", strikes::kill_app) },
    Fault::harmless("the app hangs", strikes::hang_app),
    Fault {
        calls_fail: Failures::WithoutUs,
        ..Fault::harmless("the app resets, drips and answers garbage", strikes::break_app)
    },
    Fault::harmless("callers abort, drip and pipeline", strikes::abuse),
    Fault::harmless("callers send 1 MB of headers", strikes::send_large_headers),
    Fault::harmless("callers name 10,000 models", strikes::flood),
];

/// A stack to which all of this can be done: reconfigurable, with a module that traps when told to, and an Envoy that
/// can be taken over from and has a clock of its own.
pub fn stack(name: &str, way_in: WayIn) -> StackBuilder {
    let builder = Stack::builder(name).way_in(way_in).module(&TestModule::Trap.path());
    builder.dynamic().hot_restartable().own_clock()
}

impl Fault {
    const fn harmless(name: &'static str, strike: fn(&mut Stack, &Callers) -> Result<()>) -> Self {
        Self { name, prepare: |_| Ok(()), strike, calls_fail: Failures::None, loss: Loss::Nothing }
    }

    /// Does it under load and checks what has to be true then. The error says what was not.
    pub fn happens_to(&self, stack: &mut Stack) -> Result<()> {
        self.is_survived_by(stack).with_context(|| self.name)?;
        // From now on, nothing is lost.
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
            Loss::All | Loss::HandedOver => Truth::default(),
        };
        let begun = Instant::now();
        let answers = callers.meanwhile(|| (self.strike)(stack, &callers))?;
        let failed = answers.iter().filter(|answer| !is_answered(answer)).count();
        ensure!(self.may_fail(stack.way_in) || failed == 0, "{failed} of {} calls failed", answers.len());
        recover(stack, &callers)?;
        let (change, mut known) = (Truth::read(stack).since(&before), callers.ledger());
        if self.loss == Loss::HandedOver {
            known.uncertain += earlier.ledger().answers();
        }
        let verdict = change.is_what(&known, self.loss).and_then(|()| change.fits_into(begun.elapsed()));
        verdict.with_context(|| format!("counted: {change:?}; the callers know: {known:?}"))?;
        Memory::of(stack)?.has_not_grown(memory, GROWTH)
    }

    fn may_fail(&self, way_in: WayIn) -> bool {
        match self.calls_fail {
            Failures::None => false,
            Failures::WithoutUs => true,
            Failures::InFlightOfFilter => way_in == WayIn::HttpFilter,
        }
    }
}

/// Nobody lends a hand: calls are answered and scrapes succeed again, or this is an error.
fn recover(stack: &Stack, callers: &Callers) -> Result<()> {
    wait_for("20 calls in a row are answered", RECOVERY, || {
        callers.call(vec![score(); 20]).iter().all(is_answered)
    })?;
    let up = || http::get(&stack.exporter, "/metrics").is_ok_and(|text| text.contains("\nscoretap_up 1\n"));
    wait_for("the exporter reads Envoy", RECOVERY, up)
}
