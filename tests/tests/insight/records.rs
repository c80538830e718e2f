//! A stack whose Envoy also writes the record of each call to a file.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use scoretap_scan::record::Record;
use scoretap_tests::apps::{Part, Scripted};
use scoretap_tests::http::{Call, CallResult};
use scoretap_tests::stack::{Stack, StackBuilder, Upstream};
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::wait::wait_until;
use serde_json::json;

/// The path that a template of the route `score` has.
pub(crate) const SCORE: &str = "/score";
/// The path of an LLM.
pub(crate) const CHAT: &str = "/v1/chat/completions";

const PATIENCE: Duration = Duration::from_secs(10);
/// Separates records in the file. No record holds it.
const SEPARATOR: &[u8] = b"<end of record>\n";

/// A running system with records.
pub(crate) struct Recorded {
    pub(crate) stack: Stack,
    file: PathBuf,
    seen: usize,
}

/// A stack before an app that sends these parts, with Insight on.
pub(crate) fn builder(
    name: &str,
    version: EnvoyVersion,
    script: impl Fn(&str) -> Vec<Part> + Send + Sync + 'static,
) -> StackBuilder {
    let app = Scripted::start(script).unwrap();
    Stack::builder(&format!("{name}-{}", version.as_str()))
        .envoy(version)
        .upstream(Upstream::Http1(app.address))
        .filter_config(r#"{"insight": {}}"#)
        .with_insight()
        .without_exporter()
}

impl Recorded {
    pub(crate) fn start(builder: StackBuilder) -> Self {
        let file = std::env::temp_dir().join(format!("scoretap-records-{}", fresh()));
        let path = file.clone();
        let builder = builder.edit_listener(move |listener| {
            let manager = listener.manager();
            let logger = json!({"name": "records", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": path,
                "log_format": {"text_format_source": {"inline_string":
                    format!("%FILTER_STATE(wasm.scoretap.call:PLAIN)%{}", String::from_utf8_lossy(SEPARATOR))}}}});
            match manager.get_mut("access_log").and_then(|loggers| loggers.as_array_mut()) {
                Some(loggers) => loggers.push(logger),
                None => manager["access_log"] = json!([logger]),
            }
        });
        Self { stack: builder.start().unwrap(), file, seen: 0 }
    }

    /// Makes a call and returns its answer and its record.
    #[track_caller]
    pub(crate) fn call(&mut self, call: Call) -> (CallResult, Option<Record>) {
        let answer = self.stack.call(call);
        (answer, self.next())
    }

    /// The record of the next call that is over.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Record> {
        self.take(1).swap_remove(0)
    }

    /// The records of the next calls that are over.
    #[track_caller]
    pub(crate) fn take(&mut self, count: usize) -> Vec<Option<Record>> {
        let mut logged = Vec::new();
        wait_until("Envoy has logged the calls", PATIENCE, || {
            logged = self.logged();
            logged.len() >= self.seen + count
        });
        let records = logged[self.seen..].iter().take(count).map(|record| {
            let decoded = Record::decode(record);
            assert!(decoded.is_some() || record == b"-", "{record:?} is not a record");
            decoded
        });
        self.seen += count;
        records.collect()
    }

    fn logged(&self) -> Vec<Vec<u8>> {
        let bytes = fs::read(&self.file).unwrap_or_default();
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) {
            records.push(rest[..end].to_vec());
            rest = &rest[end + SEPARATOR.len()..];
        }
        records
    }

    /// Calls on routes that the module says it saw.
    pub(crate) fn counted(&self) -> u64 {
        self.stack.envoy_stat("wasmcustom.scoretap.insight_seen")
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

fn fresh() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A whole response with these headers, each a line.
pub(crate) fn response(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A chunk of a chunked body.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
