//! Reads Envoy for each scrape. Simultaneous scrapes share one read.
//! Between reads it keeps Envoy's own count of requests (`envoy::monotonic`) and when each count appeared
//! (`envoy::appearance`).

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use hyper::body::Bytes;
use scoretap_web::counts::Counts;
use tokio::sync::Semaphore;

use crate::cli::config::Config;
use crate::envoy::admin::{self, ReadError};
use crate::envoy::appearance::{Appearances, Began};
use crate::envoy::errors::{Reason, ScrapeErrors};
use crate::envoy::monotonic::Monotonic;
use crate::envoy::query;
use crate::http::exposition::{EncodeError, Expositions};
use crate::http::memory::Memory;
use crate::process::Resources;
use crate::reading::decode::Decoder;
use crate::reading::measured::Reading;
use crate::render;
use crate::render::encode::Format;
use crate::render::self_metrics::SelfState;

/// The time limit of a read if the scraper sends no timeout: just under Prometheus' default of 10 s.
const DEFAULT_LIMIT: Duration = Duration::from_millis(9_500);

/// The part of the scraper's timeout that is kept for everything but the read.
const MARGIN: Duration = Duration::from_millis(500);

/// The maximum scrape timeout. A longer one is reduced to it.
const LONGEST_LIMIT: Duration = Duration::from_secs(120);

/// The shortest time limit of a read. Otherwise any client could raise the error counter with a tiny timeout.
const SHORTEST_LIMIT: Duration = Duration::from_millis(500);

/// How long a read can be joined after it began, so that one that hangs does not block later scrapes.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// How many reads run at once, because each holds what it has read. Scrapes beyond that join the last one, however long
/// it takes.
const MAX_READS: usize = 4;

/// The time limit of a read for a scraper that sends `X-Prometheus-Scrape-Timeout-Seconds: timeout`.
pub fn limit(timeout: Option<&str>) -> Duration {
    let seconds = timeout.and_then(|text| text.parse::<f64>().ok()).filter(|seconds| *seconds > 0.0);
    let Some(seconds) = seconds else { return DEFAULT_LIMIT };
    let timeout = Duration::from_secs_f64(seconds.min(LONGEST_LIMIT.as_secs_f64()));
    timeout.saturating_sub(MARGIN).max(SHORTEST_LIMIT)
}

/// The result of a read, which scrapes may share.
pub type Outcome = Arc<Result<Reading, ReadError>>;

/// A finished read, and its expositions for the scrapes that share it.
#[derive(Clone, Debug)]
struct Read {
    outcome: Outcome,
    expositions: Arc<Expositions>,
}

impl Read {
    fn new(outcome: Result<Reading, ReadError>) -> Self {
        Self { outcome: Arc::new(outcome), expositions: Arc::default() }
    }
}

type Flight = BoxFuture<'static, Read>;

/// Reads Envoy for scrapes and pages.
#[derive(Debug)]
pub struct Source {
    config: Arc<Config>,
    /// The read that began last, while a scrape waits for it.
    latest: Mutex<Option<(Instant, WeakShared<Flight>)>>,
    reads: Arc<Semaphore>,
    requests: Arc<Monotonic>,
    appearances: Arc<Appearances>,
    errors: ScrapeErrors,
    http: Counts,
    memory: Memory,
}

impl Source {
    /// A source that is configured by `config`.
    pub fn new(config: Arc<Config>, http: Counts) -> Self {
        Self {
            config,
            latest: Mutex::default(),
            reads: Arc::new(Semaphore::new(MAX_READS)),
            requests: Arc::default(),
            appearances: Arc::default(),
            errors: ScrapeErrors::default(),
            http,
            memory: Memory::default(),
        }
    }

    /// Reads Envoy, or joins a read that began less than [`SHARED_FOR`] ago or that is one of [`MAX_READS`]. Each caller
    /// has its own time limit.
    pub async fn read(&self, limit: Duration) -> Outcome {
        self.shared_read(limit).await.outcome
    }

    /// Reads Envoy and encodes the result. Scrapes that share a successful read share its expositions. A failed read
    /// counts once for each scrape, and each scrape shows that count.
    pub async fn scrape(
        &self,
        limit: Duration,
        format: Format,
        gzip: bool,
    ) -> (Result<Bytes, EncodeError>, Outcome) {
        let begun = Instant::now();
        let Read { outcome, mut expositions } = self.shared_read(limit).await;
        if let Err(fault) = outcome.as_ref() {
            self.errors.count(Reason::from(fault));
            expositions = Arc::default();
        }
        let reading = outcome.as_ref().as_ref().ok();
        let took = begun.elapsed();
        let encode = |buffer| {
            let resources = Resources::now();
            let state = SelfState { took, errors: &self.errors, requests: &self.http, resources };
            render::exposition(&self.config.render, reading, &state, format, buffer)
        };
        (expositions.get(format, gzip, &self.memory, encode).await, outcome)
    }

    async fn shared_read(&self, limit: Duration) -> Read {
        let flight = self.flight(Instant::now());
        let read = tokio::time::timeout(limit, flight).await;
        read.unwrap_or_else(|_| Read::new(Err(ReadError::TimedOut(limit))))
    }

