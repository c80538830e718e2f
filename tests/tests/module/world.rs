//! The state that VMs share in Envoy: the stat store, shared data, the log, and a clock that stands still.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// One Envoy process, for all VMs that are given it.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    /// Counters and gauges by name, as Envoy would list them (without `wasmcustom.`).
    pub(crate) stats: BTreeMap<String, u64>,
    /// The meaning of a VM's metric ids.
    pub(crate) metrics: Vec<String>,
    pub(crate) shared: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    pub(crate) log: Vec<String>,
    pub(crate) time: u64,
    /// Host functions that answer with a status other than "ok".
    pub(crate) failing: HashMap<&'static str, u32>,
    /// Another VM writes this key and value just before the next write.
    pub(crate) overtaken: Option<(Vec<u8>, Vec<u8>)>,
    /// How often each host function was called.
    pub(crate) calls: BTreeMap<&'static str, u32>,
}

impl World {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn fail(&self, function: &'static str, status: u32) {
        self.lock().failing.insert(function, status);
    }

    /// The value of a counter or gauge; 0 where there is none.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        self.lock().stats.get(name).copied().unwrap_or(0)
    }

    /// All counters that begin so, with their values.
    pub(crate) fn stats(&self, prefix: &str) -> Vec<(String, u64)> {
        let state = self.lock();
        let of_prefix = state.stats.iter().filter(|(name, _)| name.starts_with(prefix));
        of_prefix.map(|(name, value)| (name.clone(), *value)).collect()
    }

    /// The sum of all counters that begin so.
    pub(crate) fn sum(&self, prefix: &str) -> u64 {
        self.stats(prefix).iter().map(|(_, value)| value).sum()
    }
}

impl State {
    pub(crate) fn define(&mut self, name: String) -> u32 {
        self.stats.entry(name.clone()).or_insert(0);
        self.metrics.push(name);
        u32::try_from(self.metrics.len() * 4).unwrap()
    }

    pub(crate) fn metric(&mut self, id: u32) -> Option<&mut u64> {
        let name = self.metrics.get(usize::try_from(id / 4).unwrap().checked_sub(1)?)?;
        self.stats.get_mut(name)
    }

    pub(crate) fn get_shared_data(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.shared.get(key).cloned()
    }

    /// As Envoy does it: versions are compared only if the key exists, and 0 means any.
    pub(crate) fn set_shared_data(&mut self, key: &[u8], value: &[u8], version: u32) -> bool {
        if let Some((key, value)) = self.overtaken.take() {
            self.set_shared_data(&key, &value, 0);
        }
        if self.shared.get(key).is_some_and(|(_, current)| version != 0 && version != *current) {
            return false;
        }
        let next = self.shared.values().map(|(_, version)| *version).max().unwrap_or(0) + 1;
        self.shared.insert(key.to_vec(), (value.to_vec(), next));
        true
    }
}
