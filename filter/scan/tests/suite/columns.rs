//! The columns of the input, in each format that callers write.

use scoretap_scan::cells::{VALUE_CELLS, value_cell};
use scoretap_scan::columns::{Column, Key, MOST};
use scoretap_scan::record::{ColumnCounts, Kind, Record};
use scoretap_scan::request::{Format, RequestScanner};

fn column(key: Key) -> Column {
    Column { key, min: 0.0, max: 100.0 }
}

fn named(name: &str) -> Column {
    column(Key::Name(name.to_owned()))
}

fn columns(body: &str, columns: &[Column], pieces: &[&[u8]]) -> Vec<ColumnCounts> {
    let mut scanner = RequestScanner::new(Format::Json, 1 << 20, columns);
    assert!(pieces.iter().all(|piece| scanner.feed(piece, columns)), "{body}");
    scanner.columns()
}

/// Reads a request whole, in every two pieces and byte by byte, with the columns `a`, `b` and the second position.
#[track_caller]
fn read(body: &str) -> Vec<ColumnCounts> {
    let wanted = [named("a"), named("b"), column(Key::Index(1))];
    let bytes = body.as_bytes();
    let whole = columns(body, &wanted, &[bytes]);
    for at in 1..bytes.len() {
        assert_eq!(columns(body, &wanted, &[&bytes[..at], &bytes[at..]]), whole, "{body} at {at}");
    }
    let record = Record { columns: whole.clone(), ..Record::default() };
    assert_eq!(Record::decode(&record.encode()), Some(record));
    whole
}

/// The numbers that each of the three columns has.
#[track_caller]
fn check(body: &str, expected: [&[f64]; 3]) {
    let counts = read(body);
    for (column, numbers) in (0..).zip(expected) {
        let mut cells = [0_u32; VALUE_CELLS];
        numbers.iter().for_each(|number| cells[value_cell(*number)] += 1);
        let expected: Vec<(u8, u32)> = (0..).zip(cells).filter(|(_, count)| *count > 0).collect();
        let found = counts.iter().find(|counts| counts.column == column);
        assert_eq!(
            found.map(|counts| counts.cells.clone()).unwrap_or_default(),
            expected,
            "{column} of {body}"
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
    let [a, b] =
        read(r#"{"a": [0, 100, -1, 101, 1e999, NaN], "b": [null, "x", "", true, 3]}"#).try_into().unwrap();
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
    let columns = columns(&body, &wanted, &[body.as_bytes()]);
    assert_eq!(columns.len(), MOST);
    let total: u32 = columns.iter().map(ColumnCounts::total).sum();
    let bytes = Record { columns, ..Record::default() }.encode();
    assert!(bytes.len() <= 2048);
    let record = Record::decode(&bytes).unwrap();
    let kept: u32 = record.columns.iter().map(ColumnCounts::total).sum();
    assert!(kept > 0 && kept + record.cut == total, "{kept} {}", record.cut);
}
