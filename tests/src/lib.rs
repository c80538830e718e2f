//! The harness: the real stack, as child processes, for tests and for the demo.

pub mod apps;
pub mod bootstrap;
pub mod browser;
pub mod child;
pub mod cluster;
pub mod faults;
pub mod http;
pub mod monitoring;
pub mod ports;
pub mod rendered;
pub mod sources;
pub mod stack;
pub mod tools;
pub mod wait;
pub mod workspace;

pub use scoretap_test_support::exposition;
