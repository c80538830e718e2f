//! The one place where text becomes part of an exposition: model names come from paths that callers chose.

/// Appends `text` as it stands between the quotes of a label's value, in both text formats.
pub(super) fn label_value(text: &str, out: &mut String) {
    escape(text, Quotes::Escaped, out);
}

/// Appends `text` as a help of Prometheus' text format, which leaves quotes alone.
pub(super) fn prometheus_help(text: &str, out: &mut String) {
    escape(text, Quotes::Kept, out);
}

/// Appends `text` as a help of OpenMetrics, which does not.
pub(super) fn openmetrics_help(text: &str, out: &mut String) {
    escape(text, Quotes::Escaped, out);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Kept,
    Escaped,
}

fn escape(text: &str, quotes: Quotes, out: &mut String) {
    let is_special = |byte: u8| matches!(byte, b'\\' | b'\n' | b'"');
    if !text.bytes().any(is_special) {
        return out.push_str(text);
    }
    for character in text.chars() {
        match character {
            '\\' => out.push_str(r"\\"),
            '\n' => out.push_str(r"\n"),
            '"' if quotes == Quotes::Escaped => out.push_str("\\\""),
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, in_label: &str, in_prometheus_help: &str) {
        let mut out = [String::new(), String::new(), String::new()];
        label_value(text, &mut out[0]);
        prometheus_help(text, &mut out[1]);
        openmetrics_help(text, &mut out[2]);
        assert_eq!(out, [in_label, in_prometheus_help, in_label]);
    }

    #[test]
    fn plain_text_stays() {
        check("", "", "");
        check("iris-v2 {a=b} # ü\t\r\0", "iris-v2 {a=b} # ü\t\r\0", "iris-v2 {a=b} # ü\t\r\0");
    }

    #[test]
    fn what_would_end_the_value_or_the_line_is_escaped() {
        check("a\"b", "a\\\"b", "a\"b");
        check("a\nb", "a\\nb", "a\\nb");
        check("a\\", "a\\\\", "a\\\\");
        check("\\n", "\\\\n", "\\\\n");
    }
}
