//! The fuzz targets. libFuzzer runs them, and a test of the exporter runs them over the corpus.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use clap::Parser;
use scoretap_core::name::Stat;
use scoretap_core::observe::Observer;
use scoretap_dialect::Dialect;
use scoretap_exporter::cli::args::Args;
use scoretap_exporter::cli::config::Config;
use scoretap_exporter::envoy::errors::ScrapeErrors;
use scoretap_exporter::envoy::lines::{Broken, Lines};
use scoretap_exporter::http::landing::Landing;
use scoretap_exporter::http::negotiate::{negotiate, wants_gzip};
use scoretap_exporter::http::scrape::limit;
use scoretap_exporter::reading::decode::Decoder;
use scoretap_exporter::render::encode::Format;
use scoretap_exporter::render::exposition;
use scoretap_exporter::render::self_metrics::SelfState;
use scoretap_scan::answer::{About, AnswerScanner};
use scoretap_scan::columns::{Column, Key};
use scoretap_scan::record::{LONGEST, Record, Scanned};
use scoretap_scan::request::{self, RequestScanner};
use scoretap_test_support::host::{Ended, Host};
use scoretap_web::config as web;
use scoretap_web::counts::Counts;

/// A target.
#[allow(dead_code, reason = "a fuzz target is one of them")]
pub(crate) type Target = fn(&[u8]);

/// Name and function of each target.
#[allow(dead_code, reason = "a fuzz target is one of them")]
pub(crate) const ALL: [(&str, Target); 8] = [
    ("call", call),
    ("accept", accept),
    ("stats", stats),
    ("name", name),
    ("filter_config", filter_config),
    ("web_config", web_config),
    ("dialect", dialect),
    ("scan", scan),
];

/// A call, of which every answer of Envoy's is a line: wherever it went and however it ended, it is counted once.
pub(crate) fn call(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let headers = [":method", ":path", "content-type"];
    let headers = headers.into_iter().zip(&mut lines).collect();
    let (response_type, details) = (lines.next(), lines.next());
    let mut number = || std::str::from_utf8(&lines.next()?).ok()?.parse().ok();
    let (code, grpc) = (number(), number());
    let (flags, nanoseconds) = (number().unwrap_or(0), number().unwrap_or(0));
    let call = Ended { headers, response_type, code, flags, details, grpc, nanoseconds, record: None };
    let host = Host::default();
    let mut observer = Observer::new(scoretap_core::config::Config::parse(b"").ok());
    observer.observe(&call, &host);
    let counts: Vec<u64> = host
        .statistics()
        .iter()
        .filter_map(|(name, value)| {
            let stat = Stat::decode(name).unwrap_or_else(|| panic!("{name}"));
            matches!(stat, Stat::Call { .. } | Stat::Unmatched).then_some(*value)
        })
        .collect();
    assert_eq!(counts, [1]);
}

/// Negotiation: a scraper never gets a format that it rejects by name if there is another.
pub(crate) fn accept(input: &[u8]) {
    let Ok(header) = std::str::from_utf8(input) else { return };
    let chosen = negotiate(Some(header));
    let with_all = format!("{header}, text/plain;q=0.001, application/openmetrics-text;q=0");
    if !header.to_ascii_lowercase().contains("openmetrics") {
        assert_ne!(negotiate(Some(&with_all)), Format::OpenMetrics, "{header:?}, {chosen:?}");
    }
    wants_gzip(Some(header));
    assert!(limit(Some(header)) < Duration::from_secs(120));
}

/// Envoy's answer: whatever it is, it is decoded or refused, and what was decoded can be shown in every form.
pub(crate) fn stats(input: &[u8]) {
    static CONFIG: LazyLock<Config> = LazyLock::new(|| {
        let args = Args::parse_from(["fuzz", "--dialect", "prediction,fastapi"]);
        Config::new(&args, |_| None).unwrap_or_else(|faults| panic!("{faults:?}"))
    });
    let config = &*CONFIG;
    let mut decoder = Decoder::new(config.identity());
    let mut lines = Lines::default();
    for chunk in input.chunks(97) {
        let fed = lines.feed(chunk, |line| -> Result<(), Broken> {
            let _ = decoder.line(line);
            Ok(())
        });
        if fed.is_err() {
            return;
        }
    }
    let reading = decoder.finish(config.expected_routes());
    for format in Format::ALL {
        let errors = ScrapeErrors::default();
        exposition(
            config.render(),
            Some(&reading),
            &SelfState {
                took: Duration::ZERO,
                errors: &errors,
                requests: &Counts::default(),
                resources: None,
            },
            format,
            Vec::new(),
        );
    }
    Landing { telemetry_path: "/metrics", read: Ok(&reading), missing_bounds: Vec::new(), file_faults: &[] }
        .html();
}

