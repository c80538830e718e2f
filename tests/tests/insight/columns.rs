//! Columns of the input, from the request to the exporter.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
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

fn post(headers: &[(&str, &str)], body: impl Into<Bytes>) -> Call {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Call { method: "POST".into(), headers, body: body.into(), ..Call::get(SCORE) }
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
        recorded.call(post(&[("content-type", "text/csv")], "age,income\n31,7\n")).0.unwrap();
        let tensor = r#"{"inputs": [{"name": "age", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]}"#;
        let values = [32_f32, -1.0].map(f32::to_le_bytes);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&[tensor.as_bytes(), values.as_flattened()].concat()).unwrap();
        let length = tensor.len().to_string();
        let headers = [("content-encoding", "gzip"), ("inference-header-content-length", &length)];
        recorded.call(post(&headers, encoder.finish().unwrap())).0.unwrap();
        let stats = recorded.stack.envoy_stats("scoretap\\.read\\..*\\.column\\.");
        let counted = |counter: &str| stats.lines().any(|line| line.contains(counter));
        for expected in
            ["column.1.number: 3", "column.age.null: 1", "column.age.number: 3", "column.age.out_of_range: 2"]
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
