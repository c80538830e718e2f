//! Makes text from the cluster safe, because tenants choose names, annotations and error messages. Such text reaches a
//! command only through [`word`] and the terminal only through [`clean`].

/// Replaces each run of control characters, line separators and bidirectional overrides with a space.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for char in text.chars() {
        if !is_control(char) {
            clean.push(char);
        } else if !clean.ends_with(' ') {
            clean.push(' ');
        }
    }
    clean
}

fn is_control(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// One word of a POSIX shell.
pub(crate) fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:=@%+,-".contains(&byte);
    let text = clean(text);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Several words.
pub(crate) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// `1 pod`, `2 pods`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(word(text), expected);
    }

    #[test]
    fn word_quotes_what_a_shell_would_expand() {
        check("scorer-1.x", "scorer-1.x");
        check("a b", "'a b'");
        check("", "''");
        check("$(id)", "'$(id)'");
        check("it's `id`", r"'it'\''s `id`'");
        check("~root", "'~root'");
    }

    #[test]
    fn clean_removes_escape_sequences_and_line_ends() {
        assert_eq!(clean("a\u{1b}[2J\r\nb\u{202e}c\u{85}d"), "a [2J b c d");
        check("a\n\u{1b}b", "'a b'");
    }
}
