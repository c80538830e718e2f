//! Serves to Prometheus what the filter counts in Envoy, and keeps nothing itself.
//!
//! One scrape is one read of Envoy and four steps, each of which knows only its neighbours:
//!
//! ```text
//! admin ── lines ──> decode ── Reading ──> prediction, own ── families ──> encode ── bytes ──> server
//! ```
//!
//! Everything between `admin` and `server` is pure: text goes in, text comes out.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

pub mod accept;
pub mod admin;
pub mod args;
pub mod config;
pub mod decode;
pub mod encode;
pub mod family;
pub mod handler;
pub mod identity;
pub mod labels;
pub mod lines;
pub mod log;
pub mod own;
pub mod pages;
pub mod prediction;
pub mod query;
pub mod scrape;
pub mod server;
