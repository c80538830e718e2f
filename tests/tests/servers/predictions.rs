//! Servers of predictions: Insight's counts equal NumPy's counts of the app's own log.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use scoretap_tests::apps::local;
use scoretap_tests::child::Child;
use scoretap_tests::exposition::Exposition;
use scoretap_tests::http::{self, Call, Endpoint};
use scoretap_tests::ports;
use scoretap_tests::stack::{Folders, Stack, Upstream};
use scoretap_tests::{tools, workspace};
use serde::Deserialize;
use serde_json::json;

const CALLS: usize = 60;
/// Some servers start workers and import large libraries first.
pub(crate) const STARTUP: Duration = Duration::from_secs(120);

pub(crate) type Row = [f64; 3];

/// A server, and what it can answer.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) health: &'static str,
    pub(crate) python: fn() -> Result<PathBuf>,
    pub(crate) command: fn(&Path, &str) -> Command,
    /// The call for predictions of a kind.
    pub(crate) call: fn(&str, &[Row]) -> Call,
    /// Kinds of predictions, see `tests/python/servers/model.py`.
    pub(crate) kinds: &'static [&'static str],
    /// The value of a row that is the second one of a row of the request.
    pub(crate) second: usize,
    /// Whether it answers a caught exception with 200.
    pub(crate) catches: bool,
}

pub(crate) const FINITE: [&str; 5] = ["numbers", "digits", "texts", "flags", "gaps"];
pub(crate) const ALL: [&str; 6] = ["numbers", "digits", "texts", "flags", "gaps", "nans"];

const FLASK: Server = Server {
    name: "flask",
    health: "/health",
    python: tools::servers_python,
    command: |python, port| script(python, "flask_app.py", port),
    call: |kind, rows| plain("/predict", kind, rows),
    kinds: &ALL,
    second: 1,
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
    health: "/",
    command: |python, port| {
        let mut command = Command::new(python.with_file_name("azmlinfsrv"));
        command.arg("--entry_script").arg(workspace::python_file("servers/score.py"));
        command.args(["--port", port]).env("PYTHONPATH", workspace::python_file("servers"));
        command
    },
    call: |kind, rows| plain("/score", kind, rows),
    ..FLASK
};

