//! Created timestamps: a real Prometheus 3 counts the first calls of a new model. Debian's Prometheus does not know
//! them.

use std::time::Duration;

use scoretap_tests::http::{Call, Endpoint};
use scoretap_tests::stack::Stack;
use scoretap_tests::wait::wait_until;

use crate::support::Prometheus;

const CREATED: &str = "--enable-feature=created-timestamp-zero-ingestion";
const DEADLINE: Duration = Duration::from_secs(60);
const ROW: &str = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;

#[test]
fn increase_counts_first_calls_of_new_model() {
    let stack = Stack::builder("exporter-created").start().unwrap();
    let Endpoint::Tcp(exporter) = stack.exporter else { panic!("the exporter is on TCP") };
    let prometheus =
        Prometheus::start_newest("exporter-created-prometheus", &[("pod", exporter)], &[CREATED]);
    wait_until("Envoy was scraped twice", DEADLINE, || {
        prometheus.value("count_over_time(scoretap_up[1m])") >= Some(2.0)
    });
    for _ in 0..3 {
        assert_eq!(stack.call(Call::post("/v1/models/new:predict", ROW)).unwrap().status, 200);
    }
    // All calls are in the first sample, so without the zero there would be no increase at all.
    let successes = r#"prediction_requests_total{model_name="new",status="success"}"#;
    wait_until("the calls were scraped twice", DEADLINE, || {
        prometheus.value(&format!("count_over_time({successes}[1m])")) >= Some(3.0)
    });
    // `increase` extrapolates to the ends of its window. The samples themselves do not.
    prometheus.check(&format!("min_over_time({successes}[1m])"), 0.0);
    let increase = prometheus.value(&format!("increase({successes}[1m])")).unwrap();
    assert!((2.9..6.0).contains(&increase), "{increase}");
}
