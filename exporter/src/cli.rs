//! The command line and the environment: flags in, a checked configuration out.

pub mod args;
pub mod baseline;
pub mod config;
pub mod labels;
