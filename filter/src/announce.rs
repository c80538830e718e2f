//! Announces the configuration in force, in gauges that all VMs of an Envoy share.
//!
//! Envoy may return to a plugin that it was draining, or reject a listener whose plugin was already configured, without
//! telling the module. So the configuration in force is the one under which the last call was counted. If its plugin is
//! deleted, it is the one that was announced before.

use std::cell::Cell;

use scoretap_core::observe::Observer;
use scoretap_core::series::{Expected, Read, SharedData, Write};
use scoretap_host::{self as host, Host};

/// Each VM repeats its announcement after this many calls. Otherwise a configuration that Envoy tried in one VM and
/// then rejected would stay announced, because the other VMs do not learn of it.
const CALLS_BETWEEN_ANNOUNCEMENTS: u32 = 1_000;
/// The minimum time between announcements of different configurations, in nanoseconds, even if their calls alternate.
const PAUSE: u64 = 1_000_000_000;
/// How often a number is taken again because another VM was faster.
const ATTEMPTS: u32 = 4;

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

/// Announces the configuration of the plugin with this context. Returns the announcement's number, which grows.
pub(crate) fn announce(plugin: u32, observer: &mut Observer) -> u64 {
    LAST.set(Announcement { plugin: Some(plugin), time: host::time(), calls_since: 0 });
    let number = next_number();
    observer.announce(&Host, number);
    number
}

/// Whether an announcement is due. Called before a call of the plugin is counted.
pub(crate) fn is_due(plugin: u32) -> bool {
    let mut last = LAST.get();
    last.calls_since = last.calls_since.saturating_add(1);
    LAST.set(last);
    match last.plugin {
        None => true,
        Some(announced) if announced == plugin => last.calls_since >= CALLS_BETWEEN_ANNOUNCEMENTS,
        Some(_) => host::time().abs_diff(last.time) >= PAUSE,
    }
}

/// Whether this VM announced the plugin last.
pub(crate) fn is_last(plugin: u32) -> bool {
    LAST.get().plugin == Some(plugin)
}

/// The number of the next announcement: the time, or one more than the last number of any VM if the clock was set back.
/// So the newest announcement has the highest number.
fn next_number() -> u64 {
    const KEY: &str = "scoretap.announced";
    let mut number = host::time();
    for _ in 0..ATTEMPTS {
        let (last, expected) = match Host.get(KEY) {
            Read::Found { value, version } => {
                (value.try_into().ok().map(u64::from_le_bytes), Expected::Version(version))
            }
            Read::Absent => (None, Expected::Absent),
            Read::Failed => break,
        };
        number = number.max(last.map_or(0, |last| last.saturating_add(1)));
        if Host.set(KEY, &number.to_le_bytes(), expected) != Write::Conflict {
            break;
        }
    }
    number
}