/// A name that is understood is written back the same.
pub(crate) fn name(input: &[u8]) {
    let Ok(name) = std::str::from_utf8(input) else { return };
    if let Some(stat) = Stat::decode(name) {
        let mut encoded = String::new();
        stat.encode(&mut encoded);
        assert_eq!(encoded, name);
    }
}

/// The filter's configuration: valid, or at least one fault.
pub(crate) fn filter_config(input: &[u8]) {
    if let Err(faults) = scoretap_core::config::Config::parse(input) {
        assert!(!faults.is_empty());
        check_lines(faults.iter().map(ToString::to_string));
    }
}

/// Each can be one line of a log.
fn check_lines(faults: impl IntoIterator<Item = String>) {
    for fault in faults {
        assert!(!fault.chars().any(char::is_control), "{fault:?}");
    }
}

/// The web configuration: valid, or at least one fault.
pub(crate) fn web_config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(faults) = web::parse("web.yaml", text, Path::new("/nonexistent")) {
        assert!(!faults.is_empty());
        check_lines(faults);
    }
}

/// A dialect: valid, or at least one fault.
pub(crate) fn dialect(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(faults) = Dialect::parse("dialect.yaml", text) {
        assert!(!faults.is_empty());
        check_lines(faults);
    }
}

/// A request with input columns. Every split gives the same counts, which survive the wire.
fn request(about: &request::About<'_>, body: &[u8]) {
    let column = |key| Column { key, min: 0.0, max: 1.0 };
    let columns = [column(Key::Name("a".to_owned())), column(Key::Index(1))];
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut scanner = RequestScanner::new(about, &columns);
        pieces.for_each(|piece| scanner.feed(piece, &columns));
        scanner.finish(&columns).columns
    };
    let whole = read(&mut [body].into_iter());
    assert_eq!(read(&mut body.chunks(1)), whole, "byte by byte");
    assert_eq!(read(&mut body.chunks(7)), whole, "seven bytes at a time");
    let record = Record { columns: whole, ..Record::default() };
    assert_eq!(Record::decode(&record.encode()).as_ref(), Some(&record));
}

/// A body behind a line with its content type, its encoding, `llm` on an LLM's route, and the length of the JSON part.
/// The type of a request stands behind `request:`.
/// Every split gives the same record, which survives the wire; what `serde_json` reads, the scanner reads, too.
pub(crate) fn scan(input: &[u8]) {
    /// Longer bodies are not split everywhere.
    const SPLITS: usize = 256;
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let mut words = line.split(|byte| *byte == b' ');
    let mut about = About { choices: 1, most_bytes: 1 << 16, may_inflate: true, ..About::default() };
    about.content_type = words.next().unwrap_or_default();
    about.encoding = words.next().unwrap_or_default();
    about.is_llm = words.next() == Some(b"llm");
    about.header_length = words.next().and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    if let Some(content_type) = about.content_type.strip_prefix(b"request:") {
        let About { encoding, header_length, most_bytes, may_inflate, .. } = about;
        return request(
            &request::About { content_type, encoding, header_length, most_bytes, may_inflate },
            body,
        );
    }
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut scanner = AnswerScanner::new(&about);
        pieces.for_each(|piece| scanner.feed(piece, 7));
        scanner.finish()
    };
    let whole = read(&mut [body].into_iter());
    for at in (1..body.len()).step_by(1 + body.len() / SPLITS) {
        let (one, two) = body.split_at(at);
        assert_eq!(read(&mut [one, two].into_iter()), whole, "split at {at}");
    }
    assert_eq!(read(&mut body.chunks(1)), whole, "byte by byte");
    let bytes = whole.encode();
    assert!(bytes.len() <= LONGEST);
    assert_eq!(Record::decode(&bytes).as_ref(), Some(&whole));
    if about.content_type == b"application/json" && about.encoding.is_empty() && about.header_length.is_none()
    {
        let is_json = serde_json::from_slice::<serde_json::Value>(body).is_ok();
        assert!(!is_json || whole.scanned == Scanned::Whole, "{whole:?}");
    }
    if let Some(record) = Record::decode(input) {
        let bytes = record.encode();
        assert!(bytes.len() <= LONGEST);
        assert_eq!(Record::decode(&bytes), Some(record));
    }
}
