//! Scanners read the answers of real servers, and each format, correctly.

mod captures;
mod columns;
mod formats;
mod http;
mod limits;
mod llm;
mod reference;
mod wire;

use scoretap_scan::answer::{About, AnswerScanner};
use scoretap_scan::record::{Record, Rows};

/// As much as the default configuration reads.
const MOST: u64 = 1 << 20;

/// The description of an answer of which only the type is known.
fn about(content_type: &str) -> About<'_> {
    About {
        content_type: content_type.as_bytes(),
        choices: 1,
        most_bytes: MOST,
        may_inflate: true,
        ..About::default()
    }
}

/// Reads a body in these pieces.
fn read<'a>(about: &About<'_>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Record {
    let mut scanner = AnswerScanner::new(about);
    pieces.into_iter().for_each(|piece| scanner.feed(piece, 7));
    scanner.finish()
}

/// Reads a body whole, in every two pieces and byte by byte. The result never differs, and survives the wire.
#[track_caller]
fn scan(about: &About<'_>, body: &[u8]) -> Record {
    let whole = read(about, [body]);
    for at in 1..body.len() {
        let (one, two) = body.split_at(at);
        assert_eq!(read(about, [one, two]), whole, "split at {at}");
    }
    assert_eq!(read(about, body.chunks(1)), whole, "byte by byte");
    assert_eq!(Record::decode(&whole.encode()), Some(whole.clone()));
    whole
}

/// The predictions of a JSON answer.
#[track_caller]
fn rows(body: &str) -> Rows {
    scan(&about("application/json"), body.as_bytes()).rows.unwrap()
}
