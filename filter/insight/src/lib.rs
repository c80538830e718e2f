//! The second proxy-wasm module: reads bodies as they pass and leaves a record of each call for the first module.
//!
//! Every callback lets Envoy go on at once, and nothing is buffered or changed. A trap would cut every stream in flight
//! on the worker, so no code here may panic.

#![cfg(target_family = "wasm")]
#![expect(missing_docs, reason = "the macro below exports a function without docs")]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod answer;
mod pieces;
mod plugin;
mod request;
mod stream;
mod windows;

use plugin::Plugin;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Plugin::default()));
}}
