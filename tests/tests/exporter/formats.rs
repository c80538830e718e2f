//! Every format says the same, to programs that we did not write.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use scoretap_tests::http::{self, Call, Endpoint, Protocol};
use scoretap_tests::monitoring::serve;
use scoretap_tests::{tools, workspace};

use crate::support::{Made, Prometheus};

const NATIVE: &str = "--enable-feature=native-histograms";
pub(crate) const TEXT: &str = "text/plain;version=0.0.4";

/// Names that a caller might think of to break an exposition, and many that nobody would.
fn hostile_names() -> BTreeSet<String> {
    let plain = [
        "\"",
        "\\",
        "\n",
        "a\\nb",
        "\\\"",
        "# EOF",
        "a\"} 1\nb{c=\"",
        "{}",
        "le=\"1\"",
        " ",
        "\t",
        "\r\n",
        "%",
        "ü",
        "💥",
        "\u{0}",
        "\u{7f}",
        "\u{2028}",
    ];
    let alphabet: Vec<char> = "ab\"\\\n\r{}=,# %ü漢💥\u{1}".chars().collect();
    let mut names: BTreeSet<String> = plain.iter().map(|name| (*name).to_owned()).collect();
    let mut state = 42_usize;
    while names.len() < 400 {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let length = 1 + next() % 12;
        names.insert((0..length).map(|_| alphabet[next() % alphabet.len()]).collect());
    }
    names
}

/// One call for each name, each with a number of its own.
fn stats(names: &BTreeSet<String>) -> String {
    let escaped = |name: &str| name.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    // Letters stand as they are.
    let word = |name: &str| {
        escaped(name)
            .replace("%61", "a")
            .replace("%62", "b")
            .replace("%6C", "l")
            .replace("%65", "e")
            .replace("%63", "c")
            .replace("%6E", "n")
            .replace("%31", "1")
            .replace("%45", "E")
            .replace("%4F", "O")
            .replace("%46", "F")
            .replace("%7B", "{")
            .replace("%7D", "}")
    };
    let line = |(number, name): (usize, &String)| {
        format!("wasmcustom.scoretap.call.score.{}.1.POST./score.200.success: {}\n", word(name), number + 1)
    };
    names.iter().enumerate().map(line).collect()
}

/// An exporter whose Envoy has counted a call of each hostile name.
pub(crate) fn made(name: &str) -> (Made, BTreeSet<String>) {
    let names = hostile_names();
    let made = Made::start(name, stats(&names), &["--expect-route", "predict"]);
    (made, names)
}

/// Reads an exposition on standard input and prints the models of the successes, with their values, as JSON.
const PARSE: &str = "
import json, sys
from prometheus_client import parser as text
from prometheus_client.openmetrics import parser as openmetrics
parse = {'text': text, 'openmetrics': openmetrics}[sys.argv[1]].text_string_to_metric_families
families = list(parse(sys.stdin.buffer.read().decode()))
print(json.dumps([[s.labels['model_name'], s.value] for f in families for s in f.samples
    if s.name == 'prediction_requests_total' and s.labels['status'] == 'success']))
";

#[track_caller]
fn check_python(exposition: &str, parser: &str, names: &BTreeSet<String>) {
    let python = tools::python().unwrap();
    check_names(&run(Command::new(python).args(["-c", PARSE, parser]), exposition.as_bytes()), names);
}

/// Checks the JSON that a parser's program printed.
#[track_caller]
pub(crate) fn check_names(printed: &str, names: &BTreeSet<String>) {
    let found: Vec<(String, f64)> = serde_json::from_str(printed).unwrap();
    let found: BTreeSet<(String, String)> =
        found.into_iter().map(|(name, count)| (name, count.to_string())).collect();
    let expected: BTreeSet<(String, String)> =
        names.iter().enumerate().map(|(number, name)| (name.clone(), (number + 1).to_string())).collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Runs it to its end with this input; it must succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: &[u8]) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pythons_parsers_read_back_every_name() {
    let (made, names) = made("exporter-python");
    check_python(&made.scrape(TEXT), "text", &names);
    check_python(&made.scrape("application/openmetrics-text;version=1.0.0"), "openmetrics", &names);
}

#[test]
fn promtool_has_nothing_to_say() {
    let (made, _) = made("exporter-promtool");
    let said = run(
        Command::new(tools::promtool().unwrap()).args(["check", "metrics"]),
        made.scrape(TEXT).as_bytes(),
    );
    assert_eq!(said, "");
}

#[test]
fn prometheus_reads_back_every_name_in_every_format() {
    let (made, names) = made("exporter-hostile");
    let exporter = Endpoint::Tcp(made.exporter);
    let relayed = serve(move || {
        http::call(&exporter, Protocol::Http1, Call::get("/metrics").header("accept", TEXT)).unwrap().text()
    })
    .unwrap();
    let targets = [("openmetrics", made.exporter), ("text", relayed)];
    let classic = Prometheus::start("exporter-hostile-classic", &targets, &[]);
    let native = Prometheus::start("exporter-hostile-native", &[("protobuf", made.exporter)], &[NATIVE]);
    for (prometheus, job) in [(&classic, "openmetrics"), (&classic, "text"), (&native, "protobuf")] {
        prometheus.wait_for(&format!("scoretap_up{{job=\"{job}\"}}"), 1.0);
        let selector = format!("prediction_requests_total{{job=\"{job}\",route=\"score\"}}");
        let found = prometheus.label_values("model_name", &selector);
        assert_eq!(found, names.iter().cloned().collect::<Vec<_>>(), "{job}");
        let sum = names.len() * (names.len() + 1) / 2;
        let sum = f64::from(u32::try_from(sum).unwrap());
        prometheus.check(&format!("sum({selector})"), sum);
        prometheus.check(&format!("sum(scoretap_calls_seen_total{{job=\"{job}\"}})"), sum);
    }
}

/// Reads an exposition on standard input, and fails where a parser does.
const ACCEPT: &str = "
import sys
from prometheus_client import parser as text
from prometheus_client.openmetrics import parser as openmetrics
parse = {'text': text, 'openmetrics': openmetrics}[sys.argv[1]].text_string_to_metric_families
assert list(parse(sys.stdin.buffer.read().decode()))
";

#[test]
fn outside_parsers_accept_the_golden_files() {
    let (python, promtool) = (tools::python().unwrap(), tools::promtool().unwrap());
    let mut judged = BTreeSet::new();
    for entry in std::fs::read_dir(workspace::root().join("exporter/tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let parser = match path.extension().and_then(|extension| extension.to_str()) {
            Some("txt") => "text",
            Some("openmetrics") => "openmetrics",
            _ => continue,
        };
        let exposition = std::fs::read_to_string(&path).unwrap();
        println!("{}", path.display());
        run(Command::new(&python).args(["-c", ACCEPT, parser]), exposition.as_bytes());
        if parser == "text" {
            // promtool also judges style, by which only recording rules have colons. vLLM's metrics have them.
            let exposition = exposition.replace("vllm:", "vllm_");
            // The names of libraries break its style. Errors of the format have another exit status.
            let is_of_libraries = path.ends_with("dialect_libraries.txt");
            let mut command = Command::new("sh");
            let script = "\"$0\" check metrics 2>&1; test $? = \"$1\"";
            command.args(["-c", script]).arg(&promtool).arg(if is_of_libraries { "3" } else { "0" });
            let said = run(&mut command, exposition.as_bytes());
            assert_eq!(said.is_empty(), !is_of_libraries, "{}: {said}", path.display());
        }
        judged.insert(parser);
    }
    assert_eq!(judged.len(), 2, "{judged:?}");
}
