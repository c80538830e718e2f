//! The paths that the exporter answers, and the answer to any other.

/// The landing page.
pub const LANDING: &str = "/";

/// 200 while the process serves.
pub const HEALTHY: &str = "/-/healthy";

/// 200 if Envoy can be read.
pub const READY: &str = "/-/ready";

/// Paths that the metrics cannot have.
pub const FIXED: [&str; 3] = [LANDING, HEALTHY, READY];

/// The answer to any other path.
pub fn not_found(telemetry_path: &str) -> String {
    format!("There is nothing here. There are {telemetry_path}, {HEALTHY}, {READY} and {LANDING}.\n")
}
