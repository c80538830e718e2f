//! The proxy-wasm module: a finished call is read from Envoy, counted by [`scoretap_core`], and that is all.
//!
//! It speaks the proxy-wasm ABI itself instead of through the `proxy-wasm` crate, for three reasons. That crate
//! panics on a host status that it does not expect, and a panic is a trap. It exports every callback there is, and
//! Envoy enters the VM for each exported one. And it keeps a context for each stream with what it may need, where this
//! module needs to know whose the stream is.

#![cfg(target_family = "wasm")]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[cfg(feature = "allocations")]
mod allocations;
mod arena;
mod call;
#[cfg(feature = "callbacks")]
mod callbacks;
mod host;
mod plugins;

use std::cell::RefCell;

use plugins::Plugins;

thread_local! {
    static PLUGINS: RefCell<Plugins> = RefCell::default();
}

/// Says which ABI this is, by being there.
#[expect(unsafe_code, reason = "an export")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// Runs what the linker wants to be run once. Without it, it would run around every callback.
#[expect(unsafe_code, reason = "an export, and a symbol of the linker's")]
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: defined by wasm-ld in every module, and called once, before anything else.
    unsafe { __wasm_call_ctors() }
}

/// Room for what the host returns.
#[expect(unsafe_code, reason = "an export")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    arena::allocate(size)
}

/// A plugin is configured. Always accepted: Envoy would refuse to start, or to serve, if it were not.
#[expect(unsafe_code, reason = "an export")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(root_context: u32, configuration_size: usize) -> u32 {
    let callback = arena::Callback::begin();
    PLUGINS.with(|plugins| {
        if let Ok(mut plugins) = plugins.try_borrow_mut() {
            plugins.configure(root_context, configuration_size, &callback);
        }
    });
    1
}

/// Envoy begins with a plugin, or with a stream of one.
#[expect(unsafe_code, reason = "an export")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(context: u32, root_context: u32) {
    PLUGINS.with(|plugins| {
        if let Ok(mut plugins) = plugins.try_borrow_mut() {
            plugins.begin(context, root_context);
        }
    });
}

/// A call is over.
#[expect(unsafe_code, reason = "an export")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_log(context: u32) {
    let callback = arena::Callback::begin();
    PLUGINS.with(|plugins| {
        if let Ok(mut plugins) = plugins.try_borrow_mut() {
            plugins.log(context, &callback);
        }
    });
}
