//! What is done with each input, by libFuzzer and, over the corpus, by a test of the exporter.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use clap::Parser;
use scoretap_exporter::args::Args;
use scoretap_exporter::config::Config;
use scoretap_exporter::decode::Decoder;
use scoretap_exporter::dialect::Dialect;
use scoretap_exporter::encode::Format;
use scoretap_exporter::errors::ScrapeErrors;
use scoretap_exporter::lines::{Broken, Lines};
use scoretap_exporter::pages;
use scoretap_exporter::scrape::expose;
use scoretap_exporter::web;

/// What is done with an input.
#[allow(dead_code, reason = "a fuzz target is one of them")]
pub(crate) type Target = fn(&[u8]);

/// Name and function of each target.
#[allow(dead_code, reason = "a fuzz target is one of them")]
pub(crate) const ALL: [(&str, Target); 5] = [
    ("stats", stats),
    ("name", name),
    ("filter_config", filter_config),
    ("web_config", web_config),
    ("dialect", dialect),
];

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
        expose(config, Some(&reading), Duration::ZERO, &errors, format, Vec::new());
    }
    pages::landing("/metrics", Ok(&reading));
}

/// A name that is understood is written back the same.
pub(crate) fn name(input: &[u8]) {
    let Ok(name) = std::str::from_utf8(input) else { return };
    if let Some(stat) = scoretap_core::name::Stat::decode(name) {
        let mut encoded = String::new();
        stat.encode(&mut encoded);
        assert_eq!(encoded, name);
    }
}

/// The filter's configuration: valid, or at least one fault.
pub(crate) fn filter_config(input: &[u8]) {
    if let Err(faults) = scoretap_core::config::Config::parse(input) {
        assert!(!faults.is_empty());
    }
}

/// The web configuration: valid, or at least one fault.
pub(crate) fn web_config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(faults) = web::parse("web.yaml", text, Path::new("/nonexistent")) {
        assert!(!faults.is_empty());
    }
}

/// A dialect: valid, or at least one fault.
pub(crate) fn dialect(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(faults) = Dialect::parse("dialect.yaml", text) {
        assert!(!faults.is_empty());
    }
}
