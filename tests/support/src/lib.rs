//! Helpers for the tests of several crates. They need no other program.

pub mod exposition;
pub mod host;
