//! Writes what was measured as metric families in one of the exposition formats.

pub mod encode;
pub mod families;
pub mod self_metrics;
