//! Serves to Prometheus what the filter counts in Envoy, and keeps none of it: each scrape reads Envoy. From one scrape
//! to the next it remembers how many requests Envoy had finished, which must not seem to go back (`requests`), and how
//! many scrapes failed (`errors`).
//!
//! One scrape is one read of Envoy and four steps, each of which knows only its neighbours:
//!
//! ```text
//! admin ── lines ──> decode ── Reading ──> expose, own ── samples ──> encode ── bytes ──> server
//! ```
//!
//! What `expose` writes is what the tables of `dialect` ask for.
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
pub mod body;
pub mod config;
pub mod decode;
pub mod dialect;
pub mod encode;
pub mod errors;
pub mod expose;
pub mod handler;
pub mod identity;
pub mod labels;
pub mod lines;
pub mod listen;
pub mod log;
pub mod own;
pub mod pages;
mod patience;
mod places;
pub mod query;
pub mod requests;
pub mod scrape;
pub mod server;
pub mod summary;
pub mod web;
mod yaml;
