//! Servers of predictions: Insight's counts equal NumPy's counts of the app's own log.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use scoretap_tests::apps::local;
use scoretap_tests::child::Child;
use scoretap_tests::exposition::Exposition;
use scoretap_tests::http::{self, Call, Endpoint};
use scoretap_tests::ports;
use scoretap_tests::stack::{Folders, Stack, Upstream};
use scoretap_tests::wait::STARTUP;
use scoretap_tests::{tools, workspace};
use serde::Deserialize;

const CALLS: usize = 60;

/// A server, and what it can answer.
struct Server {
    name: &'static str,
    path: &'static str,
    health: &'static str,
    command: fn(&Path, &str) -> Command,
    /// Kinds of predictions, see `tests/python/servers/model.py`.
    kinds: &'static [&'static str],
    /// Whether it answers a caught exception with 200.
    catches: bool,
}

const FINITE: [&str; 5] = ["numbers", "digits", "texts", "flags", "gaps"];
const ALL: [&str; 6] = ["numbers", "digits", "texts", "flags", "gaps", "nans"];

const FLASK: Server = Server {
    name: "flask",
    path: "/predict",
    health: "/health",
    command: |python, port| script(python, "flask_app.py", port),
    kinds: &ALL,
    catches: true,
};
/// It answers 500 to NaN.
const FASTAPI: Server = Server {
    name: "fastapi",
    command: |python, port| script(python, "fastapi_app.py", port),
    kinds: &FINITE,
    ..FLASK
};
/// It answers 500 to NaN and to exceptions.
const LITSERVE: Server = Server {
    name: "litserve",
    command: |python, port| script(python, "litserve_app.py", port),
    kinds: &FINITE,
    catches: false,
    ..FLASK
};
const AZURE: Server = Server {
    name: "azureml-inference-server-http",
    path: "/score",
    health: "/",
    command: |python, port| {
        let mut command = Command::new(python.with_file_name("azmlinfsrv"));
        command.arg("--entry_script").arg(workspace::python_file("servers/score.py"));
        command.args(["--port", port]).env("PYTHONPATH", workspace::python_file("servers"));
        command
    },
    ..FLASK
};

fn script(python: &Path, file: &str, port: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(workspace::python_file("servers").join(file)).arg(port);
    command
}

/// NumPy's counts of a server's log.
#[derive(Debug, Deserialize)]
struct Truth {
    answers: f64,
    rows: f64,
    kinds: BTreeMap<String, f64>,
    at_most: Vec<f64>,
    classes: BTreeMap<String, f64>,
}

struct Served {
    stack: Stack,
    answers: PathBuf,
    _server: Child,
}

impl Served {
    fn start(server: &Server) -> Self {
        let python = tools::servers_python().unwrap();
        let folders = Folders::create(&format!("app-{}", server.name)).unwrap();
        let answers = folders.logs.join("answers.jsonl");
        let _ = std::fs::remove_file(&answers);
        let address = local(ports::free());
        let mut command = (server.command)(&python, &address.port().to_string());
        command.current_dir(&folders.run).env("ANSWERS", &answers).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut app = Child::spawn(server.name, &command, &folders.logs.join("server.log")).unwrap();
        app.wait_ready(STARTUP, || http::get(&Endpoint::Tcp(address), server.health).is_ok()).unwrap();
        Self { stack: stack(server.name, address), answers, _server: app }
    }

    /// NumPy's counts of the app's log.
    fn truth(&self, bounds: &[f64]) -> Truth {
        let python = tools::servers_python().unwrap();
        let mut judge = script(&python, "truth.py", &self.answers.display().to_string());
        let mut judge = judge.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = serde_json::to_string(bounds).unwrap();
        judge.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = judge.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn stack(name: &str, app: SocketAddr) -> Stack {
    Stack::builder(&format!("server-{name}"))
        .upstream(Upstream::Http1(app))
        .filter_config(r#"{"insight": {}}"#)
        .with_insight()
        .start()
        .unwrap()
}

/// One to seven rows of a kind.
fn body(kind: &str, number: usize) -> String {
    let row = |row: usize| {
        let value = |factor: usize| (number * factor + row * 13) % 19;
        format!("[{}.5, {}, {}]", value(7), value(11), value(3))
    };
    let rows: Vec<String> = (0..=number % 7).map(row).collect();
    format!(r#"{{"kind": "{kind}", "rows": [{}]}}"#, rows.join(", "))
}

#[track_caller]
fn check(server: &Server) {
    let served = Served::start(server);
    let call = |kind: &str, number: usize| {
        let answer = served.stack.call(Call::post(server.path, body(kind, number))).unwrap();
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    };
    (0..CALLS).for_each(|number| call(server.kinds[number % server.kinds.len()], number));
    served.stack.settle();
    let metrics = served.stack.metrics();
    check_counts(&metrics, &served);
    if server.catches {
        call("caught", 0);
        served.stack.settle();
        let metrics = served.stack.metrics();
        assert_eq!(metrics.sum("prediction_error_bodies_total", &[]), 1.0);
        assert_eq!(metrics.sum("prediction_errors_total", &[("error_type", "reported_error")]), 1.0);
    }
}

#[track_caller]
fn check_counts(metrics: &Exposition, served: &Served) {
    let buckets = metrics.select("prediction_value_bucket", &[]);
    let mut cells: Vec<(f64, f64)> =
        buckets.filter_map(|(labels, count)| Some((labels.get("le")?.parse().ok()?, count))).collect();
    cells.retain(|(bound, _)| bound.is_finite());
    cells.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (bounds, counts): (Vec<f64>, Vec<f64>) = cells.into_iter().unzip();
    let truth = served.truth(&bounds);
    assert_eq!(counts, truth.at_most, "{bounds:?}");
    assert_eq!(metrics.sum("prediction_requests_total", &[("status", "success")]), truth.answers);
    assert_eq!(metrics.sum("prediction_rows_count", &[]), truth.answers);
    assert_eq!(metrics.sum("prediction_rows_sum", &[]), truth.rows);
    for (kind, count) in &truth.kinds {
        assert_eq!(metrics.sum("prediction_values_total", &[("kind", kind)]), *count, "{kind}");
    }
    let classes = metrics.select("prediction_classes_total", &[]);
    let classes: BTreeMap<String, f64> = classes
        .filter(|(labels, count)| *count > 0.0 || labels.get("class").is_none_or(|class| class != "other"))
        .map(|(labels, count)| (labels["class"].clone(), count))
        .collect();
    assert_eq!(classes, truth.classes);
    assert_eq!(metrics.sum("scoretap_bodies_total", &[("scanned", "whole")]), truth.answers);
}

#[test]
fn flask_predictions_equal_numpy() {
    check(&FLASK);
}

#[test]
fn fastapi_predictions_equal_numpy() {
    check(&FASTAPI);
}

#[test]
fn litserve_predictions_equal_numpy() {
    check(&LITSERVE);
}

#[test]
fn azureml_server_predictions_equal_numpy() {
    check(&AZURE);
}
