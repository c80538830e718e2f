//! Each fault once, on a stack of its own. Over and over, as access logger and as HTTP filter: `cargo xtask soak`.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use scoretap_tests::apps::{Broken, Scorer};
use scoretap_tests::faults::{FAULTS, stack};
use scoretap_tests::stack::{Folders, Upstream, WayIn};

/// Only where the module has a part in it does the way in make a difference.
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

/// The scorer of those tests that leave it alone: it is slow to start.
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
fn an_exporter_that_is_killed_loses_nothing() {
    check("the exporter is killed", AS_LOGGER, &scorer());
}

#[test]
fn an_exporter_without_file_descriptors_is_back_when_there_are_some() {
    check("the exporter has no file descriptors left", AS_LOGGER, &scorer());
}

#[test]
fn a_vm_that_traps_again_and_again_fails_no_call_as_an_access_logger() {
    check("the VM traps again and again", IN_BOTH_WAYS, &scorer());
}

#[test]
fn a_bad_configuration_that_comes_and_goes_fails_no_call() {
    check("a bad configuration comes and goes", IN_BOTH_WAYS, &scorer());
}

#[test]
fn an_envoy_that_is_killed_counts_on_from_nothing() {
    check("Envoy is killed", AS_LOGGER, &scorer());
}

#[test]
fn an_envoy_that_hot_restarts_fails_no_call() {
    check("Envoy hot-restarts", IN_BOTH_WAYS, &scorer());
}

#[test]
fn an_envoy_without_file_descriptors_counts_what_it_took() {
    check("Envoy has no file descriptors left", AS_LOGGER, &scorer());
}

#[test]
fn a_full_disk_stops_nothing() {
    check("the disk of the logs is full", AS_LOGGER, &scorer());
}

#[test]
fn a_clock_that_steps_changes_no_count_and_no_duration() {
    check("the clock steps", AS_LOGGER, &scorer());
}

#[test]
fn an_app_that_dies_is_said_to_be_unavailable_until_it_is_back() {
    check("the app dies", AS_LOGGER, &Upstream::Scorer);
}

#[test]
fn an_app_that_hangs_is_waited_for() {
    check("the app hangs", AS_LOGGER, &Upstream::Scorer);
}

#[test]
fn an_app_that_breaks_in_every_way_is_counted_as_its_callers_saw_it() {
    check("the app resets, drips and answers garbage", IN_BOTH_WAYS, &Upstream::Scorer);
}

#[test]
fn callers_who_abort_drip_and_pipeline_disturb_no_other() {
    check("callers abort, drip and pipeline", IN_BOTH_WAYS, &scorer());
}

#[test]
fn callers_who_send_a_megabyte_of_headers_disturb_no_other() {
    check("callers send 1 MB of headers", IN_BOTH_WAYS, &scorer());
}

#[test]
fn callers_who_name_ten_thousand_models_get_no_more_series_than_the_limit() {
    let quick = Broken::start().unwrap();
    check("callers name 10,000 models", IN_BOTH_WAYS, &Upstream::Http1(quick.address));
}
