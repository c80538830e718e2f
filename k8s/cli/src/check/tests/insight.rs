//! Where Insight is on.

use serde_json::{Value, json};

use super::fixture::{add, annotate, first, injected_pod, roll, sound};
use crate::check::findings::View;
use crate::check::insight::{Reading, readings};
use crate::check::snapshot::{Kind, Snapshot};

fn lines(snapshot: &Snapshot) -> Vec<String> {
    readings(&View::new(snapshot)).iter().map(Reading::line).collect()
}

/// A sound cluster whose pods got Insight when they were made.
fn with_insight() -> Snapshot {
    let mut snapshot = sound();
    roll(&mut snapshot, |template| {
        template["metadata"]["annotations"]["scoretap.dev/insight"] = "true".into();
    });
    snapshot
}

fn set_percent(pod: &mut Value, percent: &str) {
    pod["metadata"]["annotations"]["scoretap.dev/insight-percent"] = percent.into();
}

#[test]
fn pods_with_insight_are_listed_by_share() {
    assert_eq!(lines(&sound()), Vec::<String>::new());
    let mut snapshot = with_insight();
    for (name, percent) in [("b", "0"), ("c", "10"), ("d", "100")] {
        let mut pod = injected_pod(&snapshot);
        pod["metadata"]["name"] = name.into();
        set_percent(&mut pod, percent);
        add(&mut snapshot, Kind::Pods, pod);
    }
    let expected = [
        "Insight reads all calls in 2 pods of tenant-a/deployment/scorer",
        "Insight reads 10 % of the calls in 1 pod of tenant-a/deployment/scorer",
        "Insight is switched off in 1 pod of tenant-a/deployment/scorer",
    ];
    assert_eq!(lines(&snapshot), expected);
    let found: Vec<_> = readings(&View::new(&snapshot)).iter().map(Reading::json).collect();
    let expected = json!({"where": "tenant-a/deployment/scorer", "percent": 0, "pods": ["b"]});
    assert_eq!(found[2], expected);
}

#[test]
fn wrong_share_is_reported() {
    let mut snapshot = with_insight();
    for percent in ["off", "", "-1", "101", "0.5", "007"] {
        set_percent(first(&mut snapshot, Kind::Pods), percent);
        let expected = [
            "Insight may read all calls in 1 pod of tenant-a/deployment/scorer: scoretap.dev/insight-percent is no whole \
             number from 0 to 100",
        ];
        assert_eq!(lines(&snapshot), expected, "{percent}");
    }
}

/// Only new pods follow the template.
#[test]
fn template_alone_switches_nothing_on() {
    let mut snapshot = sound();
    annotate(&mut snapshot, "scoretap.dev/insight", "true");
    assert_eq!(lines(&snapshot), Vec::<String>::new());
}
