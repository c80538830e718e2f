//! Repeated scrapes while calls come in.

use std::collections::BTreeSet;

use scoretap_tests::exposition::Exposition;
use scoretap_tests::http::{self, Call};
use scoretap_tests::stack::Stack;

const ROW: &str = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;

/// A family's samples stand together below its heading, and each histogram has its last bucket.
#[track_caller]
fn check_shape(exposition: &str) {
    let mut families = BTreeSet::new();
    let mut family = "";
    for line in exposition.lines() {
        if let Some(heading) = line.strip_prefix("# TYPE ") {
            family = heading.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} is there twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let suffix = name.strip_prefix(family);
            let is_member = matches!(suffix, Some("" | "_bucket" | "_sum" | "_count"));
            assert!(is_member, "{line} is below the heading of {family}");
        }
    }
    let lines = |part: &str| exposition.lines().filter(|line| line.contains(part)).count();
    assert!(lines("_seconds_count{") > 0);
    assert_eq!(lines("le=\"+Inf\""), lines("_seconds_count{"), "a histogram lacks its last bucket");
}

/// Each counter of `before` is still there and at least as high.
#[track_caller]
fn check_counters(before: &Exposition, now: &Exposition) {
    let counts = |name: &str| ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
    for (name, labels, old) in before.iter().filter(|(name, _, _)| counts(name)) {
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let new = now.get(name, &labels);
        assert!(new.is_some_and(|new| new >= old), "{name} {labels:?}: {old}, then {new:?}");
    }
}

#[test]
fn counters_never_decrease_over_repeated_scrapes() {
    let stack = Stack::builder("exporter-repeated").start().unwrap();
    let mut before = Exposition::default();
    for round in 0..30 {
        let path = if round % 3 == 0 { "/v1/models/other:predict" } else { "/score" };
        stack.call(Call::post(path, if round % 4 == 0 { "{" } else { ROW })).unwrap();
        let text = http::get(&stack.exporter, "/metrics").unwrap();
        check_shape(&text);
        let now = Exposition::parse(&text).unwrap();
        check_counters(&before, &now);
        before = now;
    }
    assert!(before.sum("prediction_requests_total", &[]) >= 20.0);
}
