//! The core's suite, run here and, compiled to WebAssembly, in Node.
//!
//! Tests of counts are in the workspace's `tests/tests/module`, where the same cases run through the packaged module.

#[cfg(not(target_family = "wasm"))]
mod bodies;
#[cfg(not(target_family = "wasm"))]
mod calls;
mod config;
mod histogram;
#[cfg(not(target_family = "wasm"))]
mod laws;
mod name;
mod outcome;
mod route;
mod series;
