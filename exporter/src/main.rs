//! The exporter.
fn main() {}
