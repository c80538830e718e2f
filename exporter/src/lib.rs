//! Serves the filter's counts to Prometheus. The counts stay in Envoy, and each scrape reads Envoy. Between scrapes the
//! exporter remembers how many requests Envoy had finished, because that count must not decrease (`envoy::monotonic`),
//! when each count appeared (`envoy::appearance`), and how many scrapes failed (`envoy::errors`).
//!
//! A scrape is one read of Envoy and has four steps. Each step has a folder and knows only its neighbours:
//!
//! ```text
//! envoy ── lines ──> reading ── Reading ──> render (as the dialects ask) ── bytes ──> http
//! ```
//!
//! `cli` turns flags and environment into a configuration. `reading` and `render` are pure: text goes in,
//! text comes out.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

pub mod cli;
pub mod envoy;
pub mod http;
pub mod process;
pub mod reading;
pub mod render;

#[expect(clippy::cast_precision_loss, reason = "a sample is a float; 2^53 ns are 104 days")]
pub(crate) const fn as_float(value: u64) -> f64 {
    value as f64
}
