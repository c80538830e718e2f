//! The plugins that share this VM, each with its configuration, and the streams of each.
//!
//! Usually there is one plugin. There are more where several listeners name the same module, and while a new
//! configuration replaces an old one. Envoy may go back to an old one, or refuse a listener whose plugin was already
//! configured, without a word to the module: so a plugin is told by its context and nothing else, and what is
//! announced is the configuration under which a call was last seen.

use hashbrown::HashMap;

use scoretap_core::config::{Config, Fault};
use scoretap_core::observe::Observer;
use scoretap_core::series::{Expected, Read, SharedData, Write};

use crate::arena::Callback;
use crate::call::HostCall;
use crate::host::{self, Host};

/// More than Envoy drains at a time. It does not say when it is done with one, at least not without a callback for
/// every stream.
const KEPT: usize = 16;
/// What is in force is announced again after so many calls: a VM in which Envoy tried a configuration that it then
/// refused has announced that one, and nobody tells it, or the others.
const CALLS_OF_AN_ANNOUNCEMENT: u32 = 1_000;
/// Nanoseconds between two announcements of different configurations, however their calls alternate.
const PAUSE: u64 = 1_000_000_000;
/// What is wrong with a large configuration is said in fewer lines than its own.
const MOST_FAULTS_SAID: usize = 100;

#[derive(Default)]
pub(crate) struct Plugins {
    /// The one that is in force last.
    plugins: Vec<Plugin>,
    /// As an HTTP filter, each stream has a context of its own, from its beginning to its log.
    plugin_of_stream: HashMap<u32, u32>,
    announced: Option<u32>,
    announced_at: u64,
    calls_since: u32,
    /// Hashes of refused configurations, and how often this VM was given each.
    refused: Vec<(u64, u32)>,
}

struct Plugin {
    context: u32,
    observer: Observer,
}

impl Plugins {
    pub(crate) fn configure(&mut self, context: u32, size: usize, callback: &Callback) {
        let configuration = host::plugin_configuration(size, callback).unwrap_or_default();
        let observer = Observer::new(self.parsed(configuration, callback));
        self.plugins.retain(|plugin| plugin.context != context);
        if self.plugins.len() >= KEPT {
            self.plugins.remove(0);
        }
        self.plugins.push(Plugin { context, observer });
        self.announced = None;
        self.announce(context, callback);
    }

    pub(crate) fn begin(&mut self, context: u32, plugin_context: u32) {
        // A plugin itself is the child of nothing.
        if plugin_context != 0 {
            self.plugin_of_stream.insert(context, plugin_context);
        }
    }

    pub(crate) fn log(&mut self, context: u32, callback: &Callback) {
        #[cfg(feature = "trap")]
        trap_if_told(callback);
        let context = self.plugin_of(context);
        self.announce(context, callback);
        if let Some(plugin) = self.of_context(context) {
            plugin.observer.observe(&HostCall(callback), &Host(callback));
        }
    }

    /// As an access logger the module is told of calls in the plugin's own context, and there are no streams.
    fn plugin_of(&mut self, context: u32) -> u32 {
        let of_stream =
            if self.plugin_of_stream.is_empty() { None } else { self.plugin_of_stream.remove(&context) };
        of_stream.unwrap_or(context)
    }

    fn announce(&mut self, context: u32, callback: &Callback) {
        self.keep(context);
        self.calls_since = self.calls_since.saturating_add(1);
        let is_due = match self.announced {
            None => true,
            Some(announced) if announced == context => self.calls_since >= CALLS_OF_AN_ANNOUNCEMENT,
            Some(_) => host::time().abs_diff(self.announced_at) >= PAUSE,
        };
        if !is_due {
            return;
        }
        self.announced = Some(context);
        self.announced_at = host::time();
        self.calls_since = 0;
        if let Some(plugin) = self.of_context(context) {
            plugin.observer.announce(&Host(callback), announcement(callback));
        }
    }

    /// Moves a plugin to the end of the list, from whose beginning plugins are forgotten.
    fn keep(&mut self, context: u32) {
        if self.plugins.last().is_some_and(|last| last.context == context) {
            return;
        }
        if let Some(position) = self.plugins.iter().position(|plugin| plugin.context == context) {
            let plugin = self.plugins.remove(position);
            self.plugins.push(plugin);
        }
    }

    fn parsed(&mut self, configuration: &[u8], callback: &Callback) -> Option<Config> {
        match Config::parse(configuration) {
            Ok(config) => Some(config),
            Err(faults) => {
                if self.is_first_to_refuse(configuration, callback) {
                    say(&faults);
                }
                None
            }
        }
    }

    /// Every worker is given every configuration, as often as the operator sends it. The first worker logs its faults.
    fn is_first_to_refuse(&mut self, configuration: &[u8], callback: &Callback) -> bool {
        let hash = hash(configuration);
        let position = self.refused.iter().position(|(other, _)| *other == hash);
        let (_, before) = position.map_or((hash, 0), |position| self.refused.remove(position));
        let times = before.saturating_add(1);
        if self.refused.len() >= KEPT {
            self.refused.remove(0);
        }
        self.refused.push((hash, times));
        let key = format!("scoretap.refused.{hash}");
        let (logged, expected) = match Host(callback).get(&key) {
            Read::Found { value, version } => {
                let logged = value.try_into().map_or(0, u32::from_le_bytes);
                (logged, Expected::Version(version))
            }
            Read::Absent => (0, Expected::Absent),
            // Better twice than never.
            Read::Failed => return true,
        };
        let is_first = times > logged;
        is_first && Host(callback).set(&key, &times.to_le_bytes(), expected) != Write::Conflict
    }

    /// The calls of a plugin that is kept no longer are for that which is in force.
    fn of_context(&mut self, context: u32) -> Option<&mut Plugin> {
        let position = self.plugins.iter().position(|plugin| plugin.context == context);
        match position {
            Some(position) => self.plugins.get_mut(position),
            None => self.plugins.last_mut(),
        }
    }
}

/// The time, or if the clock was set back, one more than the last announcement of any VM: the newest has the highest
/// number.
fn announcement(callback: &Callback) -> u64 {
    const LAST_ANNOUNCED: &str = "scoretap.announced";
    let (last, expected) = match Host(callback).get(LAST_ANNOUNCED) {
        Read::Found { value, version } => {
            (value.try_into().ok().map(u64::from_le_bytes), Expected::Version(version))
        }
        Read::Absent | Read::Failed => (None, Expected::Absent),
    };
    let number = host::time().max(last.map_or(0, |last| last.saturating_add(1)));
    Host(callback).set(LAST_ANNOUNCED, &number.to_le_bytes(), expected);
    number
}

/// FNV-1a, the same in every VM.
fn hash(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

fn say(faults: &[Fault]) {
    for fault in faults.iter().take(MOST_FAULTS_SAID) {
        host::log_error(&format!("scoretap configuration: {fault}"));
    }
    if let Some(more) = faults.len().checked_sub(MOST_FAULTS_SAID).filter(|more| *more > 0) {
        host::log_error(&format!("scoretap configuration: and {more} faults more"));
    }
}

#[cfg(feature = "trap")]
fn trap_if_told(callback: &Callback) {
    use scoretap_core::observe::Call;
    if HostCall(callback).request_header("x-scoretap-trap").is_some() {
        std::process::abort();
    }
}
