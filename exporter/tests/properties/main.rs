//! Properties that hold for any input, tried on random ones: calls, answers of Envoy, dialects, flags, files and
//! headers. The code is compared with a slow reference implementation where one exists.

mod answers;
mod calls;
mod dialects;
mod files;
mod formats;
mod negotiation;
mod stats;

use proptest::test_runner::Config;

/// Tries `few` inputs, or the number in `PROPTEST_CASES`. Failures are not saved: write a test for each.
fn cases(few: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { few };
    Config { cases, ..config }
}
