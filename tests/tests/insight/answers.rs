//! Answers with predictions.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use scoretap_scan::record::{Kind, Record, Scanned};
use scoretap_tests::apps::Part;
use scoretap_tests::http::Call;
use scoretap_tests::tools::EnvoyVersion;

use crate::records::{Recorded, SCORE, builder, response};

const JSON: &str = "content-type: application/json\r\n";
/// The numbers in an answer of half a megabyte.
const LARGE: usize = 30_000;

fn numbers(count: usize) -> String {
    let numbers: Vec<String> = (0..count).map(|number| format!("{number}.5000000000")).collect();
    format!("{{\"predictions\": [{}]}}", numbers.join(", "))
}

#[track_caller]
fn check_numbers(record: Option<Record>, count: u64) {
    let record = record.expect("the call has a record");
    let rows = record.rows.expect("an answer with predictions has rows");
    assert_eq!((record.scanned, rows.rows), (Scanned::Whole, count));
    assert_eq!(u64::from(rows.kinds.get(Kind::Number)), count);
}

#[test]
fn record_has_the_predictions_of_an_answer() {
    for version in EnvoyVersion::ALL {
        let script = |path: &str| {
            let (large, compressed) = (numbers(LARGE), numbers(200));
            match path {
                SCORE => vec![Part::now(response(JSON, numbers(3).as_bytes()))],
                // Five bytes in each write, with pauses, so that Envoy reads them apart.
                "/predict" => {
                    let bytes = response(JSON, numbers(3).as_bytes());
                    bytes.chunks(5).map(|piece| Part::after(1, piece)).collect()
                }
                "/invocations" => vec![Part::now(response(JSON, large.as_bytes()))],
                _ => {
                    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                    encoder.write_all(compressed.as_bytes()).unwrap();
                    let headers = format!("{JSON}content-encoding: gzip\r\n");
                    vec![Part::now(response(&headers, &encoder.finish().unwrap()))]
                }
            }
        };
        let mut recorded = Recorded::start(builder("answers", version, script));
        for (path, count) in
            [(SCORE, 3), ("/predict", 3), ("/invocations", LARGE as u64), ("/v1/models/gzip:predict", 200)]
        {
            let (answer, record) = recorded.call(Call::post(path, "{}"));
            let answer = answer.unwrap();
            assert!(answer.complete && answer.status == 200, "{path}");
            check_numbers(record, count);
        }
        assert_eq!(recorded.counted(), 4);
    }
}

#[test]
fn calls_without_route_leave_no_record() {
    let script = |_: &str| vec![Part::now(response(JSON, numbers(3).as_bytes()))];
    let mut recorded = Recorded::start(builder("no-route", EnvoyVersion::Newest, script));
    let (answer, record) = recorded.call(Call::post("/health", "{}"));
    assert_eq!((answer.unwrap().text(), record), (numbers(3), None));
    assert_eq!(recorded.counted(), 0);
}
