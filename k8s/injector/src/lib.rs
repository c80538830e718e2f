//! Adds the Scoretap sidecar to pods that ask for it with an annotation.
//!
//! What is added is data (`sidecar.yaml`). This crate decides whether to add it, fills in what differs from pod to pod, and
//! renders the same decision as an admission policy. A pod that it cannot inject stays as it is, with a warning that says
//! what to write.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

pub mod annotations;
pub mod bootstrap;
// A Unix socket is its way to Envoy; the command line runs on Windows too.
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
