//! The exporter before the ones that it is for: Prometheus in every format, its parsers, a browser.
//!
//! What is right is known from elsewhere: from the app's own log, from callers' own clocks, from numbers that a test
//! made up.

mod cost;
mod dialects;
mod formats;
mod native;
mod page;
mod support;
