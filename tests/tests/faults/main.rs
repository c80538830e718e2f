//! Each fault once, on a stack of its own. Over and over: `cargo xtask soak`.

use scoretap_tests::faults::{FAULTS, stack};

#[track_caller]
fn check(name: &str) {
    let fault = FAULTS.iter().find(|fault| fault.name == name).expect("a fault of that name");
    let mut stack = stack(&format!("fault-{}", name.replace(' ', "-"))).start().unwrap();
    if let Err(error) = fault.happens_to(&mut stack) {
        panic!("{error:#}\n{}", stack.diagnosis());
    }
}

#[test]
fn an_exporter_that_is_killed_loses_nothing() {
    check("the exporter is killed");
}

#[test]
fn a_vm_that_traps_again_and_again_fails_no_call() {
    check("the VM traps again and again");
}

#[test]
fn a_bad_configuration_that_comes_and_goes_fails_no_call() {
    check("a bad configuration comes and goes");
}

#[test]
fn callers_who_abort_drip_and_pipeline_disturb_no_other() {
    check("callers abort, drip and pipeline");
}

#[test]
fn callers_who_send_a_megabyte_of_headers_disturb_no_other() {
    check("callers send 1 MB of headers");
}

#[test]
fn an_envoy_without_file_descriptors_counts_what_it_took() {
    check("Envoy has no file descriptors left");
}

#[test]
fn an_envoy_that_is_killed_counts_on_from_nothing() {
    check("Envoy is killed");
}

#[test]
fn a_full_disk_stops_nothing() {
    check("the disk of Envoy's log is full");
}
