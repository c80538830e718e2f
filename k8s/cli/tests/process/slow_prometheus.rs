//! `scoretap dialect check` bounds the time of each query, and goes on with the others.

use std::thread;
use std::time::Duration;

use crate::folder::{Folder, Ran};
use crate::prometheus::{self, Answer};

const SERIES: &str = r#"{"status": "success", "data": [{}]}"#;
const TIMEOUT: &str = r#"{"status": "error", "errorType": "timeout", "error": "query timed out"}"#;

/// Answers a request for the series of `late_total` never, of `given_up_total` with Prometheus' own timeout, and
/// others after a moment.
fn answer(head: &str) -> Answer {
    if head.contains("late_total") {
        return None;
    }
    thread::sleep(Duration::from_millis(300));
    Some(if head.contains("given_up_total") {
        ("503 Service Unavailable", TIMEOUT)
    } else {
        ("200 OK", SERIES)
    })
}

/// Checks a dialect with a family of each name against such a Prometheus.
fn check(names: &[&str]) -> Ran {
    let folder = Folder::new();
    folder.write_metrics(names);
    let url = prometheus::serve(answer);
    folder.run(&format!("dialect check a.yaml rules.yml --timeout 1 --prometheus {url}"))
}

#[test]
fn late_answers_are_reported_and_others_checked() {
    let names = ["a_total", "late_total", "given_up_total", "b_total", "late_total"];
    let Ran { status, shown, said } = check(&names);
    assert!(shown.contains("\nrules.yml          2              0       0          3\n"), "{shown}{said}");
    assert!(shown.contains("timed out: rules.yml: alert \"A\": given_up_total\n"), "{shown}");
    assert!(
        said.contains("3 selectors had no answer from Prometheus within 1 second; raise --timeout"),
        "{said}"
    );
    assert_eq!(status, Some(3));
    // No terminal, no progress.
    assert!(!said.contains('\r'), "{said}");
}

#[test]
fn queries_may_exceed_the_timeout_together() {
    let Ran { status, shown, .. } = check(&["a_total", "b_total", "c_total", "d_total", "e_total"]);
    assert!(shown.contains("\nrules.yml          5              0       0          0\n"), "{shown}");
    assert_eq!(status, Some(0));
}
