//! Each fault once, on its own stack. `cargo xtask soak` repeats them all, as access logger and as HTTP filter.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use scoretap_tests::apps::{Broken, Scorer};
use scoretap_tests::faults::{FAULTS, stack};
use scoretap_tests::stack::{Folders, Upstream, WayIn};

/// The way in matters only for faults in which the module takes part.
const AS_LOGGER: &[WayIn] = &[WayIn::AccessLog];
const IN_BOTH_WAYS: &[WayIn] = &WayIn::ALL;

#[track_caller]
fn check(name: &str, ways_in: &[WayIn], upstream: &Upstream) {
    let fault = FAULTS.iter().find(|fault| fault.name == name).expect("a fault of that name");
    for way_in in ways_in {
        let name = format!("fault-{}-{}", name.replace(' ', "-"), way_in.as_str());
        let mut stack = stack(&name, *way_in).upstream(upstream.clone()).start().unwrap();
        if let Err(error) = fault.happens_to(&mut stack) {
            panic!("{way_in:?}: {error:#}\n{}", stack.diagnosis());
        }
    }
}

/// A scorer for the tests that do not break it. They share it, because it starts slowly.
fn scorer() -> Upstream {
    static SCORER: Mutex<Weak<Scorer>> = Mutex::new(Weak::new());
    let mut shared = SCORER.lock().unwrap_or_else(PoisonError::into_inner);
    let scorer = shared
        .upgrade()
        .unwrap_or_else(|| Arc::new(Scorer::start(&Folders::create("fault-scorer").unwrap().logs).unwrap()));
    *shared = Arc::downgrade(&scorer);
    Upstream::Shared(scorer)
}

#[test]
fn killed_exporter_loses_nothing() {
    check("the exporter is killed", AS_LOGGER, &scorer());
}

#[test]
fn exporter_without_file_descriptors_recovers() {
    check("the exporter has no file descriptors left", AS_LOGGER, &scorer());
}

#[test]
fn trapping_access_logger_fails_no_call() {
    check("the VM traps again and again", IN_BOTH_WAYS, &scorer());
}

#[test]
fn temporary_bad_configuration_fails_no_call() {
    check("a bad configuration comes and goes", IN_BOTH_WAYS, &scorer());
}

#[test]
fn killed_envoy_counts_from_zero() {
    check("Envoy is killed", AS_LOGGER, &scorer());
}

#[test]
fn hot_restarted_envoy_fails_no_call() {
    check("Envoy hot-restarts", IN_BOTH_WAYS, &scorer());
}

#[test]
fn envoy_without_file_descriptors_counts_its_calls() {
    check("Envoy has no file descriptors left", AS_LOGGER, &scorer());
}

#[test]
fn full_disk_stops_nothing() {
    check("the disk of the logs is full", AS_LOGGER, &scorer());
}

#[test]
fn clock_step_changes_no_count_or_duration() {
    check("the clock steps", AS_LOGGER, &scorer());
}

#[test]
fn dead_app_counts_as_unavailable() {
    check("the app dies", AS_LOGGER, &Upstream::Scorer);
}

#[test]
fn hanging_app_counts_as_cancelled_by_callers() {
    check("the app hangs", AS_LOGGER, &Upstream::Scorer);
}

#[test]
fn broken_answers_count_as_callers_saw_them() {
    check("the app resets, drips and answers garbage", IN_BOTH_WAYS, &Upstream::Scorer);
}

#[test]
fn aborting_and_dripping_callers_disturb_no_other() {
    check("callers abort, drip and pipeline", IN_BOTH_WAYS, &scorer());
}

#[test]
fn megabyte_of_headers_disturbs_no_other() {
    check("callers send 1 MB of headers", IN_BOTH_WAYS, &scorer());
}

#[test]
fn ten_thousand_models_stay_within_the_limit() {
    let quick = Broken::start().unwrap();
    check("callers name 10,000 models", IN_BOTH_WAYS, &Upstream::Http1(quick.address));
}
