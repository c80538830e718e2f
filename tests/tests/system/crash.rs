//! A VM that traps: a module built for this test does when a call's header tells it to.

use std::time::Duration;

use scoretap_tests::apps::{Break, Broken};
use scoretap_tests::http::Call;
use scoretap_tests::stack::{Stack, StackBuilder, Upstream, WayIn};
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::workspace::TestModule;

use crate::{by_envoy, in_both_ways, score, seen};

/// A stack whose VMs can be made to trap, and are started anew after that.
pub(crate) fn reloading(name: &str, way_in: WayIn) -> StackBuilder {
    let builder = Stack::builder(name).way_in(way_in).module(&TestModule::Trap.path());
    // The shipped access logger reloads; the shipped HTTP filter does not, as that can answer calls with 503.
    builder.edit_listener(|listener| listener.plugin()["failure_policy"] = "FAIL_RELOAD".into())
}

/// A call during which the VM traps.
pub(crate) fn trapping() -> Call {
    score().header("x-scoretap-trap", "1")
}

/// The gap between what Envoy counted and what the filter saw.
fn unseen(stack: &Stack) -> f64 {
    stack.settle();
    let metrics = stack.metrics();
    by_envoy(&metrics) - seen(&metrics)
}

/// Makes calls that all have to be answered, on fresh connections and so by both workers.
fn call(stack: &Stack, count: u32) {
    for _ in 0..count {
        assert_eq!(
            stack.call(score()).unwrap().status,
            200,
            "a call failed that would not have failed without us"
        );
    }
}

#[test]
fn reloaded_vm_continues_its_counts() {
    in_both_ways("trap", |name, way_in| {
        let stack = reloading(name, way_in).start().unwrap();
        assert_eq!(stack.metrics().get("scoretap_vm_reloads_total", &[("result", "success")]), Some(0.0));
        for _ in 0..3 {
            call(&stack, 20);
            let (counted, gap) = (seen(&stack.metrics()), unseen(&stack));
            assert_eq!(stack.call(trapping()).unwrap().status, 200);
            assert_eq!(unseen(&stack), gap + 1.0, "the call that trapped is what was not seen");
            assert_eq!(seen(&stack.metrics()), counted);
            recover(&stack);
        }
        let metrics = stack.metrics();
        assert!(metrics.get("scoretap_vm_reloads_total", &[("result", "success")]) >= Some(3.0));
        assert_eq!(metrics.sum("prediction_requests_total", &[]), seen(&metrics));
        assert_eq!(metrics.sum("prediction_duration_seconds_count", &[]), seen(&metrics));
    });
}

/// Calls until 20 in a row are seen.
fn recover(stack: &Stack) {
    wait_until("the VMs are back", Duration::from_secs(30), || {
        let before = unseen(stack);
        for _ in 0..20 {
            // As an HTTP filter a VM that is just being reloaded answers for the app: why it is not shipped so.
            let _ = stack.call(score());
        }
        unseen(stack) == before
    });
}

/// As an access logger nothing that the module does can reach a call, not even the one during which it traps.
#[test]
fn trapping_logger_fails_no_call() {
    let stack = reloading("trap-answered", WayIn::AccessLog).start().unwrap();
    for _ in 0..10 {
        assert_eq!(stack.call(trapping()).unwrap().status, 200);
        call(&stack, 3);
    }
}

/// Not even those that are still in flight. (As an HTTP filter these fail with the VM: README.md says so.)
#[test]
fn calls_in_flight_outlive_the_loggers_vm() {
    let broken = Broken::start().unwrap();
    let builder = reloading("trap-in-flight", WayIn::AccessLog);
    let stack = builder.upstream(Upstream::Http1(broken.address)).start().unwrap();
    let held = || stack.call(Call::post(&Break::Held.path(), "{}")).unwrap();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..6).map(|_| scope.spawn(held)).collect();
        wait_until("six calls are in flight", STARTUP, || stack.in_flight() == 6);
        for _ in 0..6 {
            assert_eq!(stack.call(trapping()).unwrap().status, 200);
        }
        wait_until("only they are in flight", STARTUP, || stack.in_flight() == 6);
        broken.let_go();
        callers.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap().status, 200));
    });
}

/// The shipped HTTP filter prefers to be blind: the gap says how much it did not see, until it is configured anew.
#[test]
fn trapped_filter_passes_calls_unseen_until_configured() {
    let builder = Stack::builder("trap-open").way_in(WayIn::HttpFilter).module(&TestModule::Trap.path());
    let mut stack = builder.dynamic().start().unwrap();
    call(&stack, 20);
    assert_eq!(unseen(&stack), 0.0);
    for _ in 0..10 {
        assert_eq!(stack.call(trapping()).unwrap().status, 200);
    }
    let (counted, gap) = (seen(&stack.metrics()), unseen(&stack));
    assert_eq!(gap, 10.0);
    call(&stack, 20);
    assert_eq!((seen(&stack.metrics()), unseen(&stack)), (counted, gap + 20.0), "both workers are blind");
    stack.reconfigure(r#"{"max_series": 100}"#).unwrap();
    let blind = unseen(&stack);
    call(&stack, 20);
    assert_eq!((seen(&stack.metrics()), unseen(&stack)), (counted + 20.0, blind));
}
