//! Which request gets which answer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::accept::negotiate;
use crate::admin::ReadError;
use crate::config::Config;
use crate::scrape::{self, Summary};
use crate::{log, pages};

/// The header by which Prometheus says how long it waits.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// What answers requests.
#[derive(Debug)]
pub struct Handler {
    config: Config,
    news: News,
}

type Answer = Response<Full<Bytes>>;

impl Handler {
    /// Answers as `config` says.
    pub fn new(config: Config) -> Self {
        Self { config, news: News::default() }
    }

    /// The answer to one request, whose body, if any, is of no interest.
    pub async fn answer<B>(&self, request: &Request<B>) -> Answer {
        let telemetry_path = self.config.telemetry_path.as_str();
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return not_allowed();
        }
        match request.uri().path() {
            pages::LANDING => answer(StatusCode::OK, HTML, pages::landing(telemetry_path)),
            pages::HEALTHY => answer(StatusCode::OK, PLAIN, "healthy\n"),
            pages::READY => self.ready(request.headers()).await,
            path if path == telemetry_path => self.metrics(request.headers()).await,
            _ => answer(StatusCode::NOT_FOUND, PLAIN, pages::not_found(telemetry_path)),
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Answer {
        let format = negotiate(accepted(headers).as_deref());
        let scrape = scrape::scrape(&self.config, limit(headers), format).await;
        self.news.tell(&self.config, &scrape.outcome);
        answer(StatusCode::OK, format.content_type(), scrape.body)
    }

    async fn ready(&self, headers: &HeaderMap) -> Answer {
        match scrape::probe(&self.config, limit(headers)).await {
            Ok(()) => answer(StatusCode::OK, PLAIN, "ready\n"),
            Err(fault) => {
                let reason = format!("not ready: reading {}: {fault}\n", self.config.admin);
                answer(StatusCode::SERVICE_UNAVAILABLE, PLAIN, reason)
            }
        }
    }
}

/// Several `Accept` headers are one list.
fn accepted(headers: &HeaderMap) -> Option<String> {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn limit(headers: &HeaderMap) -> std::time::Duration {
    scrape::limit(headers.get(SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok()))
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn not_allowed() -> Answer {
    let mut response =
        answer(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "Only GET and HEAD are answered here.\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// Tells the log what has changed since the last scrape, and not the same again with each.
#[derive(Debug, Default)]
struct News {
    is_down: AtomicBool,
    unknown: AtomicUsize,
}

impl News {
    fn tell(&self, config: &Config, outcome: &Result<Summary, ReadError>) {
        let was_down = self.is_down.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(fault) if !was_down => log::warn(format_args!("reading {}: {fault}", config.admin)),
            Ok(_) if was_down => log::info(format_args!("reading {} succeeds again", config.admin)),
            Ok(_) | Err(_) => {}
        }
        let Ok(Summary { unknown }) = outcome else { return };
        if self.unknown.swap(*unknown, Ordering::Relaxed) != *unknown && *unknown > 0 {
            log::warn(format_args!(
                "{unknown} statistics of the filter are not understood and left out; use the filter and the \
                 exporter of one release"
            ));
        }
    }
}
