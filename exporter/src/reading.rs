//! What was measured: the lines of Envoy's statistics as typed values. No metric names here.

pub mod decode;
pub mod identity;
pub mod measured;
pub mod summary;
