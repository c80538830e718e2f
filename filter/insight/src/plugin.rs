//! A plugin with its configuration.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use scoretap_core::config::Config;
use scoretap_core::name::Stat;
use scoretap_core::observe::{CounterId, Stats};
use scoretap_host::{self as host, Host};
use scoretap_scan::columns::Column;

use crate::stream::Stream;

/// One plugin, from its creation to its deletion.
#[derive(Default)]
pub(crate) struct Plugin {
    /// `None` until the plugin is configured with a valid configuration.
    config: RefCell<Option<Rc<Reading>>>,
}

/// The configuration of a plugin, shared with its streams.
pub(crate) struct Reading {
    pub(crate) config: Config,
    seen: Cell<Option<CounterId>>,
    lost: Cell<Option<CounterId>>,
}

impl Reading {
    /// The columns of the input whose values are counted.
    pub(crate) fn columns(&self) -> &[Column] {
        self.config.insight().map_or(&[], |insight| &insight.columns)
    }

    /// Counts a call on one of the routes.
    pub(crate) fn count_call(&self) {
        count(&self.seen, &Stat::InsightSeen);
    }

    /// Counts a record that Envoy did not take, so that the first module does not count what it holds.
    pub(crate) fn count_lost_record(&self) {
        count(&self.lost, &Stat::InsightLost);
    }
}

/// Adds 1 to a counter, which the first call defines.
fn count(id: &Cell<Option<CounterId>>, stat: &Stat<'_>) {
    let counter = id.get().or_else(|| {
        let mut name = String::new();
        stat.encode(&mut name);
        Host.counter(&name)
    });
    id.set(counter);
    counter.into_iter().for_each(|counter| Host.add(counter, 1));
}

impl Context for Plugin {}

impl RootContext for Plugin {
    /// Always accepts: Envoy would reject the listener, or stop serving, if the plugin did not. The first module logs
    /// the faults of a configuration.
    fn on_configure(&mut self, size: usize) -> bool {
        let configuration = host::plugin_configuration(size).unwrap_or_default();
        let config = Config::parse(&configuration).ok().filter(|config| config.insight().is_some());
        let reading =
            config.map(|config| Rc::new(Reading { config, seen: Cell::default(), lost: Cell::default() }));
        self.config.replace(reading);
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let reading = self.config.try_borrow().map_or(None, |reading| reading.clone());
        Some(Box::new(Stream::new(reading)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
