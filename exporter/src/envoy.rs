//! Reads Envoy's statistics through its admin interface, line by line.

pub mod admin;
pub mod appearance;
pub mod errors;
pub mod lines;
pub mod monotonic;
pub mod query;
