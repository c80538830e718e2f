//! Contexts: a plugin with its configuration, and the streams that it filters.
//!
//! As an access logger, Envoy reports each call in the plugin's own context; as an HTTP filter, in the stream's. Several
//! plugins share a VM if several listeners name the module, and while a new configuration replaces an old one.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use scoretap_core::observe::Observer;

use crate::announce::{announce, announce_if_due};
use crate::call::HostCall;
use crate::faults;
use crate::host::{self, Host};

/// One plugin, from its creation to its deletion.
pub(crate) struct Plugin(Rc<Counting>);

/// A plugin's counting, shared with its streams.
struct Counting {
    context: u32,
    /// `None` until the plugin is configured.
    observer: RefCell<Option<Observer>>,
}

/// One call that passes the HTTP filter. It is counted under the configuration under which it began.
struct Stream(Rc<Counting>);

impl Plugin {
    pub(crate) fn new(context: u32) -> Self {
        Self(Rc::new(Counting { context, observer: RefCell::default() }))
    }
}

impl Context for Plugin {}

impl RootContext for Plugin {
    /// Always accepts: Envoy would reject the listener, or stop serving, if the plugin did not.
    fn on_configure(&mut self, size: usize) -> bool {
        let configuration = host::plugin_configuration(size).unwrap_or_default();
        self.0.configure(&configuration);
        true
    }

    fn on_log(&mut self) {
        self.0.count();
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream(Rc::clone(&self.0))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_log(&mut self) {
        self.0.count();
    }
}

impl Counting {
    fn configure(&self, configuration: &[u8]) {
        let Ok(mut observer) = self.observer.try_borrow_mut() else { return };
        let observer = observer.insert(Observer::new(faults::parse(configuration)));
        announce(self.context, observer);
    }

    /// Counts the call whose log callback is running.
    fn count(&self) {
        let call = HostCall::default();
        #[cfg(feature = "trap")]
        trap_on_request(&call);
        let Ok(mut observer) = self.observer.try_borrow_mut() else { return };
        let Some(observer) = observer.as_mut() else { return };
        announce_if_due(self.context, observer);
        observer.observe(&call, &Host);
    }
}

#[cfg(feature = "trap")]
fn trap_on_request(call: &HostCall) {
    use scoretap_core::observe::Call;
    if call.request_header("x-scoretap-trap").is_some() {
        std::process::abort();
    }
}
