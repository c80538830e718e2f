//! The columns of the input, in each format that callers write.

use scoretap_scan::cells::{VALUE_CELLS, value_cell};
use scoretap_scan::columns::{Column, Key, MOST};
use scoretap_scan::record::{ColumnCounts, Kind, Record};
use scoretap_scan::request::{About, RequestScanner};

use crate::formats::{field, message};
use crate::http::capture;
use crate::limits::gzip;

fn column(key: Key) -> Column {
    Column { key, min: 0.0, max: 100.0 }
}

fn named(name: &str) -> Column {
    column(Key::Name(name.to_owned()))
}

/// The description of a request of which only the type is known.
pub(crate) fn about(content_type: &str) -> About<'_> {
    About {
        content_type: content_type.as_bytes(),
        most_bytes: 1 << 20,
        may_inflate: true,
        ..About::default()
    }
}

fn columns<'a>(
    about: &About<'_>,
    columns: &[Column],
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<ColumnCounts> {
    let mut scanner = RequestScanner::new(about, columns);
    pieces.into_iter().for_each(|piece| scanner.feed(piece, columns));
    scanner.finish(columns).columns
}

/// Reads a request whole, in every two pieces and byte by byte, with the columns `a`, `b` and the second position.
#[track_caller]
fn read(about: &About<'_>, body: &[u8]) -> Vec<ColumnCounts> {
    let wanted = [named("a"), named("b"), column(Key::Index(1))];
    let whole = columns(about, &wanted, [body]);
    for at in 1..body.len() {
        let (one, two) = body.split_at(at);
        assert_eq!(columns(about, &wanted, [one, two]), whole, "split at {at}");
    }
    assert_eq!(columns(about, &wanted, body.chunks(1)), whole, "byte by byte");
    let record = Record { columns: whole.clone(), ..Record::default() };
    assert_eq!(Record::decode(&record.encode()), Some(record));
    whole
}

/// The numbers that each of the three columns has in a JSON request.
#[track_caller]
fn check(body: &str, expected: [&[f64]; 3]) {
    check_as(&about("application/json"), body.as_bytes(), expected);
}

#[track_caller]
fn check_as(about: &About<'_>, body: &[u8], expected: [&[f64]; 3]) {
    let counts = read(about, body);
    for (column, numbers) in (0..).zip(expected) {
        let mut cells = [0_u32; VALUE_CELLS];
        numbers.iter().for_each(|number| cells[value_cell(*number)] += 1);
        let expected: Vec<(u8, u32)> = (0..).zip(cells).filter(|(_, count)| *count > 0).collect();
        let found = counts.iter().find(|counts| counts.column == column);
        assert_eq!(
            found.map(|counts| counts.cells.clone()).unwrap_or_default(),
            expected,
            "{column} of {}",
            String::from_utf8_lossy(body)
        );
    }
}

