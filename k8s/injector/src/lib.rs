//! Adds the Scoretap sidecar to pods that ask for it with an annotation.
//!
//! The sidecar is data (`sidecar.yaml`). This crate decides whether to add it, fills in the values for each pod, and
//! renders the same decision as an admission policy. If it cannot inject a pod, it leaves the pod unchanged and warns
//! how to fix it.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

pub mod annotations;
pub mod bootstrap;
mod dialect;
// It reaches Envoy through a Unix socket, but the command line also compiles for Windows.
#[cfg(unix)]
pub mod drain;
pub mod faults;
pub mod inject;
pub mod manifest;
pub mod moving;
pub mod pod;
pub mod policy;
pub mod ports;
pub mod quantity;
#[cfg(feature = "serve")]
pub mod serve;
pub mod settings;
pub mod sidecar;
pub mod slots;
pub mod yaml;
