//! Properties that hold for any input, tried on random ones: calls, answers of Envoy, dialects, flags, files and
//! headers. The code is compared with a slow reference implementation where one exists.

mod answers;
mod calls;
mod dialects;
#[allow(dead_code, unreachable_pub, reason = "it is the workspace's tests' own")]
#[path = "../../../tests/src/exposition.rs"]
mod exposition;
mod files;
mod formats;
#[path = "../../../filter/core/tests/suite/host.rs"]
mod host;
mod negotiation;
mod stats;

use proptest::test_runner::Config;

/// So many inputs are tried each time, or as many as `PROPTEST_CASES` says. What fails is for whoever reads it to write
/// down as a test of its own.
fn cases(few: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { few };
    Config { cases, ..config }
}
