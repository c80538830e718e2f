//! The one place where text becomes part of a text format: model names come from paths that callers chose.

use super::append;

/// Appends `text` as it stands between the quotes of a label's value, in both text formats.
pub(super) fn label_value(text: &str, out: &mut Vec<u8>) {
    escape(text, Quotes::Escaped, out);
}

/// Appends `text` as a help of Prometheus' text format, which leaves quotes alone.
pub(super) fn prometheus_help(text: &str, out: &mut Vec<u8>) {
    escape(text, Quotes::Kept, out);
}

/// Appends `text` as a help of OpenMetrics, which does not.
pub(super) fn openmetrics_help(text: &str, out: &mut Vec<u8>) {
    escape(text, Quotes::Escaped, out);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Kept,
    Escaped,
}

fn escape(text: &str, quotes: Quotes, out: &mut Vec<u8>) {
    let is_special = |byte: u8| matches!(byte, b'\\' | b'\n' | b'"');
    if !text.bytes().any(is_special) {
        return append(out, text.as_bytes());
    }
    for byte in text.bytes() {
        match byte {
            b'\\' => append(out, br"\\"),
            b'\n' => append(out, br"\n"),
            b'"' if quotes == Quotes::Escaped => append(out, b"\\\""),
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(escape: fn(&str, &mut Vec<u8>), text: &str, expected: &str) {
        let mut out = b">".to_vec();
        escape(text, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!(">{expected}"));
    }

    #[test]
    fn what_would_end_a_value_or_a_line_is_escaped() {
        check(label_value, "plain ü", "plain ü");
        check(label_value, "a\"b\\c\nd", "a\\\"b\\\\c\\nd");
        check(openmetrics_help, "a\"b\\c\nd", "a\\\"b\\\\c\\nd");
        check(prometheus_help, "a\"b\\c\nd", "a\"b\\\\c\\nd");
        check(label_value, "\r\t\u{0}", "\r\t\u{0}");
    }
}
