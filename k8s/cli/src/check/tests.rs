//! Each fault alone produces one finding with one command. A sound cluster produces none.

mod fixture;
mod injection;
mod insight;
mod monitoring;
mod traffic;

use std::collections::BTreeSet;

use super::findings::{CHECKS, View, find};
use super::snapshot::Snapshot;
use fixture::sound;

/// Changes the sound cluster and expects this finding and no other.
#[track_caller]
fn check(name: &str, change: impl FnOnce(&mut Snapshot), id: &str, why: &str, command: &str) {
    let mut snapshot = sound();
    change(&mut snapshot);
    let findings = find(&View::new(&snapshot));
    let [finding] = findings.as_slice() else { panic!("{name}: {findings:#?}") };
    assert!(CHECKS.iter().any(|check| check.name == id), "{id} is no check");
    assert_eq!(finding.check, id, "{name}: {finding:?}");
    let text = format!("{}: {}", finding.place, finding.why);
    assert!(text.contains(why), "{name}: {text}");
    assert_eq!(finding.command, command, "{name}: {text}");
}

/// Changes the sound cluster and expects no finding.
#[track_caller]
fn check_sound(name: &str, change: impl FnOnce(&mut Snapshot)) {
    let mut snapshot = sound();
    change(&mut snapshot);
    assert_eq!(find(&View::new(&snapshot)), [], "{name}");
}

#[test]
fn sound_cluster_has_no_findings() {
    check_sound("unchanged", |_| {});
}

#[test]
fn empty_cluster_lacks_an_installation() {
    let snapshot = Snapshot::default();
    let ids: Vec<_> = find(&View::new(&snapshot)).iter().map(|finding| finding.check).collect();
    assert_eq!(ids, ["nothing-injects"]);
}

#[test]
fn checks_have_names_of_their_own() {
    let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), CHECKS.len());
}
