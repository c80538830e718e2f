//! One scrape: Envoy is read now, for this scraper, and what it said is served; nothing is kept for the next one.

use std::time::{Duration, Instant};

use crate::admin::{self, ReadError};
use crate::config::Config;
use crate::decode::{Decoder, Reading};
use crate::encode::Format;
use crate::{own, prediction, query};

/// How long a read of Envoy may take where the scraper does not say how long it waits: just under the 10 s that are
/// Prometheus' default.
const DEFAULT_LIMIT: Duration = Duration::from_millis(9_500);

/// What is left of the scraper's patience for everything but the read.
const MARGIN: Duration = Duration::from_millis(500);

/// No scraper waits longer.
const LONGEST_LIMIT: Duration = Duration::from_secs(120);

/// How long a read may take for a scraper that sends `X-Prometheus-Scrape-Timeout-Seconds: timeout`.
pub fn limit(timeout: Option<&str>) -> Duration {
    let seconds = timeout.and_then(|text| text.parse::<f64>().ok()).filter(|seconds| *seconds > 0.0);
    let Some(seconds) = seconds else { return DEFAULT_LIMIT };
    let timeout = Duration::from_secs_f64(seconds.min(LONGEST_LIMIT.as_secs_f64()));
    timeout.saturating_sub(MARGIN.min(timeout / 2))
}

/// An exposition, and why it says no more than that Envoy could not be read, if so.
#[derive(Debug)]
pub struct Scrape {
    /// In the format that was asked for.
    pub body: Vec<u8>,
    /// What Envoy said of our statistics, or why it did not.
    pub outcome: Result<Summary, ReadError>,
}

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Statistics of ours that have no meaning to us.
    pub unknown: usize,
}

/// Reads Envoy and says what it said.
pub async fn scrape(config: &Config, limit: Duration, format: Format) -> Scrape {
    let begun = Instant::now();
    let reading = read(config, limit).await;
    let body = expose(config, reading.as_ref().ok(), begun.elapsed(), format);
    Scrape { body, outcome: reading.map(|reading| Summary { unknown: reading.unknown }) }
}

/// Whether Envoy can be read now.
pub async fn probe(config: &Config, limit: Duration) -> Result<(), ReadError> {
    let mut decoder = Decoder::new(&config.identity);
    admin::read(&config.admin, &query::anything(), limit, |line| decoder.line(line)).await
}

async fn read(config: &Config, limit: Duration) -> Result<Reading, ReadError> {
    let mut decoder = Decoder::new(&config.identity);
    admin::read(&config.admin, &config.stats, limit, |line| decoder.line(line)).await?;
    Ok(decoder.finish(&config.expected_routes))
}

/// The exposition of a read that took so long; without a reading there is nothing that would have come from it.
pub fn expose(config: &Config, reading: Option<&Reading>, took: Duration, format: Format) -> Vec<u8> {
    let constants = &config.constants;
    let of_calls =
        reading.into_iter().flat_map(|reading| prediction::families(reading, &config.identity, constants));
    let of_reading = reading.into_iter().flat_map(|reading| own::of_reading(reading, constants));
    let always = own::always(reading.is_some(), took, constants);
    format.encode(of_calls.chain(always).chain(of_reading))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: Option<&str>, milliseconds: u64) {
        assert_eq!(limit(header), Duration::from_millis(milliseconds), "{header:?}");
    }

    #[test]
    fn a_read_ends_before_the_scraper_gives_up() {
        check(Some("10"), 9_500);
        check(Some("30.000000"), 29_500);
        check(Some("1"), 500);
        check(Some("0.5"), 250);
        check(Some("1e9"), 119_500);
    }

    #[test]
    fn a_scraper_that_does_not_say_waits_as_long_as_most() {
        for header in [None, Some(""), Some("0"), Some("-1"), Some("NaN"), Some("soon")] {
            check(header, 9_500);
        }
        check(Some("inf"), 119_500);
    }
}
