//! The proxy-wasm module: reads a finished call from Envoy and counts it with [`scoretap_core`].
//!
//! The `proxy-wasm` crate keeps the contexts. It panics if the host names a context that does not exist. Envoy never
//! does: it creates a context before any other callback for it, never reuses the id of a live one, deletes it once, and
//! keeps a plugin until its last stream is deleted.

#![cfg(target_family = "wasm")]
#![expect(missing_docs, reason = "the macro below exports a function without docs")]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[cfg(feature = "allocations")]
mod allocations;
mod announce;
mod call;
mod faults;
mod plugin;

use plugin::Plugin;

proxy_wasm::main! {{
    scoretap_host::logger::install();
    proxy_wasm::set_root_context(|context| Box::new(Plugin::new(context)));
}}
