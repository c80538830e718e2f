//! Columns of the input, from the request to the exporter.

use scoretap_scan::record::Kind;
use scoretap_tests::apps::Part;
use scoretap_tests::http::Call;
use scoretap_tests::tools::EnvoyVersion;

use crate::records::{Recorded, SCORE, builder, response};

const CONFIGURATION: &str =
    r#"{"insight": {"columns": [{"name": "age", "min": 0, "max": 120}, {"index": 1}]}}"#;

fn script(path: &str) -> Vec<Part> {
    let answer = response("content-type: application/json\r\n", b"{\"predictions\": [1]}");
    match path {
        SCORE => vec![Part::now(answer)],
        _ => vec![Part::now(b"HTTP/1.1 422 Unprocessable\r\ncontent-length: 0\r\n\r\n".to_vec())],
    }
}

#[test]
fn columns_reach_the_counters() {
    for version in EnvoyVersion::ALL {
        let mut recorded = Recorded::start(builder("columns", version, script).filter_config(CONFIGURATION));
        for (path, body) in [
            (SCORE, r#"{"instances": [{"age": 30}, {"age": 130}, {"age": null}]}"#),
            (SCORE, r#"{"instances": [[1, 2], [3, 4]]}"#),
            ("/predict", r#"{"age": 40}"#),
        ] {
            recorded.call(Call::post(path, body)).0.unwrap();
        }
        let stats = recorded.stack.envoy_stats("scoretap\\.read\\..*\\.column\\.");
        let counted = |counter: &str| stats.lines().any(|line| line.contains(counter));
        for expected in
            ["column.1.number: 2", "column.age.null: 1", "column.age.number: 1", "column.age.out_of_range: 1"]
        {
            assert!(counted(expected), "{version:?}, {expected}: {stats}");
        }
    }
}

/// Nearly a megabyte, which arrives in many pieces. Mostly text, so that no piece takes a millisecond to read.
#[test]
fn columns_of_large_requests_are_read_whole() {
    let mut recorded =
        Recorded::start(builder("columns-large", EnvoyVersion::Newest, script).filter_config(CONFIGURATION));
    let note = "n".repeat(200);
    let rows: Vec<String> =
        (0..4_000).map(|age| format!("{{\"age\": {}, \"note\": \"{note}\"}}", age % 150)).collect();
    let body = format!("{{\"instances\": [{}]}}", rows.join(", "));
    let (_, record) = recorded.call(Call::post(SCORE, body));
    let columns = record.unwrap().columns;
    let out_of_range = (0..4_000).filter(|age| age % 150 > 120).count();
    assert_eq!(columns.len(), 1);
    assert_eq!(columns[0].out_of_range as usize, out_of_range);
    assert_eq!(columns[0].kinds.get(Kind::Number) as usize, 4_000 - out_of_range);
}
