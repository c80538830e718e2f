//! The injector's own metrics.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use scoretap_web::counts::Snapshot;

use super::review::Kind;

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    reviews: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    malformed: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Metrics {
    /// Counts an answered review.
    pub fn review(&self, kind: Kind, decision: &'static str, took: Duration) {
        let mut reviews = self.reviews.lock().unwrap_or_else(PoisonError::into_inner);
        *reviews.entry((kind.as_str(), decision)).or_default() += 1;
        self.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts a request that is not a review.
    pub fn malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// Prometheus' text format 0.0.4, with the counts of the webhook's server. No label value comes from a request.
    pub fn text(&self, webhook: &Snapshot) -> String {
        let reviews = self.reviews.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let total: u64 = reviews.values().sum();
        let mut text = String::from(
            "# HELP scoretap_injector_reviews_total Admission reviews answered.\n\
             # TYPE scoretap_injector_reviews_total counter\n",
        );
        for ((kind, decision), count) in reviews {
            let _ = writeln!(
                text,
                "scoretap_injector_reviews_total{{kind=\"{kind}\",decision=\"{decision}\"}} {count}"
            );
        }
        let seconds = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        let _ = write!(
            text,
            "# HELP scoretap_injector_review_duration_seconds Time spent on reviews.\n\
             # TYPE scoretap_injector_review_duration_seconds summary\n\
             scoretap_injector_review_duration_seconds_sum {seconds}\n\
             scoretap_injector_review_duration_seconds_count {total}\n\
             # HELP scoretap_injector_malformed_requests_total Requests that were not admission reviews.\n\
             # TYPE scoretap_injector_malformed_requests_total counter\n\
             scoretap_injector_malformed_requests_total {}\n\
             # HELP scoretap_injector_certificate_reloads_total Changes of the certificate's files.\n\
             # TYPE scoretap_injector_certificate_reloads_total counter\n\
             scoretap_injector_certificate_reloads_total{{result=\"success\"}} {}\n\
             scoretap_injector_certificate_reloads_total{{result=\"failure\"}} {}\n\
             # HELP scoretap_injector_tls_handshake_failures_total TLS handshakes of the webhook that failed.\n\
             # TYPE scoretap_injector_tls_handshake_failures_total counter\n\
             scoretap_injector_tls_handshake_failures_total {}\n\
             # HELP scoretap_injector_build_info The version of the injector.\n\
             # TYPE scoretap_injector_build_info gauge\n\
             scoretap_injector_build_info{{version=\"{}\"}} 1\n",
            self.malformed.load(Ordering::Relaxed),
            webhook.reloads.successes,
            webhook.reloads.failures,
            webhook.handshake_failures,
            env!("CARGO_PKG_VERSION"),
        );
        text
    }
}
