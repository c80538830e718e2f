//! Announces the configuration in force, in gauges that all VMs of an Envoy share.
//!
//! Envoy may return to a plugin that it was draining, or reject a listener whose plugin was already configured, without
//! telling the module. So the configuration in force is the one under which the last call was counted.

use std::cell::Cell;

use scoretap_core::observe::Observer;
use scoretap_core::series::{Expected, Read, SharedData};

use crate::host::{self, Host};

/// A VM in which Envoy tried a configuration that it then rejected has announced that one, and no other VM learns of it.
/// So each VM repeats its announcement after this many calls.
const CALLS_BETWEEN_ANNOUNCEMENTS: u32 = 1_000;
/// The least time between announcements of different configurations, in nanoseconds, however their calls alternate.
const PAUSE: u64 = 1_000_000_000;

thread_local! {
    static LAST: Cell<Announcement> = Cell::default();
}

/// The last announcement of this VM.
#[derive(Clone, Copy, Default)]
struct Announcement {
    /// The plugin's context.
    plugin: Option<u32>,
    time: u64,
    calls_since: u32,
}

/// Announces the configuration of a plugin, whose context is given.
pub(crate) fn announce(plugin: u32, observer: &mut Observer) {
    LAST.set(Announcement { plugin: Some(plugin), time: host::time(), calls_since: 0 });
    observer.announce(&Host, next_number());
}

/// The same if it is due, before a call of the plugin is counted.
pub(crate) fn announce_if_due(plugin: u32, observer: &mut Observer) {
    let mut last = LAST.get();
    last.calls_since = last.calls_since.saturating_add(1);
    LAST.set(last);
    let is_due = match last.plugin {
        None => true,
        Some(announced) if announced == plugin => last.calls_since >= CALLS_BETWEEN_ANNOUNCEMENTS,
        Some(_) => host::time().abs_diff(last.time) >= PAUSE,
    };
    if is_due {
        announce(plugin, observer);
    }
}

/// The time, or one more than the last announcement of any VM if the clock was set back: the newest has the highest
/// number.
fn next_number() -> u64 {
    const KEY: &str = "scoretap.announced";
    let (last, expected) = match Host.get(KEY) {
        Read::Found { value, version } => {
            (value.try_into().ok().map(u64::from_le_bytes), Expected::Version(version))
        }
        Read::Absent | Read::Failed => (None, Expected::Absent),
    };
    let number = host::time().max(last.map_or(0, |last| last.saturating_add(1)));
    Host.set(KEY, &number.to_le_bytes(), expected);
    number
}
