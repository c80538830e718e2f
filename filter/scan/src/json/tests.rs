use super::{Container, Lexer, Scalar, Sink};

/// Writes down what it receives, as JSON without white space.
#[derive(Default)]
struct Writer {
    text: String,
    open: Vec<Container>,
    pieces: Vec<u8>,
}

impl Writer {
    fn separate(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(['[', '{', ':']) {
            self.text.push(',');
        }
    }
}

impl Sink for Writer {
    fn open(&mut self, container: Container) {
        self.separate();
        self.open.push(container);
        self.text.push(if container == Container::Array { '[' } else { '{' });
    }

    fn close(&mut self) {
        self.text.push(if self.open.pop() == Some(Container::Array) { ']' } else { '}' });
    }

    fn key(&mut self, key: &[u8]) {
        self.separate();
        self.text += &serde_json::to_string(std::str::from_utf8(key).unwrap()).unwrap();
        self.text.push(':');
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        self.separate();
        self.text += &match scalar {
            Scalar::Null => "null".to_owned(),
            Scalar::Boolean(value) => value.to_string(),
            Scalar::Number(Some(value)) if value.is_finite() => serde_json::to_string(&value).unwrap(),
            Scalar::Number(value) => format!("{value:?}"),
            Scalar::NotANumber => "NaN".to_owned(),
            Scalar::String(text) => {
                assert_eq!(text.length as usize, self.pieces.len());
                assert!(self.pieces.starts_with(text.head));
                let pieces = std::mem::take(&mut self.pieces);
                serde_json::to_string(&String::from_utf8_lossy(&pieces)).unwrap()
            }
        };
    }

    fn piece(&mut self, bytes: &[u8]) {
        self.pieces.extend_from_slice(bytes);
    }
}

/// The document as read in these pieces, if it is complete.
fn read(pieces: &[&[u8]]) -> Option<String> {
    let (mut lexer, mut writer) = (Lexer::default(), Writer::default());
    for piece in pieces {
        let rest = lexer.feed(piece, &mut writer);
        if !rest.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
    }
    lexer.finish(&mut writer);
    lexer.is_complete().then_some(writer.text)
}

/// Reads a document whole, in every two pieces and byte by byte.
#[track_caller]
fn check(document: &str, expected: Option<&str>) {
    let bytes = document.as_bytes();
    for at in 0..=bytes.len() {
        let (one, two) = bytes.split_at(at);
        assert_eq!(read(&[one, two]).as_deref(), expected, "{document} split at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single).as_deref(), expected, "{document} byte by byte");
}

#[test]
fn documents_equal_what_serde_json_reads() {
    let documents = [
        r#"{"a": [1, 2.5, -3e2], "b": {"c": null}, "d": [], "e": {}, "f": [true, false]}"#,
        r#"["\u00e4\u0041\n\t\r\b\f\"\\\/", "\ud83d\ude00 ok", "ä€😀", ""]"#,
        " [ [ [ ] , { } ] ] \n",
        "3.25",
        r#""text""#,
        "null",
        r#"{"\u0061\"": 1}"#,
    ];
    for document in documents {
        let value: serde_json::Value = serde_json::from_str(document).unwrap();
        // The writer writes all numbers as floats.
        let expected = as_floats(value).to_string();
        check(document, Some(&expected));
    }
}

fn as_floats(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => Value::from(number.as_f64().unwrap()),
        Value::Array(items) => items.into_iter().map(as_floats).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, as_floats(value))).collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

#[test]
fn bare_words_of_python_are_read() {
    check("[NaN, Infinity, -Infinity]", Some("[NaN,Some(inf),Some(-inf)]"));
}

#[test]
fn lone_surrogates_become_replacement_characters() {
    check(
        r#"["\ud83d", "\ud83dx", "\ud83d\ud83d\ude00", "\ude00", "\ud83d\n"]"#,
        Some("[\"\u{fffd}\",\"\u{fffd}x\",\"\u{fffd}\u{1f600}\",\"\u{fffd}\",\"\u{fffd}\\n\"]"),
    );
}

#[test]
fn malformed_documents_are_not_complete() {
    let documents = [
        "",
        "[",
        "[1",
        "[1,",
        "[1 2]",
        "[,1]",
        "{1: 2}",
        "{\"a\" 1}",
        "{\"a\": }",
        "[1}",
        "{\"a\": 1]",
        "]",
        "[01]",
        "[nul]",
        "[nan]",
        "\"a",
        "\"\\x\"",
        "\"\\u12g4\"",
        "{\"a\": 1} x",
        "[1]]",
        "[1.]",
        "{\"a\": 1,}x",
    ];
    for document in documents {
        check(document, None);
    }
}

#[test]
fn nesting_is_read_down_to_the_limit() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let deepest = super::DEEPEST as usize;
    check(&nested(deepest), Some(&nested(deepest)));
    check(&nested(deepest + 1), None);
}

#[test]
fn numbers_beyond_the_buffer_have_no_value() {
    check(&format!("[{}]", "1".repeat(super::HEAD + 1)), Some("[None]"));
}
