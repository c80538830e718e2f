//! What people see: the landing page and the answers to questions that are none of ours.

use crate::own::VERSION;

/// The page with the links.
pub const LANDING: &str = "/";

/// 200 while the process serves.
pub const HEALTHY: &str = "/-/healthy";

/// 200 where Envoy can be read.
pub const READY: &str = "/-/ready";

/// Paths that nothing else can have.
pub const FIXED: [&str; 3] = [LANDING, HEALTHY, READY];

/// The page with the links.
pub fn landing(telemetry_path: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Scoretap exporter</title></head>\n\
         <body>\n<h1>Scoretap exporter</h1>\n<p>Version {VERSION}</p>\n<ul>\n\
         <li><a href=\"{telemetry_path}\">Metrics</a></li>\n\
         <li><a href=\"{READY}\">Ready</a>: whether Envoy can be read</li>\n\
         <li><a href=\"{HEALTHY}\">Healthy</a>: whether this exporter runs</li>\n\
         </ul>\n</body>\n</html>\n"
    )
}

/// The answer where there is nothing.
pub fn not_found(telemetry_path: &str) -> String {
    format!("There is nothing here. There are {telemetry_path}, {HEALTHY}, {READY} and {LANDING}.\n")
}
