//! Escapes text for the text formats. Callers choose paths, and so model names.

use super::append;

/// Appends `text` as a label's value, in both text formats.
pub(super) fn label_value(text: &str, out: &mut Vec<u8>) {
    escape(text, Quotes::Escaped, out);
}

/// Appends `text` as a help text of Prometheus' format, which keeps quotes.
pub(super) fn prometheus_help(text: &str, out: &mut Vec<u8>) {
    escape(text, Quotes::Kept, out);
}

/// Appends `text` as a help text of OpenMetrics, which escapes quotes.
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
    fn quotes_backslashes_and_line_breaks_are_escaped() {
        check(label_value, "plain ü", "plain ü");
        check(label_value, "a\"b\\c\nd", "a\\\"b\\\\c\\nd");
        check(openmetrics_help, "a\"b\\c\nd", "a\\\"b\\\\c\\nd");
        check(prometheus_help, "a\"b\\c\nd", "a\"b\\\\c\\nd");
        check(label_value, "\r\t\u{0}", "\r\t\u{0}");
    }
}
