//! The log: one line per event on standard error, as Prometheus' promslog writes it, or as JSON. Events come through the
//! `log` facade with its key-values.

use std::io::Write;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use log::kv::{self, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

/// The flags of the log.
#[derive(Args, Clone, Copy, Debug)]
pub struct LogArgs {
    /// Lowest level to log
    #[arg(
        id = "log.level",
        long = "log.level",
        value_name = "LEVEL",
        default_value = "info",
        value_enum,
        help_heading = "Log"
    )]
    pub level: Level,

    /// Format of log lines
    #[arg(
        id = "log.format",
        long = "log.format",
        value_name = "FORMAT",
        default_value = "logfmt",
        value_enum,
        help_heading = "Log"
    )]
    pub format: Format,
}

/// The lowest level to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Each scrape.
    Debug,
    /// Changes of state.
    Info,
    /// Faults that an operator should look at.
    Warn,
    /// Faults that stop the process or make a file unusable.
    Error,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// key=value
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// Installs the backend. A second call has no effect.
pub fn init(args: LogArgs) {
    log::set_max_level(match args.level {
        Level::Debug => LevelFilter::Debug,
        Level::Info => LevelFilter::Info,
        Level::Warn => LevelFilter::Warn,
        Level::Error => LevelFilter::Error,
    });
    // The first backend stays.
    drop(log::set_boxed_logger(Box::new(Backend { format: args.format })));
}

struct Backend {
    format: Format,
}

impl Log for Backend {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = line(self.format, Timestamp::now(), record);
            // `eprintln!` would panic if the write fails, for example on a full disk.
            drop(writeln!(std::io::stderr(), "{line}"));
        }
    }

    fn flush(&self) {}
}

fn line(format: Format, time: Timestamp, record: &Record<'_>) -> String {
    let mut fields = Fields(vec![
        ("time".to_owned(), format!("{time:.3}")),
        ("level".to_owned(), record.level().as_str().to_owned()),
        ("source".to_owned(), source(record)),
        ("msg".to_owned(), record.args().to_string()),
    ]);
    // Collecting strings cannot fail.
    drop(record.key_values().visit(&mut fields));
    match format {
        Format::Logfmt => {
            let pairs = fields.0.iter().map(|(key, value)| format!("{key}={}", logfmt(value)));
            pairs.collect::<Vec<_>>().join(" ")
        }
        Format::Json => {
            let pairs = fields.0.iter().map(|(key, value)| format!("{}:{}", quoted(key), quoted(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
    }
}

/// `file.rs:12`, without the folders.
fn source(record: &Record<'_>) -> String {
    let file = record.file().and_then(|path| path.rsplit(['/', '\\']).next()).unwrap_or("unknown");
    format!("{file}:{}", record.line().unwrap_or_default())
}

struct Fields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}

fn logfmt(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"=".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_plain) { value.to_owned() } else { quoted(value) }
}

/// A JSON string, which is also a quoted value of logfmt.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: Format, expected: &str) {
        let time = Timestamp::from_millisecond(1_795_184_105_007).unwrap();
        let pairs = [("plain", r"a\b"), ("text", "a \"b\"\n\u{1}\\"), ("empty", ""), ("pair", "a=b")];
        let arguments = format_args!("one {}", "two");
        let record = Record::builder()
            .level(log::Level::Warn)
            .file(Some("exporter/web/src/log.rs"))
            .line(Some(7))
            .key_values(&pairs)
            .args(arguments)
            .build();
        assert_eq!(line(format, time, &record), expected);
    }

    #[test]
    fn logfmt_line_reads_like_promslog() {
        check(
            Format::Logfmt,
            "time=2026-11-20T14:15:05.007Z level=WARN source=log.rs:7 msg=\"one two\" plain=a\\b \
             text=\"a \\\"b\\\"\\n\\u0001\\\\\" empty=\"\" pair=\"a=b\"",
        );
    }

    #[test]
    fn level_flag_is_the_lowest_logged() {
        let levels = [Level::Debug, Level::Info, Level::Warn, Level::Error];
        let logged = [log::Level::Debug, log::Level::Info, log::Level::Warn, log::Level::Error];
        for (level, lowest) in levels.into_iter().zip(logged) {
            init(LogArgs { level, format: Format::Logfmt });
            let enabled =
                logged.map(|level| log::logger().enabled(&Metadata::builder().level(level).build()));
            assert_eq!(enabled, logged.map(|level| level <= lowest), "{level:?}");
        }
    }

    #[test]
    fn json_line_is_one_object() {
        check(
            Format::Json,
            "{\"time\":\"2026-11-20T14:15:05.007Z\",\"level\":\"WARN\",\"source\":\"log.rs:7\",\
             \"msg\":\"one two\",\"plain\":\"a\\\\b\",\"text\":\"a \\\"b\\\"\\n\\u0001\\\\\",\"empty\":\"\",\"pair\":\"a=b\"}",
        );
    }
}
