//! Serves to Prometheus what the filter counts in Envoy, and keeps none of it: each scrape reads Envoy. Between scrapes it
//! remembers how many requests Envoy had finished, which must not go back (`envoy::monotonic`), when each count appeared
//! (`envoy::appearance`), and how many scrapes failed (`envoy::errors`).
//!
//! One scrape is one read of Envoy and four steps, each of which knows only its neighbours; the folders are these:
//!
//! ```text
//! envoy ── lines ──> reading ── Reading ──> render (as dialect asks) ── bytes ──> http
//! ```
//!
//! `cli` turns flags and environment into a configuration. `reading`, `dialect` and `render` are pure: text goes in,
//! text comes out.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

pub mod cli;
pub mod dialect;
pub mod envoy;
pub mod http;
pub mod process;
pub mod reading;
pub mod render;

#[expect(clippy::cast_precision_loss, reason = "a sample is a float; 2^53 ns are 104 days")]
pub(crate) const fn as_float(value: u64) -> f64 {
    value as f64
}
