//! Logs the faults of an invalid configuration, once for all workers.

use std::cell::Cell;

use scoretap_core::config::{Config, Fault};
use scoretap_core::series::{Expected, Read, SharedData, Write};

use crate::host::Host;

/// How many faults are logged. More are only counted, so that a large configuration does not flood the log.
const MOST_LINES: usize = 100;
/// Rejected configurations that a VM remembers.
const MOST_REMEMBERED: usize = 16;

/// A rejected configuration, by its hash, and how often this VM was given it.
struct Rejected {
    hash: u64,
    times: u32,
}

thread_local! {
    static REJECTED: Cell<Vec<Rejected>> = const { Cell::new(Vec::new()) };
}

/// Parses a configuration, or logs its faults.
pub(crate) fn parse(configuration: &[u8]) -> Option<Config> {
    match Config::parse(configuration) {
        Ok(config) => Some(config),
        Err(faults) => {
            let hash = hash(configuration);
            if is_first_worker(hash, times_rejected(hash)) {
                log_faults(&faults);
            }
            None
        }
    }
}

fn times_rejected(hash: u64) -> u32 {
    let mut rejected = REJECTED.take();
    let position = rejected.iter().position(|other| other.hash == hash);
    let before = position.map_or(0, |position| rejected.remove(position).times);
    let times = before.saturating_add(1);
    if rejected.len() >= MOST_REMEMBERED {
        rejected.remove(0);
    }
    rejected.push(Rejected { hash, times });
    REJECTED.set(rejected);
    times
}

/// Each worker gets a configuration as often as the operator sends it. The first worker to get it logs its faults.
fn is_first_worker(hash: u64, times: u32) -> bool {
    let key = format!("scoretap.refused.{hash}");
    let (logged, expected) = match Host.get(&key) {
        Read::Found { value, version } => {
            (value.try_into().map_or(0, u32::from_le_bytes), Expected::Version(version))
        }
        Read::Absent => (0, Expected::Absent),
        // Rather log twice than never.
        Read::Failed => return true,
    };
    times > logged && Host.set(&key, &times.to_le_bytes(), expected) != Write::Conflict
}

/// FNV-1a, the same in every VM.
fn hash(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

fn log_faults(faults: &[Fault]) {
    for fault in faults.iter().take(MOST_LINES) {
        log::error!("scoretap configuration: {fault}");
    }
    if let Some(more) = faults.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        log::error!("scoretap configuration: and {more} faults more");
    }
}