    /// Whether Envoy can be read now.
    pub async fn probe(&self, limit: Duration) -> Result<(), ReadError> {
        let mut decoder = Decoder::new(self.config.identity());
        let query = query::anything();
        let read = admin::read(&self.config.admin, &query, |line| decoder.line(line));
        tokio::time::timeout(limit, read).await.unwrap_or(Err(ReadError::TimedOut(limit)))
    }

    fn flight(&self, now: Instant) -> Shared<Flight> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let permit = Arc::clone(&self.reads).try_acquire_owned().ok();
        let joined = latest
            .as_ref()
            .filter(|(begun, _)| permit.is_none() || now.saturating_duration_since(*begun) < SHARED_FOR);
        // A finished read is never joined.
        if let Some(flight) =
            joined.and_then(|(_, flight)| flight.upgrade()).filter(|one| one.peek().is_none())
        {
            return flight;
        }
        let (config, requests) = (Arc::clone(&self.config), Arc::clone(&self.requests));
        let (appearances, reads) = (Arc::clone(&self.appearances), Arc::clone(&self.reads));
        let flight = async move {
            let permit = if permit.is_some() { permit } else { reads.acquire_owned().await.ok() };
            let read = read(config, requests, appearances).await;
            drop(permit);
            read
        };
        let flight = flight.boxed().shared();
        *latest = flight.downgrade().map(|weak| (now, weak));
        flight
    }
}

/// Prints one exposition to standard output. If Envoy cannot be read, it prints what `/metrics` would serve, and fails.
pub async fn print(config: Config, format: Format) -> Result<(), String> {
    let source = Source::new(Arc::new(config), Counts::default());
    let (exposition, outcome) = source.scrape(limit(None), format, false).await;
    let exposition = exposition.map_err(|error| error.to_string())?;
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(&exposition).and_then(|()| stdout.flush());
    // A reader such as `head` has what it wanted when it closes the pipe.
    if let Err(cause) = written
        && cause.kind() != ErrorKind::BrokenPipe
    {
        return Err(format!("cannot write to standard output: {cause}"));
    }
    match outcome.as_ref() {
        Ok(_) => Ok(()),
        Err(fault) => Err(format!("reading {}: {fault}", source.config.admin)),
    }
}

async fn read(config: Arc<Config>, requests: Arc<Monotonic>, appearances: Arc<Appearances>) -> Read {
    let began = Began::now();
    let mut decoder = Decoder::new(config.identity());
    let outcome = admin::read(&config.admin, &config.stats, |line| decoder.line(line)).await;
    Read::new(outcome.map(|()| {
        let mut reading = decoder.finish(&config.expected_routes);
        reading.envoy_requests = reading.envoy_requests.map(|read| requests.finished(began.instant, read));
        appearances.date(began, &mut reading);
        reading
    }))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::Args;

    fn source() -> Source {
        let args = Args::parse_from(["exporter", "--envoy.admin", "unix:///nonexistent"]);
        Source::new(Arc::new(Config::new(&args, |_| None).unwrap()), Counts::default())
    }

    #[test]
    fn reads_that_hang_are_limited() {
        let (source, now) = (source(), Instant::now());
        let mut scrapes: Vec<_> = (0..10).map(|n| source.flight(now + n * SHARED_FOR)).collect();
        let begun =
            |scrapes: &[Shared<Flight>]| scrapes.windows(2).filter(|two| !two[0].ptr_eq(&two[1])).count() + 1;
        assert_eq!(begun(&scrapes), MAX_READS);
        // The scrapes of the last read give up.
        scrapes.truncate(MAX_READS - 1);
        scrapes.push(source.flight(now + 20 * SHARED_FOR));
        assert_eq!(begun(&scrapes), MAX_READS);
    }

    #[test]
    fn finished_read_is_never_joined() {
        let (source, now) = (source(), Instant::now());
        let finished = source.flight(now);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(finished.clone());
        assert!(!source.flight(now).ptr_eq(&finished));
    }

    #[test]
    fn read_without_a_permit_waits_for_one() {
        let (source, now) = (source(), Instant::now());
        let hanging: Vec<_> = (0..4).map(|n| source.flight(now + n * SHARED_FOR)).collect();
        // Its scrapes are gone, so it cannot be joined.
        *source.latest.lock().unwrap() = None;
        let waiting = source.flight(now);
        assert!(waiting.clone().now_or_never().is_none());
        drop(hanging);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(waiting).outcome.is_err());
    }

    #[track_caller]
    fn check(header: Option<&str>, milliseconds: u64) {
        assert_eq!(limit(header), Duration::from_millis(milliseconds), "{header:?}");
    }

    #[test]
    fn read_ends_before_the_scrape_timeout() {
        check(Some("10"), 9_500);
        check(Some("30.000000"), 29_500);
        check(Some("1"), 500);
        check(Some("1e9"), 119_500);
    }

    #[test]
    fn tiny_timeout_is_raised() {
        check(Some("0.5"), 500);
        check(Some("0.001"), 500);
    }

    #[test]
    fn missing_timeout_is_prometheus_default() {
        for header in [None, Some(""), Some("0"), Some("-1"), Some("NaN"), Some("soon")] {
            check(header, 9_500);
        }
        check(Some("inf"), 119_500);
    }
}
