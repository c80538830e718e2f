//! Prometheus' own parsers read every format. Go builds them.

use std::fs;
use std::process::Command;

use scoretap_tests::{tools, workspace};

use crate::formats::{TEXT, check_names, made, run};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

#[track_caller]
fn parse(content_type: &str, exposition: &[u8]) -> String {
    run(Command::new(tools::textparse().unwrap()).arg(content_type), exposition)
}

#[test]
fn prometheus_parsers_read_back_every_name() {
    let (made, names) = made("exporter-textparse");
    for format in [TEXT, OPENMETRICS, PROTOBUF] {
        let answer = made.answer(format);
        let content_type = answer.header("content-type");
        // Otherwise the exporter fell back to text.
        assert_eq!(content_type.split(';').next(), format.split(';').next());
        check_names(&parse(content_type, &answer.body), &names);
    }
}

#[test]
fn prometheus_parsers_accept_the_golden_files() {
    let mut judged = 0;
    for entry in fs::read_dir(workspace::root().join("exporter/tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let content_type = match path.extension().and_then(|extension| extension.to_str()) {
            Some("txt") => TEXT,
            Some("openmetrics") => OPENMETRICS,
            _ => continue,
        };
        println!("{}", path.display());
        parse(content_type, &fs::read(&path).unwrap());
        judged += 1;
    }
    assert!(judged > 20, "{judged}");
}
