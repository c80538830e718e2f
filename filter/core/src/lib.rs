//! What an inference call is, how its end is classified, and how the counters that hold it are named.
//!
//! Both sides of the system stand on this crate: the filter encodes a counter's name with [`name`], the exporter
//! decodes it with the same module. Nothing here calls a host, does I/O or reads a clock: what a call was comes in
//! as data, what is counted goes out as names and numbers.

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
pub mod route;
mod route_cache;
pub mod series;
