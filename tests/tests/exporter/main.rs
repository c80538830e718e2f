//! The exporter before the ones that it is for: Prometheus in every format, its parsers, a browser.
//!
//! The expected values come from elsewhere: the app's own log, the callers' own clocks, or numbers that a test
//! made up.

mod bodies;
mod cost;
mod created;
mod dialects;
mod formats;
mod native;
mod page;
mod scrapes;
mod support;
mod textparse;