pub(crate) fn script(python: &Path, file: &str, port: &str) -> Command {
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

/// A server behind Envoy with both modules.
pub(crate) struct Served {
    pub(crate) stack: Stack,
    answers: PathBuf,
    _server: Child,
    _folders: Folders,
}

impl Served {
    fn start(server: &Server) -> Self {
        let address = local(ports::free());
        let command = (server.command)(&(server.python)().unwrap(), &address.port().to_string());
        let is_ready = || http::get(&Endpoint::Tcp(address), server.health).is_ok();
        Self::launch(server.name, command, is_ready, Upstream::Http1(address))
    }

    pub(crate) fn launch(
        name: &str,
        mut command: Command,
        is_ready: impl FnMut() -> bool,
        upstream: Upstream,
    ) -> Self {
        let folders = Folders::create(&format!("app-{name}")).unwrap();
        let answers = folders.logs.join("answers.jsonl");
        command.current_dir(&folders.run).env("ANSWERS", &answers).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut app = Child::spawn(name, &command, &folders.logs.join("server.log")).unwrap();
        app.wait_ready(STARTUP, is_ready).unwrap();
        Self { stack: stack(name, upstream), answers, _server: app, _folders: folders }
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

fn stack(name: &str, upstream: Upstream) -> Stack {
    Stack::builder(&format!("server-{name}"))
        .upstream(upstream)
        .filter_config(r#"{"insight": {"columns": [{"index": 1, "min": 0, "max": 9}]}}"#)
        .with_insight()
        .start()
        .unwrap()
}

pub(crate) fn plain(path: &str, kind: &str, rows: &[Row]) -> Call {
    Call::post(path, json!({"kind": kind, "rows": rows}).to_string())
}

/// One to seven rows.
fn rows(number: usize) -> Vec<Row> {
    let row = |row: usize| {
        let value = |factor: usize| f64::from(u8::try_from((number * factor + row * 13) % 19).unwrap());
        [value(7) + 0.5, value(11), value(3)]
    };
    (0..=number % 7).map(row).collect()
}

/// Makes calls of every kind, and compares the counts. Returns the server for further calls.
#[track_caller]
pub(crate) fn check(server: &Server) -> Served {
    let served = Served::start(server);
    let call = |kind: &str, number: usize| {
        let answer = served.stack.call((server.call)(kind, &rows(number))).unwrap();
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    };
    (0..CALLS).for_each(|number| call(server.kinds[number % server.kinds.len()], number));
    served.stack.settle();
    check_counts(&served.stack.metrics(), &served);
    check_column(&served.stack.metrics(), server);
    if server.catches {
        check_caught(&served, (server.call)("caught", &rows(0)));
    }
    served
}

/// Checks the column of the input, for each model that has columns: at most four have.
#[track_caller]
fn check_column(metrics: &Exposition, server: &Server) {
    let values = |model: &str, kind: &str| {
        let labels = [("model_name", model), ("column", "1"), ("kind", kind)];
        metrics.sum("prediction_column_values_total", &labels)
    };
    let models: BTreeSet<String> = metrics
        .select("prediction_column_values_total", &[])
        .map(|(labels, _)| labels["model_name"].clone())
        .collect();
    assert!(!models.is_empty(), "{}", server.name);
    for model in &models {
        // A model makes one kind of predictions, or all.
        let is_of_model = |number: &usize| {
            let kind = server.kinds[number % server.kinds.len()];
            !server.kinds.contains(&model.as_str()) || kind == model
        };
        let sent: Vec<f64> =
            (0..CALLS).filter(is_of_model).flat_map(rows).map(|row| row[server.second]).collect();
        let in_range = sent.iter().filter(|value| **value <= 9.0).count();
        let counts = (values(model, "number"), values(model, "out_of_range"));
        assert_eq!(counts, (in_range as f64, (sent.len() - in_range) as f64), "{}: {model}", server.name);
    }
}

/// Checks that a caught exception counts as an error that a success reports.
#[track_caller]
pub(crate) fn check_caught(served: &Served, call: Call) {
    assert_eq!(served.stack.call(call).unwrap().status, 200);
    served.stack.settle();
    let metrics = served.stack.metrics();
    assert_eq!(metrics.sum("prediction_error_bodies_total", &[]), 1.0);
    assert_eq!(metrics.sum("prediction_errors_total", &[("error_type", "reported_error")]), 1.0);
}

#[track_caller]
pub(crate) fn check_counts(metrics: &Exposition, served: &Served) {
    let buckets = metrics.select("prediction_value_bucket", &[]);
    let mut cells: Vec<(f64, f64)> =
        buckets.filter_map(|(labels, count)| Some((labels.get("le")?.parse().ok()?, count))).collect();
    cells.retain(|(bound, _)| bound.is_finite());
    cells.sort_by(|one, other| one.0.total_cmp(&other.0));
    // Each model has cells of its own.
    let of_bound = |cells: &[(f64, f64)]| (cells[0].0, cells.iter().map(|(_, count)| count).sum::<f64>());
    let (bounds, counts): (Vec<f64>, Vec<f64>) =
        cells.chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq()).map(of_bound).unzip();
    let truth = served.truth(&bounds);
    assert_eq!(counts, truth.at_most, "{bounds:?}");
    assert_eq!(metrics.sum("prediction_requests_total", &[("status", "success")]), truth.answers);
    assert_eq!(metrics.sum("prediction_rows_count", &[]), truth.answers);
    assert_eq!(metrics.sum("prediction_rows_sum", &[]), truth.rows);
    for (kind, count) in &truth.kinds {
        assert_eq!(metrics.sum("prediction_values_total", &[("kind", kind)]), *count, "{kind}");
    }
    let mut classes = BTreeMap::new();
    for (labels, count) in metrics.select("prediction_classes_total", &[]) {
        if count > 0.0 || labels["class"] != "other" {
            *classes.entry(labels["class"].clone()).or_default() += count;
        }
    }
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
