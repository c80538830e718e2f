//! The harness: the real stack, as child processes, for tests and for the demo.

pub mod apps;
pub mod bootstrap;
pub mod child;
pub mod cluster;
pub mod exposition;
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
