//! Compares the exporter's counts at a quiet moment with the callers' own record.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Loss;
use super::callers::{AT_ONCE, Ledger, Tally};
use crate::child;
use crate::exposition::Exposition;
use crate::stack::Stack;

/// The most concurrent callers of any fault, and so the most seconds of calls in a second.
const MOST_CALLERS: f64 = 16.0;

/// The counts of all calls so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Truth {
    seen: f64,
    unmatched: f64,
    by_envoy: f64,
    codes: Tally,
    statuses: Tally,
    seconds: f64,
}

impl Truth {
    pub(super) fn read(stack: &Stack) -> Self {
        stack.settle();
        let metrics = stack.metrics();
        Self {
            seen: metrics.sum("scoretap_calls_seen_total", &[]),
            unmatched: metrics.sum("scoretap_calls_seen_total", &[("result", "unmatched")]),
            by_envoy: metrics.sum("scoretap_envoy_requests_total", &[]),
            codes: tally(&metrics, "prediction_responses_total", "code"),
            statuses: tally(&metrics, "prediction_requests_total", "status"),
            seconds: metrics.sum("prediction_duration_seconds_sum", &[]),
        }
    }

    /// The difference since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let grown = |now: &Tally, before: &Tally| {
            now.iter().map(|(key, value)| (key.clone(), value - of(before, key))).collect()
        };
        Self {
            seen: self.seen - before.seen,
            unmatched: self.unmatched - before.unmatched,
            by_envoy: self.by_envoy - before.by_envoy,
            codes: grown(&self.codes, &before.codes),
            statuses: grown(&self.statuses, &before.statuses),
            seconds: self.seconds - before.seconds,
        }
    }

    /// Checks that every answer is counted under its code and status, except what `loss` allows, and that no more
    /// calls are counted than callers made. Of `at_risk` answers an old Envoy process may have held the counts.
    pub(super) fn is_what(&self, callers: &Ledger, loss: Loss, at_risk: f64) -> Result<()> {
        let gap = self.by_envoy - self.seen;
        let (lost, unseen) = match loss {
            Loss::Nothing => (0.0, 0.0),
            Loss::Unmatched => (self.unmatched, 0.0),
            Loss::Unseen => (gap, gap),
            Loss::OldProcess => (at_risk, 0.0),
            // Calls that were in flight when the old Envoy handed over end uncounted.
            Loss::HandedOver => (at_risk, gap.clamp(0.0, AT_ONCE.into())),
        };
        ensure!(gap == unseen, "{} calls seen of {}", self.seen, self.by_envoy);
        ensure!(loss == Loss::Nothing || lost > 0.0, "nothing was lost, so the fault did not happen");
        for (counted, known) in [(&self.codes, &callers.codes), (&self.statuses, &callers.statuses)] {
            let (missing, surplus) = (excess(known, counted), excess(counted, known));
            ensure!(missing <= lost, "{missing} calls are missing, at most {lost} may be");
            ensure!(surplus <= callers.uncertain, "{surplus} more calls are counted than were made");
        }
        Ok(())
    }

    /// Durations are those of a clock that never steps.
    pub(super) fn fits_into(&self, elapsed: Duration) -> Result<()> {
        let most = elapsed.as_secs_f64() * MOST_CALLERS;
        ensure!(self.seconds <= most, "calls took {} s within {} s", self.seconds, elapsed.as_secs_f64());
        Ok(())
    }
}

fn tally(metrics: &Exposition, family: &str, label: &str) -> Tally {
    let mut tally = BTreeMap::new();
    for (labels, value) in metrics.select(family, &[]) {
        *tally.entry(labels.get(label).cloned().unwrap_or_default()).or_default() += value;
    }
    tally
}

fn of(tally: &Tally, key: &str) -> f64 {
    tally.get(key).copied().unwrap_or(0.0)
}

/// The sum by which `one` exceeds `other`.
fn excess(one: &Tally, other: &Tally) -> f64 {
    one.iter().fold(0.0, |sum, (key, value)| sum + (value - of(other, key)).max(0.0))
}

/// The memory of our two processes, in kilobytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Envoy, all of it.
    pub envoy: u64,
    /// The exporter.
    pub exporter: u64,
}

impl Memory {
    /// Now.
    pub fn of(stack: &Stack) -> Result<Self> {
        Ok(Self {
            envoy: child::memory(stack.envoy_pid().context("Envoy is gone")?)?,
            exporter: child::memory(stack.exporter_pid().context("the exporter is gone")?)?,
        })
    }

    /// Neither may hold this much more than `before`.
    pub fn has_not_grown(&self, before: Self, limit: Self) -> Result<()> {
        for (who, now, before, limit) in [
            ("Envoy", self.envoy, before.envoy, limit.envoy),
            ("the exporter", self.exporter, before.exporter, limit.exporter),
        ] {
            let grown = now.saturating_sub(before);
            ensure!(grown < limit, "{who} has grown by {grown} KB, to {now}; {limit} are allowed");
        }
        Ok(())
    }
}
