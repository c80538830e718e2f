//! Envoy's memory over very many calls.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use scoretap_tests::child;

use super::kind::{Kind, Path};
use super::load;
use super::variant::Variant;

/// By then what is kept once per connection, series or thread is there.
pub(super) const SETTLED: usize = 100_000;
pub(super) const CALLS: usize = 1_000_000;
const CALLERS: usize = 64;

/// What Envoy holds with one way in, in kilobytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) variant: Variant,
    /// After [`SETTLED`] calls.
    pub(super) settled: f64,
    /// After [`CALLS`].
    pub(super) end: f64,
}

/// Measures both ways in.
pub(super) fn measure(app: SocketAddr) -> Result<Vec<Memory>> {
    [Variant::Logger, Variant::Filter].into_iter().map(|variant| of(variant, app)).collect()
}

fn of(variant: Variant, app: SocketAddr) -> Result<Memory> {
    eprintln!("{CALLS} calls: {}", variant.title());
    let stack = variant.start(&format!("bench-memory-{variant:?}"), app, 2)?;
    let pid = stack.envoy_pid().context("Envoy is gone")?;
    let after = |calls| {
        load::run(stack.address, &Kind::Get.request(Path::Matched), CALLERS, calls)?;
        anyhow::Ok(child::memory(pid)? as f64)
    };
    Ok(Memory { variant, settled: after(SETTLED)?, end: after(CALLS - SETTLED)? })
}
