//! Logs the faults of an invalid configuration, once for all workers.

use scoretap_core::config::{Config, Fault};
use scoretap_core::series::{Expected, Read, SharedData, Write};
use scoretap_host::Host;

/// How many faults are logged. More are only counted, so that a large configuration does not flood the log.
const MOST_LINES: usize = 100;

/// Parses a configuration, or logs its faults.
pub(crate) fn parse(configuration: &[u8]) -> Result<Config, Rejected> {
    Config::parse(configuration).map_err(|faults| {
        let (rejected, is_first) = Rejected::enter(configuration);
        if is_first {
            log_faults(&faults);
        }
        rejected
    })
}

/// An invalid configuration that a plugin was given, until the plugin ends or gets another one.
///
/// VMs share a counter for each. It is odd while the configuration is in use and its faults are logged, and even after
/// a plugin gave it up, so that the faults are logged again if it returns. A VM that is reloaded finds an odd counter.
pub(crate) struct Rejected {
    key: String,
    /// The odd value of the counter.
    in_use: u32,
}

impl Rejected {
    /// Also returns whether no other plugin has it in use.
    fn enter(configuration: &[u8]) -> (Self, bool) {
        let key = format!("scoretap.refused.{}", hash(configuration));
        let (counter, expected) = match Host.get(&key) {
            Read::Found { value, version } => {
                (value.try_into().map_or(0, u32::from_le_bytes), Expected::Version(version))
            }
            Read::Absent => (0, Expected::Absent),
            // Rather log twice than never.
            Read::Failed => return (Self { key, in_use: 1 }, true),
        };
        let in_use = counter | 1;
        // In a conflict, another VM has written this value and logs.
        let is_first =
            counter != in_use && Host.set(&key, &in_use.to_le_bytes(), expected) != Write::Conflict;
        (Self { key, in_use }, is_first)
    }
}

impl Drop for Rejected {
    /// Only the first plugin that gives the configuration up changes the counter, because its workers may already have
    /// been given the configuration again.
    fn drop(&mut self) {
        if let Read::Found { value, version } = Host.get(&self.key)
            && value == self.in_use.to_le_bytes()
        {
            let given_up = self.in_use.wrapping_add(1);
            Host.set(&self.key, &given_up.to_le_bytes(), Expected::Version(version));
        }
    }
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
