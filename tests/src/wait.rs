//! Waiting for a condition, never for a while.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Long enough for a process to start on a busy machine.
pub const STARTUP: Duration = Duration::from_secs(30);

/// Between two looks. It grows with the time that has passed: who has waited for seconds need not know to the millisecond,
/// and each look may be a call of a busy server.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Panics where `condition` does not come true before the deadline. For tests.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, condition: impl FnMut() -> bool) {
    if let Err(error) = wait_for(what, deadline, condition) {
        panic!("{error}");
    }
}

/// As [`wait_until`], with an error in place of the panic.
pub fn wait_for(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > deadline {
            bail!("waited {:.1} s in vain until {what}", deadline.as_secs_f64());
        }
        std::thread::sleep((start.elapsed() / 20).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
    }
    Ok(())
}
