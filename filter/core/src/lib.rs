//! Defines inference calls, classifies how they end, and names their counters.
//!
//! The filter encodes the names of counters with [`name`], and the exporter decodes them with the same module. Nothing
//! here does I/O or reads a clock. The host is behind the traits of [`observe`] and [`series`].

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod config;
mod hex;
pub mod histogram;
pub mod name;
pub mod observe;
pub mod outcome;
pub mod reading;
pub mod route;
mod route_cache;
pub mod series;
