//! One line per event on standard error. Nobody reading there is no reason to stop.

use std::fmt::Display;
use std::io::Write;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::args::{Level, LogFormat};

static SETTINGS: OnceLock<(Level, LogFormat)> = OnceLock::new();

/// Says once, at the start, which lines are written and how.
pub fn set(level: Level, format: LogFormat) {
    // Whoever was first decides.
    let _ = SETTINGS.set((level, format));
}

/// Each scrape.
pub fn debug(message: impl Display, fields: &[(&str, &str)]) {
    line(Level::Debug, message, fields);
}

/// What an operator may want to know.
pub fn info(message: impl Display) {
    line(Level::Info, message, &[]);
}

/// What an operator should look at.
pub fn warn(message: impl Display, fields: &[(&str, &str)]) {
    line(Level::Warn, message, fields);
}

/// What ends the process, or makes a file useless.
pub fn error(message: impl Display) {
    line(Level::Error, message, &[]);
}

fn line(level: Level, message: impl Display, fields: &[(&str, &str)]) {
    let (least, format) = SETTINGS.get().copied().unwrap_or((Level::Info, LogFormat::Logfmt));
    if level < least {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = timestamp(now.as_secs(), now.subsec_millis());
    let message = message.to_string();
    let own = [("time", time.as_str()), ("level", name(level)), ("msg", &message)];
    let fields: Vec<(&str, &str)> = own.iter().chain(fields).copied().collect();
    // There is nowhere left to complain.
    let _ = writeln!(std::io::stderr(), "{}", written(format, &fields));
}

const fn name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

fn written(format: LogFormat, fields: &[(&str, &str)]) -> String {
    match format {
        LogFormat::Logfmt => fields.iter().map(logfmt).collect::<Vec<_>>().join(" "),
        LogFormat::Json => {
            let fields = fields.iter().map(|(key, value)| format!("{}:{}", json(key), json(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
    }
}

fn logfmt((key, value): &(&str, &str)) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"=\\".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_plain) {
        return format!("{key}={value}");
    }
    format!("{key}={}", json(value))
}

/// A string of JSON, which logfmt's quoted values are, too.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

/// RFC 3339, by the civil calendar of <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn timestamp(seconds: u64, milliseconds: u32) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_795_184_105, "2026-11-20T14:15:05.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(timestamp(seconds, 7), expected);
        }
    }

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let fields = [("level", "warn"), ("msg", "a \"b\"\n\u{1}\\"), ("empty", "")];
        let logfmt = r#"level=warn msg="a \"b\"\n\u0001\\" empty="""#;
        assert_eq!(written(LogFormat::Logfmt, &fields), logfmt);
        let json = r#"{"level":"warn","msg":"a \"b\"\n\u0001\\","empty":""}"#;
        assert_eq!(written(LogFormat::Json, &fields), json);
    }
}
