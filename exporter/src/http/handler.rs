//! Routes and answers requests.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderName, HeaderValue, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use scoretap_web::counts::Counts;
use tokio::sync::Semaphore;

use crate::cli::config::Config;
use crate::envoy::admin::ReadError;
use crate::envoy::errors::Reason;
use crate::http::body::Answer;
use crate::http::exposition::EncodeError;
use crate::http::landing::Landing;
use crate::http::negotiate::{negotiate, wants_gzip};
use crate::http::pages;
use crate::http::scrape::{self, Source};
use crate::reading::measured::Reading;
use crate::render::families;

/// The header with Prometheus' scrape timeout, in seconds.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// How long a page waits for Envoy.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// The limit of concurrent pages that read Envoy. It is separate, so that pages never block scrapes.
const MAX_PAGES: usize = 16;

const TOO_MANY_PAGES: &str = "Too many pages that read Envoy are in progress.\n";

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Answers requests.
#[derive(Debug)]
pub struct Handler {
    config: Arc<Config>,
    source: Source,
    scrape_permits: Arc<Semaphore>,
    page_permits: Arc<Semaphore>,
    news: News,
}

type Reply = Response<Answer>;

impl Handler {
    /// A handler configured by `config` that exports `counts`.
    pub fn new(config: Config, counts: Counts) -> Self {
        let config = Arc::new(config);
        let source = Source::new(Arc::clone(&config), counts);
        let max_requests = config.max_requests.map_or(Semaphore::MAX_PERMITS, NonZeroUsize::get);
        let [scrape_permits, page_permits] = [max_requests.min(Semaphore::MAX_PERMITS), MAX_PAGES]
            .map(|count| Arc::new(Semaphore::new(count)));
        Self { config, source, scrape_permits, page_permits, news: News::default() }
    }

    /// The number of scrapes that can still begin.
    #[cfg(test)]
    pub(crate) fn free_scrapes(&self) -> usize {
        self.scrape_permits.available_permits()
    }

