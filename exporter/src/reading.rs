//! Turns the lines of Envoy's statistics into typed values. No metric names here.

pub mod bodies;
pub mod decode;
pub mod identity;
pub mod measured;
pub mod summary;
