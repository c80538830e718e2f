//! The harness: the real stack, as child processes, for tests and for the demo.

pub mod tools;
pub mod workspace;
