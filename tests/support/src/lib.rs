//! What the tests of several crates share and needs no other program.

pub mod exposition;
pub mod host;
