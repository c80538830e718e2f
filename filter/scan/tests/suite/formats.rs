//! Every format of predictions, written as its servers write it.

use scoretap_scan::answer::About;
use scoretap_scan::cells::value_cell;
use scoretap_scan::record::{Finding, Kind, Record, Rows, Scanned};

use crate::{about, read, rows, scan};

/// How often values fall into the cells of these numbers.
fn cells(numbers: &[f64]) -> Vec<(u8, u32)> {
    let mut cells: Vec<(u8, u32)> = Vec::new();
    for number in numbers {
        let cell = u8::try_from(value_cell(*number)).unwrap();
        match cells.iter_mut().find(|(known, _)| *known == cell) {
            Some((_, count)) => *count += 1,
            None => cells.push((cell, 1)),
        }
    }
    cells.sort_unstable();
    cells
}

fn kinds(rows: &Rows) -> Vec<(&'static str, u32)> {
    let counts = Kind::ALL.map(|kind| (kind.as_str(), rows.kinds.get(kind)));
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn classes(rows: &Rows) -> Vec<(&str, u32)> {
    rows.classes.iter().map(|(name, count)| (std::str::from_utf8(name).unwrap(), *count)).collect()
}

#[test]
fn partly_read_rows_have_no_fingerprint() {
    for body in [
        r#"{"prediction": {"species": "setosa"}}"#,
        r#"{"predictions": [[[0.1, 0.2]]]}"#,
        r#"[[{"label": "A", "score": 0.9}]]"#,
    ] {
        assert_eq!(rows(body).fingerprint, 0, "{body}");
    }
    assert_ne!(rows(r#"{"predictions": [[0.1, 0.2]]}"#).fingerprint, 0);
}

/// The numbers of an answer of so many rows.
#[track_caller]
fn check_numbers(name: &str, body: &str, expected: &[f64]) {
    let rows = rows(body);
    assert_eq!((rows.rows, rows.cells), (expected.len() as u64, cells(expected)), "{name}");
}

#[test]
fn numbers_are_found_in_each_json_format() {
    let table: [(&str, &str, &[f64]); 26] = [
        ("data", r#"{"data": [0.25, -3]}"#, &[0.25, -3.0]),
        ("predictions", r#"{"predictions": [1, 2.5, 7]}"#, &[1.0, 2.5, 7.0]),
        ("result", r#"{"result": [3.0]}"#, &[3.0]),
        ("prediction, one", r#"{"prediction": 0.7, "probability": 0.9, "status": "ok"}"#, &[0.7]),
        ("output", r#"{"output": 9}"#, &[9.0]),
        ("rows of one column", r#"{"predictions": [[0.5], [7]]}"#, &[0.5, 7.0]),
        (
            "Seldon's ndarray",
            r#"{"data": {"names": ["t:0"], "ndarray": [[0.5], [0.7]]}, "meta": {}}"#,
            &[0.5, 0.7],
        ),
        (
            "Seldon's tensor",
            r#"{"data": {"names": [], "tensor": {"shape": [2, 1], "values": [0.5, 0.7]}}}"#,
            &[0.5, 0.7],
        ),
        ("Seldon's JSON", r#"{"jsonData": [0.5, 0.7], "meta": {}}"#, &[0.5, 0.7]),
        ("Seldon's JSON object", r#"{"jsonData": {"prediction": 0.5, "id": 3}}"#, &[0.5]),
        (
            "Seldon's matrix",
            r#"{"data": {"tensor": {"shape": [2, 2], "values": [0.1, 0.9, 0.7, 0.3]}}}"#,
            &[0.9, 0.7],
        ),
        ("a bare array", "[3, 7]", &[3.0, 7.0]),
        ("a bare number", "3.5", &[3.5]),
        ("JSON in a string", r#""{\"result\": [3.0]}""#, &[3.0]),
        ("an array in a string", r#"" [3.0, \u0035]""#, &[3.0, 5.0]),
        ("a number in a string", r#""3.25""#, &[3.25]),
        ("probabilities", r#"{"predictions": [[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]}"#, &[0.7, 0.6]),
        ("infinities", "[Infinity, -Infinity]", &[f64::INFINITY, f64::NEG_INFINITY]),
        ("an error's number", r#"{"error": 0.12}"#, &[0.12]),
        (
            "v2, flat",
            r#"{"outputs": [{"name": "o", "shape": [2, 2], "datatype": "FP32", "data": [0.9, 0.1, 0.2, 0.8]}]}"#,
            &[0.9, 0.8],
        ),
        (
            "v2, nested",
            r#"{"outputs": [{"name": "o", "shape": [2, 2], "data": [[0.9, 0.1], [0.2, 0.8]]}]}"#,
            &[0.9, 0.8],
        ),
        (
            "v2, two tensors",
            r#"{"outputs": [{"shape": [1], "data": [3]}, {"shape": [1, 2], "data": [0.1, 0.9]}]}"#,
            &[3.0],
        ),
        ("TensorFlow's columns", r#"{"outputs": [[0.5], [0.75]]}"#, &[0.5, 0.75]),
        ("the most telling key", r#"{"data": [1, 2, 3], "predictions": [0.5], "result": 7}"#, &[0.5]),
        (
            "the best key after a tensor",
            r#"{"data": {"tensor": {"shape": [3], "values": [1, 2, 3]}}, "result": 7}"#,
            &[7.0],
        ),
        ("an unrelated answer", r#"{"status": "ok", "took": 3}"#, &[]),
    ];
    for (name, body, expected) in table {
        check_numbers(name, body, expected);
    }
}

#[test]
fn kinds_of_values_are_told_apart() {
    let body = r#"{"predictions": [1, null, NaN, "cat", true, "", [], [1, NaN], [0.5, null], ["a", "b"]]}"#;
    let rows = rows(body);
    assert_eq!(rows.rows, 10);
    let expected = [("number", 1), ("null", 2), ("nan", 2), ("string", 2), ("boolean", 1), ("empty", 2)];
    assert_eq!(kinds(&rows), expected);
}

#[test]
fn vectors_count_the_position_of_their_largest() {
    let vectors = rows("[[0, 0, 1], [0.9, 0.1, 0.3], [1, 2, 3], [[1], [2]]]");
    assert_eq!((vectors.rows, classes(&vectors)), (4, vec![("2", 2), ("0", 1)]));
    assert_eq!(vectors.cells, cells(&[1.0, 0.9, 3.0]));
}

#[test]
fn objects_count_their_label_and_score() {
    let rows =
        rows(r#"[{"label": "cat", "score": 0.75, "id": 17}, {"label": "dog", "score": 0.6, "box": [1, 2]}]"#);
    assert_eq!((rows.rows, classes(&rows)), (2, vec![("cat", 1), ("dog", 1)]));
    assert_eq!(rows.cells, cells(&[0.75, 0.6]));
}

#[test]
fn tensor_values_before_their_shape_are_cut() {
    let record =
        scan(&about("application/json"), br#"{"outputs": [{"data": [1, 2, 3, 4], "shape": [2, 2]}]}"#);
    let rows = record.rows.unwrap();
    assert_eq!((rows.rows, rows.cells, record.cut), (2, Vec::new(), 4));
}

#[test]
fn configured_key_counts_before_all_others() {
    let about = About { key: b"risk", ..about("application/json") };
    let rows = scan(&about, br#"{"predictions": [1, 2], "risk": 0.5}"#).rows.unwrap();
    assert_eq!((rows.rows, rows.cells), (1, cells(&[0.5])));
}

#[test]
fn json_lines_are_a_row_each() {
    let about = about("application/x-ndjson");
    let lines = |body: &str| {
        let record = scan(&about, body.as_bytes());
        (record.scanned, record.rows.unwrap())
    };
    for body in ["1\n0.5\n", "{\"prediction\": 1}\r\n{\"prediction\": 0.5}", "[1]\n\n[0.5]\n"] {
        let (scanned, rows) = lines(body);
        assert_eq!((scanned, rows.rows, rows.cells), (Scanned::Whole, 2, cells(&[1.0, 0.5])), "{body}");
    }
    let (scanned, rows) = lines("1\n{\"pred");
    assert_eq!((scanned, rows.rows), (Scanned::Partial, 1));
}

#[test]
fn csv_lines_are_a_row_each() {
    let csv = |body: &str| scan(&about("text/csv; charset=utf-8"), body.as_bytes()).rows.unwrap();
    for body in ["0.5\n7\n", "score\n0.5\n7", "0.1,0.5\r\n7,2\r\n", "\"a, b\",c\n0.5,0.1\n7,0\n"] {
        let rows = csv(body);
        assert_eq!((rows.rows, rows.cells), (2, cells(&[0.5, 7.0])), "{body}");
    }
    let texts = csv("cat\n\"d\"\"og\"\n\ncat\n");
    assert_eq!((texts.rows, classes(&texts)), (3, vec![("cat", 2), ("d\"og", 1)]));
    assert_eq!(kinds(&csv("1,\nnan,2\n")), [("null", 1), ("nan", 1)]);
}

/// A v2 answer whose first tensor follows the JSON part.
fn binary(datatype: &str, shape: &str, data: &[u8]) -> Record {
    let size = data.len();
    let json = format!(
        r#"{{"model_name":"m","outputs":[{{"name":"o","shape":{shape},"datatype":"{datatype}","parameters":{{"binary_data_size":{size}}}}},{{"name":"p","shape":[1],"datatype":"FP32","parameters":{{"binary_data_size":4}}}}]}}"#
    );
    let about = About { header_length: Some(json.len() as u64), ..about("application/octet-stream") };
    let body = [json.as_bytes(), data, &[1, 2, 3, 4]].concat();
    scan(&about, &body)
}

#[test]
fn binary_tensors_follow_the_json_part() {
    let floats: Vec<u8> = [0.1_f32, 0.9, 0.75, 0.25].iter().flat_map(|value| value.to_le_bytes()).collect();
    let record = binary("FP32", "[2,2]", &floats);
    let rows = record.rows.unwrap();
    assert_eq!((record.scanned, record.model.head()), (Scanned::Whole, b"m".as_slice()));
    assert_eq!((rows.rows, &rows.cells), (2, &cells(&[0.9_f32.into(), 0.75])));
    assert_eq!(classes(&rows), [("1", 1), ("0", 1)]);
    let rows = binary("BYTES", "[2,1]", b"\x03\0\0\0cat\x03\0\0\0dog").rows.unwrap();
    assert_eq!((rows.rows, classes(&rows)), (2, vec![("cat", 1), ("dog", 1)]));
}

#[test]
fn errors_without_predictions_are_structured() {
    let table = [
        (r#"{"error": "no such column"}"#, Finding::Structured),
        (r#"{"error": {"message": "bad"}}"#, Finding::Structured),
        (r#""{\"error\": \"could not convert\"}""#, Finding::Structured),
        (
            r#"{"status": {"code": -1, "info": "bad", "reason": "MICROSERVICE_BAD_DATA", "status": 1}}"#,
            Finding::Structured,
        ),
        (r#"{"status": {"status": "FAILURE"}}"#, Finding::Structured),
        (r#"{"error_code": "BAD_REQUEST", "message": "bad"}"#, Finding::Structured),
        (r#"{"error": ["no such column"]}"#, Finding::Structured),
        (r#"{"error": "partly", "predictions": [1]}"#, Finding::Mentioned),
        (r#""list index out of range""#, Finding::Mentioned),
        (r#"{"result": "ValueError: bad input shape"}"#, Finding::Mentioned),
        (r#""a very good product""#, Finding::Nothing),
        (r#"{"result": "error"}"#, Finding::Nothing),
        (r#"{"error": null, "predictions": [1]}"#, Finding::Nothing),
        (r#"{"error": "", "predictions": [1]}"#, Finding::Nothing),
        (r#"{"error": 0.12}"#, Finding::Nothing),
        (r#"{"status": {"code": 200, "status": "SUCCESS"}, "data": {"ndarray": [1]}}"#, Finding::Nothing),
    ];
    for (body, finding) in table {
        assert_eq!(scan(&about("application/json"), body.as_bytes()).error, finding, "{body}");
    }
}

#[test]
fn text_that_begins_like_json_is_a_text() {
    for body in [r#""[WARN] no model""#, r#""{a}""#, r#""[1] [2]""#, r#""[1""#] {
        let rows = rows(body);
        assert_eq!((rows.rows, kinds(&rows)), (1, vec![("string", 1)]), "{body}");
    }
}

#[test]
fn fingerprints_differ_with_predictions_not_with_ids() {
    let fingerprint = |body: &str| rows(body).fingerprint;
    let one = fingerprint(r#"{"id": "a", "predictions": [0.5, "cat"], "took": 3}"#);
    assert_eq!(one, fingerprint(r#"{"took": 17, "predictions": [ 5e-1, "c\u0061t" ], "id": "b"}"#));
    for other in [
        r#"{"predictions": [0.25, "cat"]}"#,
        r#"{"predictions": [0.5, "dog"]}"#,
        r#"{"predictions": ["cat", 0.5]}"#,
        r#"{"predictions": [[0.5, "cat"]]}"#,
    ] {
        assert_ne!(one, fingerprint(other), "{other}");
    }
}

#[test]
fn malformed_answers_are_unreadable_or_partial() {
    let table = [
        ("application/json", "{\"predictions\": [1, 2", Scanned::Partial),
        ("application/json", "{\"predictions\": [1} ", Scanned::Unreadable),
        ("application/json", "[1] [2]", Scanned::Unreadable),
        ("application/json", "<html>", Scanned::Unreadable),
        ("text/html", "[1]", Scanned::Unreadable),
        ("", "[1]", Scanned::Whole),
        ("application/grpc", "\0\0\0\0\x05\x0a\x03ab", Scanned::Partial),
        ("application/grpc", "\x01\0\0\0\x01\x0a", Scanned::Compressed),
    ];
    for (content_type, body, scanned) in table {
        assert_eq!(read(&about(content_type), [body.as_bytes()]).scanned, scanned, "{body}");
        scan(&about(content_type), body.as_bytes());
    }
}

/// A protobuf field with a length.
pub(crate) fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(value.len()).unwrap()], value].concat()
}

/// A message of gRPC.
pub(crate) fn message(bytes: &[u8]) -> Vec<u8> {
    [&[0_u8][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

#[test]
fn grpc_contents_are_read_for_each_type() {
    let grpc = |contents: &[u8], shape: &[u8]| {
        let output = [field(1, b"o"), field(2, b"FP32"), field(3, shape), field(5, contents)].concat();
        let second = field(5, &field(5, &field(1, &[1])));
        let body = message(&[field(1, b"m"), field(2, b"7"), field(5, &output), second].concat());
        let record = scan(&about("application/grpc"), &body);
        assert_eq!((record.scanned, record.model.head()), (Scanned::Whole, b"m".as_slice()));
        record.rows.unwrap()
    };
    let singles: Vec<u8> = [0.5_f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let doubles: Vec<u8> = [0.5_f64, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(grpc(&field(6, &singles), &[2]).cells, cells(&[0.5, 2.0]));
    assert_eq!(grpc(&field(7, &doubles), &[1, 2]).cells, cells(&[2.0]));
    assert_eq!(grpc(&field(5, &[3, 200, 1]), &[2]).cells, cells(&[3.0, 200.0]));
    assert_eq!(grpc(&field(3, &[[0xFF; 9].as_slice(), &[1]].concat()), &[1]).cells, cells(&[-1.0]));
    assert_eq!(kinds(&grpc(&field(1, &[1, 0]), &[2])), [("boolean", 2)]);
    let texts = grpc(&[field(8, b"cat"), field(8, b"dog")].concat(), &[2]);
    assert_eq!(classes(&texts), [("cat", 1), ("dog", 1)]);
}