    /// The answer to one request, whose body is ignored.
    pub async fn answer<B>(&self, request: &Request<B>) -> Reply {
        let telemetry_path = self.config.telemetry_path.as_str();
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return not_allowed();
        }
        match request.uri().path() {
            pages::LANDING => self.landing().await,
            pages::HEALTHY => reply(StatusCode::OK, PLAIN, "healthy\n"),
            pages::READY => self.ready(request.headers()).await,
            path if path == telemetry_path => self.metrics(request.headers()).await,
            _ => reply(StatusCode::NOT_FOUND, PLAIN, pages::not_found(telemetry_path)),
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Reply {
        let Ok(permit) = Arc::clone(&self.scrape_permits).try_acquire_owned() else {
            return busy("Too many scrapes are in progress.\n");
        };
        let begun = Instant::now();
        let format = negotiate(list(headers, &ACCEPT).as_deref());
        let gzip = wants_gzip(list(headers, &ACCEPT_ENCODING).as_deref());
        let (body, outcome) = self.source.scrape(limit(headers), format, gzip).await;
        self.news.tell(&self.config, outcome.as_ref().as_ref());
        let body = match body {
            Ok(body) => body,
            Err(error) => return without_exposition(&error),
        };
        let (bytes, seconds) = (body.len(), begun.elapsed().as_secs_f64());
        log::debug!(format = format.content_type(), bytes, seconds; "scrape");
        let mut reply = reply(StatusCode::OK, format.content_type(), Bytes::new());
        *reply.body_mut() = Answer::with_permit(body, permit);
        reply.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        if gzip {
            reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        reply
    }

    async fn landing(&self) -> Reply {
        let Ok(permit) = Arc::clone(&self.page_permits).try_acquire_owned() else {
            return busy(TOO_MANY_PAGES);
        };
        let outcome = self.source.read(PAGE_TIMEOUT).await;
        let read = outcome.as_ref().as_ref().map_err(|fault| format!("{}: {fault}", self.config.admin));
        let mut reply = reply(StatusCode::OK, HTML, Bytes::new());
        let missing_bounds = read
            .as_ref()
            .map_or_else(|_| Vec::new(), |reading| families::missing_bounds(&self.config.render, reading));
        let Config { telemetry_path, file_faults, .. } = &*self.config;
        let page = Landing { telemetry_path, read, missing_bounds, file_faults };
        *reply.body_mut() = Answer::with_permit(page.html(), permit);
        // The page has no script. If escaping ever failed, a caller's name could not run one either.
        let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
        reply.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        reply
    }

    async fn ready(&self, headers: &HeaderMap) -> Reply {
        let Ok(_permit) = self.page_permits.try_acquire() else {
            return busy(TOO_MANY_PAGES);
        };
        match self.source.probe(limit(headers)).await {
            Ok(()) => reply(StatusCode::OK, PLAIN, "ready\n"),
            Err(fault) => {
                let reason = format!("not ready: reading {}: {fault}\n", self.config.admin);
                reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, reason)
            }
        }
    }
}

/// Joins repeated headers into one list.
fn list(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn limit(headers: &HeaderMap) -> Duration {
    scrape::limit(headers.get(SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok()))
}

fn without_exposition(error: &EncodeError) -> Reply {
    match error {
        EncodeError::OverBudget => busy(format!("{error}\n")),
        EncodeError::Compression(_) => {
            log::error!("{error}");
            reply(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n"))
        }
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Answer::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn not_allowed() -> Reply {
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "Only GET and HEAD are answered here.\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn busy(why: impl Into<Bytes>) -> Reply {
    let mut response = reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, why);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Logs changes since the last scrape.
#[derive(Debug, Default)]
struct News {
    is_down: AtomicBool,
    unknown: AtomicUsize,
    missing_bounds: AtomicUsize,
    missing_codes: AtomicUsize,
}

impl News {
    fn tell(&self, config: &Config, outcome: Result<&Reading, &ReadError>) {
        let was_down = self.is_down.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(fault) if !was_down => {
                let reason = Reason::from(fault).as_str();
                log::warn!(reason; "reading {}: {fault}", config.admin);
            }
            Ok(_) if was_down => log::info!("reading {} succeeds again", config.admin),
            Ok(_) | Err(_) => {}
        }
        let Ok(reading) = outcome else { return };
        self.tell_unknown(reading.unknown);
        self.tell_missing_bounds(config, reading);
        self.tell_missing_codes(config, reading);
    }

    fn tell_unknown(&self, unknown: usize) {
        if self.unknown.swap(unknown, Ordering::Relaxed) != unknown && unknown > 0 {
            log::warn!(
                "{unknown} statistics of the filter are not understood and left out; use the filter and the \
                 exporter of one release"
            );
        }
    }

    fn tell_missing_bounds(&self, config: &Config, reading: &Reading) {
        let missing = families::missing_bounds(&config.render, reading);
        if self.missing_bounds.swap(missing.len(), Ordering::Relaxed) == missing.len() {
            return;
        }
        for (family, bounds) in missing {
            let seconds: Vec<String> = bounds.iter().map(|bound| (*bound as f64 / 1e9).to_string()).collect();
            log::warn!(
                "{family} lacks the buckets of {}: the filter does not measure by these bounds; add them to its \
                 bounds_seconds",
                seconds.join(", ")
            );
        }
    }

    fn tell_missing_codes(&self, config: &Config, reading: &Reading) {
        let missing = families::missing_codes(&config.render, reading);
        if self.missing_codes.swap(missing.len(), Ordering::Relaxed) != missing.len() && !missing.is_empty() {
            log::warn!(
                "{} lack calls: the filter does not count durations by code; add \"duration_codes\": true to its \
                 configuration",
                missing.join(", ")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use clap::Parser;
    use http_body_util::BodyExt;

    use super::*;

    use crate::cli::args::Args;

    const MAX_SCRAPES: usize = 16;

    fn handler(flags: [&str; 2]) -> Handler {
        let args = ["exporter", "--envoy.admin", "unix:///nonexistent"];
        let args = Args::parse_from(args.into_iter().chain(flags));
        let config = Config::new(&args, |_| None).unwrap();
        Handler::new(config, Counts::default())
    }

    #[track_caller]
    fn check_last_piece(accept_encoding: &str) {
        // The exposition has some hundred kilobytes, so that the last piece is a small part.
        let handler = handler(["--label", &format!("a={}", "x".repeat(60_000))]);
        let request = Request::get("/metrics").header(ACCEPT_ENCODING, accept_encoding).body(()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut body = handler.answer(&request).await.into_body();
            let mut last = None;
            while let Some(frame) = body.frame().await {
                last = frame.unwrap().into_data().ok();
            }
            drop(body);
            assert!(last.is_some_and(|last| {
                let free = handler.free_scrapes();
                !last.is_empty() && free == MAX_SCRAPES - 1
            }));
            assert_eq!(handler.free_scrapes(), MAX_SCRAPES);
        });
    }

    #[test]
    fn last_piece_of_a_body_holds_the_permit() {
        check_last_piece("identity");
        check_last_piece("gzip");
    }

    #[test]
    fn zero_max_requests_means_no_limit() {
        assert_eq!(handler(["--web.max-requests", "0"]).free_scrapes(), Semaphore::MAX_PERMITS);
    }

    #[test]
    fn failed_compression_is_an_error() {
        let reply = without_exposition(&EncodeError::Compression(io::Error::other("no memory")));
        assert_eq!(reply.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!hyper::body::Body::is_end_stream(reply.body()));
    }
}
