//! HTTP serving shared by the exporter and the injector: listeners, connection slots, write deadlines, TLS with reload,
//! users, `web.config` and the log.
//!
//! ```text
//! listen ──> slots ──> TLS handshake ──> write deadline ──> access ──> the application
//!                         config: read again when its files change
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

#[cfg(feature = "serve")]
pub mod config;
#[cfg(feature = "serve")]
pub mod counts;
#[cfg(feature = "serve")]
mod deadline;
#[cfg(feature = "serve")]
pub mod listen;
pub mod log;
#[cfg(feature = "serve")]
pub mod server;
#[cfg(feature = "serve")]
mod slots;
#[cfg(feature = "serve")]
pub mod threads;