#[test]
fn names_are_found_in_rows_that_are_objects() {
    check(r#"{"a": 1, "b": 20, "c": 3}"#, [&[1.0], &[20.0], &[]]);
    check(r#"{"instances": [{"a": 1, "b": 20}, {"b": 5, "a": 0.5}]}"#, [&[1.0, 0.5], &[20.0, 5.0], &[]]);
    check(r#"[{"a": 1}, {"a": 2, "tags": [7, 8]}]"#, [&[1.0, 2.0], &[], &[]]);
    check(r#"{"dataframe_records": [{"a": 1, "b": null}]}"#, [&[1.0], &[], &[]]);
    check(r#"{"customer": {"a": 1}, "b": 2}"#, [&[1.0], &[2.0], &[]]);
}

#[test]
fn names_are_found_above_lists_of_values() {
    check(r#"{"inputs": {"a": [1, 2], "b": [[3], [4]]}}"#, [&[1.0, 2.0], &[3.0, 4.0], &[]]);
    check(r#"{"a": {"0": 1, "1": 2}, "b": {"0": 3, "unit": 4}}"#, [&[1.0, 2.0], &[3.0], &[]]);
}

#[test]
fn names_are_found_in_headings() {
    let split = r#"{"dataframe_split": {"columns": ["c", "b", "a"], "index": [0, 1], "data": [[1, 2, 3], [4, 5, 6]]}}"#;
    check(split, [&[3.0, 6.0], &[2.0, 5.0], &[2.0, 5.0]]);
    let seldon = r#"{"data": {"names": ["a", "b"], "ndarray": [[1, 2], [3, 4]]}}"#;
    check(seldon, [&[1.0, 3.0], &[2.0, 4.0], &[2.0, 4.0]]);
    let tensor = r#"{"data": {"names": ["a", "b"], "tensor": {"shape": [2, 2], "values": [1, 2, 3, 4]}}}"#;
    check(tensor, [&[1.0, 3.0], &[2.0, 4.0], &[2.0, 4.0]]);
}

#[test]
fn names_are_found_in_tensors() {
    let body = r#"{"id": "1", "inputs": [
        {"name": "a", "shape": [2, 1], "datatype": "FP32", "parameters": {"content_type": "np"}, "data": [1, 2]},
        {"name": "b", "shape": [2], "datatype": "FP32", "data": [[3], [4]]},
        {"name": "c", "shape": [2, 2], "datatype": "FP32", "data": [5, 6, 7, 8]}]}"#;
    check(body, [&[1.0, 2.0], &[3.0, 4.0], &[6.0, 8.0]]);
}

#[test]
fn positions_are_found_in_tensors_without_a_shape() {
    let body = r#"{"inputs": [
        {"data": [[1, 2], [3, 4]], "datatype": "FP64", "name": "a", "shape": [2, 2]},
        {"data": [5, 6, 7, 8], "name": "rows", "shape": [2, 2]}]}"#;
    check(body, [&[], &[], &[2.0, 4.0]]);
    check(r#"{"instances": [{"data": [[1, 2], [3, 4]]}]}"#, [&[], &[], &[]]);
}

#[test]
fn positions_and_headings_are_found_in_csv() {
    let csv = |body: &str, expected| check_as(&about("text/csv; charset=utf-8"), body.as_bytes(), expected);
    csv("b,\"a\",c\r\n1,2,3\r\n4,,\"6\"\r\n", [&[2.0], &[1.0, 4.0], &[2.0]]);
    csv("1,2\n3,4", [&[], &[], &[2.0, 4.0]]);
    // A line with a number is no heading, and its texts are no names.
    csv("a,2\n3,4\n", [&[], &[], &[2.0, 4.0]]);
    csv("c,b\n\n5,-6", [&[], &[-6.0], &[-6.0]]);
}

/// Two tensors: `b` with two rows of one value, and an unnamed one with two rows of two values.
fn request(b: &[u8], rows: &[u8], raw: &[u8]) -> Vec<u8> {
    let one = [field(1, b"b"), field(2, b"FP32"), field(3, &[2]), b.to_vec()].concat();
    let two = [field(1, b"rows"), field(2, b"INT16"), field(3, &[2, 2]), rows.to_vec()].concat();
    message(&[field(1, b"m"), field(5, &one), field(5, &two), raw.to_vec()].concat())
}

#[test]
fn grpc_tensors_are_read_in_both_forms() {
    let grpc = about("application/grpc");
    let expected: [&[f64]; 3] = [&[], &[0.5, 30.0], &[8.0, 10.0]];
    let singles: Vec<u8> = [0.5_f32, 30.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let contents = request(&field(5, &field(6, &singles)), &field(5, &field(2, &[7, 8, 9, 10])), &[]);
    check_as(&grpc, &contents, expected);
    let integers: Vec<u8> = [7_i16, 8, 9, 10].iter().flat_map(|value| value.to_le_bytes()).collect();
    let raw = request(&[], &[], &[field(7, &singles), field(7, &integers)].concat());
    check_as(&grpc, &raw, expected);
    // Each message of a stream has its own tensors.
    check_as(&grpc, &[raw, contents].concat(), [&[], &[0.5, 30.0, 0.5, 30.0], &[8.0, 10.0, 8.0, 10.0]]);
    let texts = request(&field(5, &[field(8, b"x"), field(8, b"")].concat()), &[], &[]);
    let counts = read(&grpc, &texts);
    assert_eq!(Kind::ALL.map(|kind| counts[0].kinds.get(kind)), [0, 0, 0, 1, 0, 1]);
}

#[test]
fn binary_tensors_follow_in_their_order() {
    let json = r#"{"inputs": [
        {"name": "b", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
        {"name": "none", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 0}},
        {"name": "a", "shape": [2], "datatype": "INT64", "data": [3, 4]},
        {"name": "rows", "shape": [2, 2], "datatype": "INT16", "parameters": {"binary_data_size": 8}}]}"#;
    let singles = [0.5_f32, 30.0].map(f32::to_le_bytes);
    let integers = [7_i16, 8, 9, 10].map(i16::to_le_bytes);
    let body = [json.as_bytes(), singles.as_flattened(), integers.as_flattened(), b"more"].concat();
    let binary = About { header_length: Some(json.len() as u64), ..about("application/octet-stream") };
    check_as(&binary, &body, [&[3.0, 4.0], &[0.5, 30.0], &[8.0, 10.0]]);
}

#[test]
fn compressed_requests_are_read_like_others() {
    let body = gzip(br#"{"instances": [{"a": 1}, {"a": 2}]}"#);
    let compressed = About { encoding: b"gzip", ..about("application/json") };
    check_as(&compressed, &body, [&[1.0, 2.0], &[], &[]]);
    for unreadable in
        [About { may_inflate: false, ..compressed }, About { encoding: b"br", ..about("application/json") }]
    {
        check_as(&unreadable, &body, [&[], &[], &[]]);
    }
}

#[test]
fn limit_holds_in_each_format() {
    let csv = About { most_bytes: 4, ..about("text/csv") };
    check_as(&csv, b"1,2\n3,4\n", [&[], &[], &[2.0]]);
    let json = About { most_bytes: 19, ..about("application/json") };
    check_as(&json, br#"{"a": 1, "b": [2, 3, 4, 5]}"#, [&[1.0], &[2.0], &[]]);
}

#[test]
fn cut_numbers_and_headings_are_not_counted() {
    let csv = |most_bytes| About { most_bytes, ..about("text/csv") };
    check_as(&csv(6), b"1,2\n3,45\n", [&[], &[], &[2.0]]);
    check_as(&csv(10), b"1,2\n3,45\n", [&[], &[], &[2.0, 45.0]]);
    assert_eq!(read(&csv(5), b"c,b,\"c\"\n3,45\n"), []);
    check_as(&About { most_bytes: 11, ..about("") }, br#"{"a": [1, 23]}"#, [&[1.0], &[], &[]]);
}

#[test]
fn each_line_of_json_lines_is_read() {
    check("{\"a\": 1}\n{\"a\": 2, \"b\": 3}\r\n[4, 5]\n", [&[1.0, 2.0], &[3.0], &[5.0]]);
    check("{\"a\": 1} } {\"a\": 2}", [&[1.0], &[], &[]]);
}

/// Requests of real clients, with the second of four features.
#[test]
fn recorded_requests_give_their_columns() {
    let second = [3.5, 3.0];
    for (name, found) in [
        ("tri-http-bin", &second[..]),
        ("tri-http-gzip", &second.repeat(100)),
        ("tri-grpc", &second),
        ("mlflow-csv", &second[..1]),
    ] {
        let raw = capture(&format!("{name}.request.raw"));
        let position = |wanted: &[u8]| raw.windows(wanted.len()).position(|window| window == wanted).unwrap();
        if name == "tri-grpc" {
            let start = position(b"\0\0\0\0\x4e");
            check_as(&about("application/grpc"), &raw[start..start + 0x53], [&[], &[], found]);
            continue;
        }
        let end = position(b"\r\n\r\n");
        let head = std::str::from_utf8(&raw[..end]).unwrap().to_lowercase();
        let headers: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(':')).collect();
        let header =
            |name: &str| headers.iter().find(|header| header.0 == name).map_or("", |header| header.1);
        let about = About {
            encoding: header("content-encoding").as_bytes(),
            header_length: header("inference-header-content-length").trim().parse().ok(),
            ..about(header("content-type").trim())
        };
        check_as(&about, &raw[end + 4..], [&[], &[], found]);
    }
}

#[test]
fn positions_are_found_in_rows_that_are_lists() {
    check(r#"{"instances": [[1, 2, 3], [4, 5, 6]]}"#, [&[], &[], &[2.0, 5.0]]);
    check("[[1, 2], [3]]", [&[], &[], &[2.0]]);
    check(r#"{"features": [5.1, 3.5, 1.4]}"#, [&[], &[], &[3.5]]);
    check("[5.1, 3.5, 1.4]", [&[], &[], &[3.5]]);
    // Each value is a row of its own.
    check(r#"{"instances": [1, 2, 3]}"#, [&[], &[], &[]]);
    // A row may hold a list or an object.
    check(r#"{"data": [[[9, 9], 2], [{"x": 1}, 3]]}"#, [&[], &[], &[2.0, 3.0]]);
}

#[test]
fn lists_outside_of_rows_are_not_counted() {
    check(r#"{"ids": [1, 2], "instances": [{"tags": [1, 2], "x": [3, 4]}]}"#, [&[], &[], &[]]);
}

#[test]
fn kinds_tell_numbers_in_and_out_of_range() {
    let body = br#"{"a": [0, 100, -1, 101, 1e999, NaN], "b": [null, "x", "", true, 3]}"#;
    let [a, b] = read(&about("application/json"), body).try_into().unwrap();
    let kinds = |counts: &ColumnCounts| Kind::ALL.map(|kind| counts.kinds.get(kind));
    assert_eq!((kinds(&a), a.out_of_range), ([2, 0, 1, 0, 0, 0], 3));
    assert_eq!((kinds(&b), b.out_of_range), ([1, 1, 0, 1, 1, 1], 0));
}

#[test]
fn columns_that_exceed_the_record_are_cut() {
    let wanted: Vec<Column> = (0..MOST).map(|index| named(&format!("c{index}"))).collect();
    let values: String =
        (-30..30).map(|power| format!("{},", f64::from(power) * 1.7f64.powi(power))).collect();
    let fields: Vec<String> = (0..MOST).map(|index| format!("\"c{index}\": [{values}1]")).collect();
    let body = format!("{{{}}}", fields.join(","));
    let columns = columns(&about("application/json"), &wanted, [body.as_bytes()]);
    assert_eq!(columns.len(), MOST);
    let total: u32 = columns.iter().map(ColumnCounts::total).sum();
    let bytes = Record { columns, ..Record::default() }.encode();
    assert!(bytes.len() <= 2048);
    let record = Record::decode(&bytes).unwrap();
    let kept: u32 = record.columns.iter().map(ColumnCounts::total).sum();
    assert!(kept > 0 && kept + record.cut == total, "{kept} {}", record.cut);
}
