//! The plugins that share this VM, each with its configuration.
//!
//! Usually there is one. There are more where several listeners name the same module, and while a new configuration
//! replaces an old one: calls of the listener that is being drained are then counted as the new one says.

use scoretap_core::config::Config;
use scoretap_core::observe::Observer;

use crate::arena::Callback;
use crate::call::HostCall;
use crate::host::{self, Host};

pub(crate) struct Plugins(Vec<Plugin>);

struct Plugin {
    /// As an access logger Envoy gives this one; as an HTTP filter, one of the stream's own.
    root_context: u32,
    name: Box<[u8]>,
    observer: Observer,
}

impl Plugins {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn configure(&mut self, root_context: u32, size: usize, callback: &Callback) {
        let name: Box<[u8]> = name(callback).into();
        let observer = observer(host::plugin_configuration(size, callback).unwrap_or_default(), callback);
        self.0.retain(|plugin| plugin.name != name);
        self.0.push(Plugin { root_context, name, observer });
    }

    pub(crate) fn log(&mut self, context: u32, callback: &Callback) {
        #[cfg(feature = "trap")]
        trap_if_told(callback);
        if let Some(plugin) = self.of_context(context, callback) {
            plugin.observer.observe(&HostCall::fetch(callback), &Host(callback));
        }
    }

    /// The name is asked for only where there is a choice.
    fn of_context(&mut self, context: u32, callback: &Callback) -> Option<&mut Plugin> {
        let position = match self.0.as_slice() {
            [_] => Some(0),
            plugins => plugins.iter().position(|plugin| plugin.root_context == context).or_else(|| {
                let name = name(callback);
                plugins.iter().position(|plugin| *plugin.name == *name)
            }),
        };
        self.0.get_mut(position?)
    }
}

fn name(callback: &Callback) -> &[u8] {
    host::property("plugin_name", callback).unwrap_or_default()
}

fn observer(configuration: &[u8], callback: &Callback) -> Observer {
    // Every worker's VM is given the configuration; one of them speaks for all.
    const LAST_REFUSED: &str = "scoretap.refused";
    let said = host::shared(LAST_REFUSED, callback).unwrap_or_default();
    match Config::parse(configuration) {
        Ok(config) => {
            if !said.is_empty() {
                host::share(LAST_REFUSED, b"");
            }
            Observer::start(config, &Host(callback), host::time())
        }
        Err(faults) => {
            if said != configuration {
                host::share(LAST_REFUSED, configuration);
                faults.iter().for_each(|fault| host::log_error(&format!("scoretap configuration: {fault}")));
            }
            Observer::start_unconfigured(&Host(callback))
        }
    }
}

#[cfg(feature = "trap")]
fn trap_if_told(callback: &Callback) {
    use scoretap_core::observe::Call;
    if HostCall::fetch(callback).request_header("x-scoretap-trap").is_some() {
        std::process::abort();
    }
}
