//! Answers that real servers sent, replayed through Envoy.

use std::collections::BTreeMap;
use std::fs;

use scoretap_scan::answer::{About, AnswerScanner};
use scoretap_scan::record::Record;
use scoretap_tests::apps::Part;
use scoretap_tests::http::{Answer, Call};
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::workspace;

use crate::records::{Recorded, builder};

/// Sent with one write. Odd, so that pieces end within events, escapes and characters.
const PIECE: usize = 997;

/// The answers over HTTP/1, by the path at which they are replayed.
fn captures() -> BTreeMap<String, Vec<u8>> {
    let folder = workspace::root().join("filter/scan/tests/captures");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let named = files.filter(|file| file.extension().is_some_and(|extension| extension == "raw"));
    let answers = named.map(|file| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let path = match name.split('-').next() {
            Some("llama" | "vllm") => format!("/v2/models/{name}/generate"),
            _ => format!("/v1/models/{name}:predict"),
        };
        (path, fs::read(file).unwrap())
    });
    answers.filter(|(_, bytes)| bytes.starts_with(b"HTTP/1")).collect()
}

/// The record that the scanner makes of the body as the caller got it.
fn expected(path: &str, answer: &Answer) -> Record {
    let mut scanner = AnswerScanner::new(&About {
        is_llm: path.ends_with("/generate"),
        content_type: answer.header("content-type").as_bytes(),
        encoding: answer.header("content-encoding").as_bytes(),
        header_length: answer.header("inference-header-content-length").parse().ok(),
        choices: 1,
        most_bytes: 1 << 20,
        may_inflate: true,
        ..About::default()
    });
    scanner.feed(&answer.body, 0);
    scanner.finish()
}

/// A record without what depends on the clock.
fn timeless(mut record: Record) -> Record {
    if let Some(generation) = &mut record.generation {
        (generation.first_content, generation.last_content) = (None, None);
        generation.gaps.clear();
    }
    record
}

#[test]
fn replayed_answers_leave_the_scanners_record() {
    let captures = captures();
    assert!(captures.len() > 30, "{} captures", captures.len());
    let answers = captures.clone();
    let script = move |path: &str| answers[path].chunks(PIECE).map(Part::now).collect();
    let mut recorded = Recorded::start(builder("captures", EnvoyVersion::Newest, script));
    for path in captures.keys() {
        let (answer, record) = recorded.call(Call::post(path, "{}"));
        let (answer, record) = (answer.unwrap(), record.unwrap_or_else(|| panic!("{path} has no record")));
        // Envoy may drop bytes of an answer that breaks off.
        if answer.complete && answer.status == 200 {
            assert_eq!(timeless(record), timeless(expected(path, &answer)), "{path}");
        }
    }
    assert_eq!(recorded.counted(), captures.len() as u64);
}
