//! The `log` facade on Envoy's log. The logger of the `proxy-wasm` crate panics if the host rejects a line.

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::LogLevel;

struct HostLogger;

impl Log for HostLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        };
        crate::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}

/// Sends log records to the host.
pub fn install() {
    static LOGGER: HostLogger = HostLogger;
    // Fails only if another logger is installed.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
