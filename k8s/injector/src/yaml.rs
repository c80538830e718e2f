//! Writes YAML that all parsers read the same way.
//!
//! kubectl reads YAML 1.1, where `yes`, `on` and `012` are not strings, but serde's writers write 1.2. So this writes a
//! string without quotes only if every parser reads a string.

use serde_json::{Map, Value};

/// Fields that people expect first in an object.
const FIRST: [&str; 4] = ["apiVersion", "kind", "metadata", "name"];

/// One document.
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (key, value)) in ordered(fields).into_iter().enumerate() {
                if index > 0 {
                    margin(indent, text);
                }
                text.push_str(&scalar(key));
                text.push(':');
                field(value, indent, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    margin(indent, text);
                }
                text.push_str("- ");
                block(item, indent + 2, text);
            }
        }
        // A top-level block would end at the first line without indentation.
        Value::String(string) if indent > 0 && is_prose(string) => {
            text.push_str("|-\n");
            for line in string.lines() {
                margin(indent, text);
                text.push_str(line);
                text.push('\n');
            }
        }
        Value::String(string) => {
            text.push_str(&scalar(string));
            text.push('\n');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            text.push_str(&value.to_string());
            text.push('\n');
        }
    }
}

/// The text after a field's colon. Lists have the field's own indentation.
fn field(value: &Value, indent: usize, text: &mut String) {
    let inner = match value {
        Value::Object(fields) if !fields.is_empty() => Some(indent + 2),
        Value::Array(items) if !items.is_empty() => Some(indent),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => None,
    };
    if let Some(inner) = inner {
        text.push('\n');
        margin(inner, text);
        block(value, inner, text);
    } else {
        text.push(' ');
        block(value, indent + 2, text);
    }
}

fn ordered(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let rank = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(key, _)| rank(key));
    fields
}

fn margin(indent: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', indent));
}

/// Whether a block scalar can represent these lines unchanged.
fn is_prose(string: &str) -> bool {
    let plain =
        |line: &str| !line.is_empty() && !line.starts_with([' ', '\t']) && !line.ends_with([' ', '\t']);
    string.contains('\n')
        && !string.ends_with('\n')
        && string.lines().all(plain)
        && !string.chars().any(|char| is_odd(char) || char.is_control() && char != '\n')
}

/// The string without quotes if that is safe in every YAML version, otherwise as JSON, which is valid YAML.
fn scalar(string: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let starts = string.starts_with(|char: char| char.is_ascii_alphabetic() || char == '/');
    let allowed = |char: char| char.is_ascii_alphanumeric() || "/._-".contains(char);
    let colons = string.split(':').all(|part| !part.is_empty());
    let safe = starts && colons && string.chars().all(|char| allowed(char) || char == ':' || char == '@');
    if safe && !WORDS.contains(&string.to_ascii_lowercase().as_str()) {
        return string.to_owned();
    }
    let json = Value::from(string).to_string();
    let escaped = |char| if is_odd(char) { format!("\\u{:04x}", u32::from(char)) } else { char.to_string() };
    if json.contains(is_odd) { json.chars().map(escaped).collect() } else { json }
}

/// Characters that JSON does not escape but YAML rejects or reads as a line end.
/// <https://yaml.org/spec/1.1/#nb-char>
const fn is_odd(char: char) -> bool {
    matches!(char, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(value: &Value, expected: &str) {
        let written = write(value);
        assert_eq!(written, expected);
        assert_eq!(&serde_norway::from_str::<Value>(&written).unwrap(), value);
    }

    #[test]
    fn quotes_what_yaml_1_1_reads_differently() {
        for string in [
            "yes",
            "On",
            "n",
            "012",
            "1e3",
            "0x1f",
            "1:30",
            "~",
            "null",
            "",
            " a",
            "a ",
            "a: b",
            "- a",
            "*a",
            "a #b",
            "é",
            "=",
            "<<",
            "2001-01-01",
        ] {
            check(&json!({"a": string}), &format!("a: {}\n", json!(string)));
        }
    }

    #[test]
    fn leaves_plain_words_unquoted() {
        check(
            &json!({"spec": {"b": "registry.example/scoretap:1", "name": "x"}, "kind": "Pod", "l": [{"a": 1, "c": [1]}, "d", []]}),
            "kind: Pod\nl:\n- a: 1\n  c:\n  - 1\n- d\n- []\nspec:\n  name: x\n  b: registry.example/scoretap:1\n",
        );
    }

    #[test]
    fn escapes_line_ends_and_rejected_characters() {
        check(&json!({"a": "b\nc\u{2028}d"}), "a: \"b\\nc\\u2028d\"\n");
        check(&json!({"\u{85}": "\u{7f}\u{feff}ü\u{1f600}"}), "\"\\u0085\": \"\\u007f\\ufeffü\u{1f600}\"\n");
    }

    #[test]
    fn writes_several_lines_as_a_block() {
        check(&json!({"a": {"b": "one\ntwo"}}), "a:\n  b: |-\n    one\n    two\n");
        check(&json!({"a": "one\n"}), "a: \"one\\n\"\n");
        check(&json!({"a": [["x\ny"]]}), "a:\n- - |-\n    x\n    y\n");
        check(&json!("one\ntwo"), "\"one\\ntwo\"\n");
    }
}
