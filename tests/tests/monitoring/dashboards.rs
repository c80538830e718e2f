//! The dashboards.

use scoretap_tests::monitoring::Prometheus;

pub(crate) fn check_queries(_prometheus: &Prometheus) {}
