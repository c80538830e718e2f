//! Recorded answers, split everywhere, against the slow reader.

use scoretap_scan::answer::About;
use scoretap_scan::record::{Finding, Finish, Kind, Scanned};

use crate::http::{Answer, answers, capture};
use crate::{about, reference, scan};

fn about_answer(answer: &Answer) -> About<'_> {
    About {
        is_llm: answer.is_llm(),
        encoding: answer.header("content-encoding").as_bytes(),
        ..about(answer.header("content-type"))
    }
}

#[test]
fn recorded_predictions_equal_the_slow_reader() {
    let answers: Vec<_> = answers().into_iter().filter(|answer| !answer.is_llm()).collect();
    assert!(answers.len() >= 15, "{}", answers.len());
    for answer in answers {
        let record = scan(&about_answer(&answer), &answer.body);
        let rows = record.rows.unwrap();
        let tree = reference::tree(&reference::plain(&answer));
        let read = reference::Predicted {
            rows: rows.rows,
            numbers: rows.kinds.get(Kind::Number),
            nans: rows.kinds.get(Kind::NotANumber),
            strings: rows.kinds.get(Kind::String),
            cells: rows.cells,
        };
        assert_eq!(read, reference::predicted(&tree), "{}", answer.name);
        assert_eq!(record.scanned, Scanned::Whole, "{}", answer.name);
        assert_eq!(record.cut, 0, "{}", answer.name);
        let model = tree["model_name"].as_str().unwrap_or_default();
        assert_eq!(record.model.head(), model.as_bytes(), "{}", answer.name);
    }
}

#[test]
fn recorded_generations_equal_the_slow_reader() {
    let answers: Vec<_> = answers().into_iter().filter(Answer::is_llm).collect();
    assert!(answers.len() >= 25, "{}", answers.len());
    for answer in answers {
        let record = scan(&about_answer(&answer), &answer.body);
        let generation = record.generation.unwrap();
        let is_stream = answer.header("content-type").starts_with("text/event-stream");
        let documents =
            if is_stream { reference::events(&answer.body) } else { vec![reference::tree(&answer.body)] };
        let mut expected = reference::generated(&documents);
        expected.contents *= u64::from(is_stream);
        let read = reference::Generated {
            model: String::from_utf8(record.model.head().to_vec()).unwrap(),
            input: generation.tokens.input,
            output: generation.tokens.output,
            cached: generation.tokens.cached,
            contents: generation.content_events,
        };
        if !answer.name.contains("n2-stream") {
            assert_eq!(read, expected, "{}", answer.name);
        }
        assert_eq!(generation.is_stream, is_stream, "{}", answer.name);
        let left = answer.name.contains("leave-midstream");
        assert_eq!(generation.is_ended, !left, "{}", answer.name);
        let finishes: u32 = Finish::ALL.iter().map(|reason| generation.finish.get(*reason)).sum();
        let choices = match answer.name.as_str() {
            _ if left => 0,
            name if name.contains("batch") => 3,
            name if name.contains("n2") => 2,
            _ => 1,
        };
        assert_eq!(finishes, choices, "{}", answer.name);
        assert_eq!((record.error, record.scanned), (Finding::Nothing, Scanned::Whole), "{}", answer.name);
    }
}

#[test]
fn recorded_exceptions_are_mentioned_or_structured() {
    let expected = [
        ("azml-exception", Finding::Mentioned),
        ("azml-bad-json", Finding::Mentioned),
        ("flask-err200", Finding::Structured),
        ("azml-rows", Finding::Nothing),
        ("flask-predict", Finding::Nothing),
    ];
    let answers = answers();
    for (name, finding) in expected {
        let answer = answers.iter().find(|answer| answer.name == name).unwrap();
        assert_eq!(scan(&about_answer(answer), &answer.body).error, finding, "{name}");
    }
}

#[test]
fn recorded_classes_are_counted() {
    let answers = answers();
    let classes = |name: &str| {
        let answer = answers.iter().find(|answer| answer.name == name).unwrap();
        let rows = scan(&about_answer(answer), &answer.body).rows.unwrap();
        let class = |(name, count): (Vec<u8>, u32)| (String::from_utf8(name).unwrap(), count);
        rows.classes.into_iter().map(class).collect::<Vec<_>>()
    };
    let class = |name: &str, count| (name.to_owned(), count);
    assert_eq!(classes("mlserver-ok"), [class("0", 1), class("2", 1)]);
    // One row of three probabilities, of which the first is the largest.
    assert_eq!(classes("mlserver-proba"), [class("0", 1)]);
    assert_eq!(classes("mlflow-custom-nan"), [class("a", 1), class("b", 1)]);
    assert_eq!(classes("tri-http-gzipresp"), [class("0", 100), class("2", 100)]);
}

#[test]
fn recorded_grpc_answer_gives_model_and_rows() {
    let raw = capture("tri-grpc.raw");
    // The message of the HTTP/2 data frame behind the headers.
    let start = raw.windows(9).position(|window| window == b"\0\0\x74\0\0\0\0\0\x01").unwrap() + 9;
    let record = scan(&about("application/grpc"), &raw[start..start + 0x74]);
    let rows = record.rows.unwrap();
    assert_eq!((record.model.head(), record.version.head()), (b"iris".as_slice(), b"v1".as_slice()));
    assert_eq!((record.scanned, rows.rows, rows.kinds.get(Kind::Number)), (Scanned::Whole, 2, 2));
    // 0.98 of class 0 and 0.92 of class 2, both in the cell up to 1.
    assert_eq!(rows.classes, [(b"0".to_vec(), 1), (b"2".to_vec(), 1)]);
    let cell = u8::try_from(scoretap_scan::cells::value_cell(0.98)).unwrap();
    assert_eq!(rows.cells, [(cell, 2)]);
}
