//! The limits on memory and work of a scanner.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use scoretap_scan::answer::{About, AnswerScanner};
use scoretap_scan::record::Scanned;
use scoretap_scan::request::RequestScanner;

use crate::{MOST, about, read, scan};

pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn compressed<'a>() -> About<'a> {
    About { encoding: b"gzip", ..about("application/json") }
}

/// Numbers that do not repeat.
fn numbers(count: u32) -> String {
    let numbers: Vec<String> =
        (0..count).map(|index| (index.wrapping_mul(2_654_435_761) >> 7).to_string()).collect();
    format!("[{}]", numbers.join(","))
}

#[test]
fn scanners_take_less_than_a_kilobyte() {
    let sizes = [size_of::<AnswerScanner>(), size_of::<RequestScanner>()];
    assert!(sizes.iter().all(|size| *size < 1024), "{sizes:?}");
}

#[test]
fn answer_without_a_body_is_whole() {
    for content_type in ["application/json", "text/event-stream", "application/grpc", "text/csv"] {
        for encoding in [&b""[..], b"gzip", b"br"] {
            let record = read(&About { encoding, is_llm: true, ..about(content_type) }, []);
            assert_eq!((record.scanned, record.rows), (Scanned::Whole, None), "{content_type}");
        }
    }
}

#[test]
fn long_names_keep_what_the_record_holds() {
    let name = "n".repeat(200);
    for (is_llm, body) in [
        (false, format!(r#"{{"model_name": "{name}", "model_version": "{name}"}}"#)),
        (true, format!(r#"{{"model": "{name}"}}"#)),
    ] {
        // `scan` compares the record with itself after the wire.
        let record = scan(&About { is_llm, ..about("application/json") }, body.as_bytes());
        assert_eq!(record.model.head().len(), 80, "{body}");
    }
}

#[test]
fn broken_or_endless_gzip_frees_its_window() {
    let endless = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0][..], &[b'a'; 200]].concat();
    for (body, expected) in [(&b"not compressed"[..], Scanned::Unreadable), (&endless, Scanned::Partial)] {
        let mut scanner = AnswerScanner::new(&About { most_bytes: 100, ..compressed() });
        assert!(scanner.is_inflating());
        scanner.feed(body, 0);
        assert!(scanner.left().is_none() && !scanner.is_inflating());
        assert_eq!(scanner.finish().scanned, expected);
    }
}

#[test]
fn bodies_beyond_the_limit_are_partial() {
    let about = About { most_bytes: 7, ..about("application/json") };
    let record = scan(&about, b"[1, 2, 3, 4]");
    assert_eq!((record.scanned, record.rows.unwrap().rows), (Scanned::Partial, 2));
    let exact = About { most_bytes: 12, ..about };
    assert_eq!(scan(&exact, b"[1, 2, 3, 4]").scanned, Scanned::Whole);
}

#[test]
fn predictions_that_the_limit_cuts_are_not_counted() {
    for (content_type, body, most_bytes, whole) in [
        ("text/csv", &b"1\n23\n"[..], 3, 1),
        ("text/csv", b"1,2\n3,4\n", 7, 1),
        ("text/csv", b"cat\ndog\n", 5, 0),
        ("application/json", b"[1, 23]", 5, 1),
        ("application/json", b"123", 2, 0),
        ("application/jsonl", b"1\n23\n", 3, 1),
    ] {
        let record = scan(&About { most_bytes, ..about(content_type) }, body);
        let rows = record.rows.unwrap();
        assert_eq!((record.scanned, rows.rows), (Scanned::Partial, whole), "{body:?}");
        assert_eq!(rows.kinds.total(), u32::try_from(whole).unwrap(), "{body:?}");
    }
}

#[test]
fn limit_holds_for_what_gzip_becomes() {
    let body = gzip(numbers(1000).as_bytes());
    let whole = read(&compressed(), [body.as_slice()]);
    assert_eq!((whole.scanned, whole.rows.unwrap().rows), (Scanned::Whole, 1000));
    let record = scan(&About { most_bytes: 100, ..compressed() }, &body);
    assert_eq!(record.scanned, Scanned::Partial);
}

#[test]
fn large_gzip_bodies_pass_through_the_window() {
    let body = gzip(numbers(50_000).as_bytes());
    let whole = read(&compressed(), [body.as_slice()]);
    assert_eq!((whole.scanned, whole.rows.as_ref().unwrap().rows), (Scanned::Whole, 50_000));
    for size in [1, 7, 1000, 16_384] {
        assert_eq!(read(&compressed(), body.chunks(size)), whole, "pieces of {size}");
    }
}

#[test]
fn gzip_with_an_absurd_ratio_is_cut() {
    let body = gzip(format!("[{}1]", " ".repeat(1 << 20)).as_bytes());
    let about = About { most_bytes: MOST * 4, ..compressed() };
    assert_eq!(read(&about, [body.as_slice()]).scanned, Scanned::Partial);
}

#[test]
fn gzip_headers_and_members_are_read() {
    let plain = gzip(b"[1, 2]");
    let header =
        |flags: u8, fields: &[u8]| [&plain[..3], &[flags], &plain[4..10], fields, &plain[10..]].concat();
    let bodies = [
        header(8, b"name\0"),
        header(4, b"\x02\0ab"),
        header(4, b"\0\0"),
        header(16, b"\0"),
        header(2, b"ab"),
        header(2 | 4 | 8 | 16, b"\x01\0anam\0comment\0ab"),
        [gzip(b"[1, "), gzip(b"2]")].concat(),
    ];
    for body in bodies {
        let record = scan(&compressed(), &body);
        assert_eq!((record.scanned, record.rows.unwrap().rows), (Scanned::Whole, 2), "{body:?}");
    }
}

#[test]
fn broken_gzip_is_unreadable_and_half_is_partial() {
    let body = gzip(b"[1, 2]");
    assert_eq!(scan(&compressed(), &body[..body.len() - 9]).scanned, Scanned::Partial);
    assert_eq!(scan(&compressed(), b"[1, 2]").scanned, Scanned::Unreadable);
    let damaged: Vec<u8> =
        body.iter().enumerate().map(|(at, byte)| if at == 10 { 0xFF } else { *byte }).collect();
    assert_eq!(scan(&compressed(), &damaged).scanned, Scanned::Unreadable);
}

#[test]
fn other_encodings_are_counted_as_compressed() {
    for encoding in ["br", "zstd", "deflate", "gzip, br"] {
        let about = About { encoding: encoding.as_bytes(), ..about("application/json") };
        assert_eq!(scan(&about, b"[1]").scanned, Scanned::Compressed, "{encoding}");
    }
    let without_window = About { may_inflate: false, ..compressed() };
    assert_eq!(scan(&without_window, &gzip(b"[1]")).scanned, Scanned::Compressed);
}

#[test]
fn many_classes_stay_bounded() {
    let classes: Vec<String> = (0..1000).map(|class| format!("\"class {class}\"")).collect();
    let record = read(&about("application/json"), [format!("[{}]", classes.join(",")).as_bytes()]);
    let rows = record.rows.unwrap();
    assert_eq!((rows.rows, rows.classes.len(), rows.other_classes), (1000, 20, 980));
}
