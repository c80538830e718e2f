//! Puts the Scoretap sidecar into pods that ask for it with an annotation.
//!
//! What is put there is data (`k8s/sidecar/sidecar.yaml`). This crate decides whether, fills in what differs from pod
//! to pod, and renders the same as an admission policy. It never lets a pod fail: what it does not understand it leaves
//! as it is, and says what to write.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

pub mod annotations;
pub mod bootstrap;
pub mod drain;
pub mod faults;
pub mod inject;
pub mod manifest;
pub mod metrics;
pub mod pod;
pub mod policy;
pub mod review;
pub mod server;
pub mod service;
pub mod sidecar;
pub mod slots;
pub mod tls;
pub mod yaml;

use std::io::Write;

/// Writes a line of the log. `eprintln!` panics where that cannot be done, as on a full disk.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
