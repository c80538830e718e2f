//! Insight is switched off and on in a running Envoy, while calls pass.

use std::time::Duration;

use scoretap_tests::apps::Part;
use scoretap_tests::http::{self, Call, Endpoint, Protocol};
use scoretap_tests::stack::set_insight_percent;
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::wait::wait_until;

use crate::records::{Recorded, SCORE, builder, response};

const PATIENCE: Duration = Duration::from_secs(10);
const SLOW: &str = "/score?slow";

/// An answer of two predictions. The last byte of a slow one comes after two seconds.
fn scorer(path: &str) -> Vec<Part> {
    let bytes = response("content-type: application/json\r\n", b"{\"predictions\": [1, 2]}");
    let (most, last) = bytes.split_at(bytes.len() - 1);
    vec![Part::now(most), Part::after(if path == SLOW { 2_000 } else { 0 }, last)]
}

fn set(recorded: &Recorded, percent: &str) {
    set_insight_percent(&recorded.stack.folders.run.join("runtime"), percent).unwrap();
}

/// Makes calls until Insight reads them, or until it does not. Returns how many.
#[track_caller]
fn wait_for_switch(recorded: &mut Recorded, is_on: bool) -> u64 {
    let mut calls = 0;
    wait_until("Envoy has followed the switch", PATIENCE, || {
        calls += 1;
        let (answer, record) = recorded.call(Call::post(SCORE, "{}"));
        assert_eq!(answer.unwrap().status, 200);
        record.is_some() == is_on
    });
    calls
}

#[test]
fn call_in_flight_is_read_to_its_end() {
    for version in EnvoyVersion::ALL {
        let mut recorded = Recorded::start(builder("switched-in-flight", version, scorer));
        assert_eq!(wait_for_switch(&mut recorded, true), 1, "without the file, all calls are read");
        let endpoint = Endpoint::Tcp(recorded.stack.address);
        let slow = std::thread::spawn(move || http::call(&endpoint, Protocol::Http1, Call::post(SLOW, "{}")));
        wait_until("the call is in flight", PATIENCE, || recorded.stack.in_flight() == 1);
        set(&recorded, "0");
        wait_for_switch(&mut recorded, false);
        let answer = slow.join().unwrap().unwrap();
        assert_eq!((answer.status, answer.complete), (200, true));
        let record = recorded.next().expect("it began before the switch");
        assert_eq!(record.rows.expect("an answer with predictions has rows").rows, 2);
    }
}

#[test]
fn switching_under_load_loses_no_call() {
    const CALLS: usize = 400;
    for version in EnvoyVersion::ALL {
        let mut recorded = Recorded::start(builder("switched", version, scorer));
        recorded.stack.start_exporter().unwrap();
        let load = recorded.stack.load(Protocol::Http1, 8);
        let calls = std::thread::spawn(move || load.run(vec![Call::post(SCORE, "{}"); CALLS]));
        let mut switched = 0;
        while !calls.is_finished() {
            set(&recorded, if switched % 2 == 0 { "0" } else { "100" });
            switched += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        for answer in calls.join().unwrap() {
            let answer = answer.unwrap();
            assert_eq!((answer.status, answer.complete), (200, true));
        }
        recorded.take(CALLS);
        let read = recorded.counted();
        println!("{version:?}: {switched} switches, {read} of {CALLS} calls read");
        assert!((1..CALLS as u64).contains(&read), "{read} calls were read");
        let sum = |metrics: &str| {
            recorded.stack.metrics().sum(metrics, &[("route", "score"), ("status", "success")])
        };
        wait_until("all calls are counted", PATIENCE, || sum("prediction_requests_total") == CALLS as f64);
        set(&recorded, "100");
        wait_for_switch(&mut recorded, true);
    }
}
