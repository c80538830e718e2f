//! Contexts: a plugin with its configuration, and the streams that it filters.
//!
//! As an access logger, Envoy reports each call in the plugin's own context; as an HTTP filter, in the stream's. Several
//! plugins share a VM if several listeners name the module, and while a new configuration replaces an old one.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use scoretap_core::observe::Observer;
use scoretap_host::{self as host, Host};

use crate::announce;
use crate::call::HostCall;
use crate::faults::{self, Rejected};

/// One plugin, from its creation to its deletion.
pub(crate) struct Plugin(Rc<Counting>);

/// A plugin's counting, shared with its streams.
struct Counting {
    context: u32,
    /// `None` until the plugin is configured.
    observer: RefCell<Option<Observer>>,
    /// Kept between calls for its memory alone.
    call: RefCell<HostCall>,
    /// Its configuration, if that is invalid.
    rejected: Cell<Option<Rejected>>,
    /// The number of its last announcement.
    announced: Cell<u64>,
}

thread_local! {
    /// The plugins of this VM.
    static PLUGINS: Cell<Vec<Weak<Counting>>> = const { Cell::new(Vec::new()) };
}

/// One call that passes the HTTP filter. It is counted under the configuration under which it began.
struct Stream(Rc<Counting>);

impl Plugin {
    pub(crate) fn new(context: u32) -> Self {
        let counting = Rc::new(Counting {
            context,
            observer: RefCell::default(),
            call: RefCell::default(),
            rejected: Cell::default(),
            announced: Cell::default(),
        });
        let mut plugins = PLUGINS.take();
        plugins.retain(|plugin| plugin.strong_count() > 0);
        plugins.push(Rc::downgrade(&counting));
        PLUGINS.set(plugins);
        Self(counting)
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
        drop(self.rejected.take());
        let config = faults::parse(configuration).map_err(|rejected| self.rejected.set(Some(rejected)));
        self.announce(observer.insert(Observer::new(config.ok())));
    }

    fn announce(&self, observer: &mut Observer) {
        self.announced.set(announce::announce(self.context, observer));
    }

    /// Counts the call whose log callback is running.
    fn count(&self) {
        let Ok(mut call) = self.call.try_borrow_mut() else { return };
        #[cfg(feature = "trap")]
        trap_on_request(&call);
        let Ok(mut observer) = self.observer.try_borrow_mut() else { return };
        let Some(observer) = observer.as_mut() else { return };
        if announce::is_due(self.context) {
            self.announce(observer);
        }
        observer.observe(&*call, &Host);
        call.clear();
    }
}

impl Drop for Counting {
    /// The configuration of a deleted plugin must not stay announced.
    fn drop(&mut self) {
        if !announce::is_last(self.context) {
            return;
        }
        let plugins = PLUGINS.take();
        let latest = plugins.iter().filter_map(Weak::upgrade).max_by_key(|plugin| plugin.announced.get());
        PLUGINS.set(plugins);
        let Some(survivor) = latest else { return };
        let Ok(mut observer) = survivor.observer.try_borrow_mut() else { return };
        if let Some(observer) = observer.as_mut() {
            survivor.announce(observer);
        }
    }
}

#[cfg(feature = "trap")]
fn trap_on_request(call: &HostCall) {
    use scoretap_core::observe::Call;
    if call.request_header("x-scoretap-trap").is_some() {
        std::process::abort();
    }
}
