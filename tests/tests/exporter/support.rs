//! A real Prometheus, an Envoy that says what a test wants, and an exporter that reads it.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use scoretap_tests::apps::local;
use scoretap_tests::child::{self, Child};
use scoretap_tests::http::{self, Answer, Call, Endpoint, Protocol, percent_encode};
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{monitoring, ports, tools, workspace};
use serde_json::{Value, json};

/// Long enough for a few scrapes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A series' labels and value.
pub(crate) type Sample = (Value, f64);

pub(crate) struct Prometheus {
    server: monitoring::Prometheus,
    _folders: Folders,
}

impl Prometheus {
    /// Scrapes each target, a job by its name, every half second.
    pub(crate) fn start(name: &str, targets: &[(&str, SocketAddr)], flags: &[&str]) -> Self {
        let folders = Folders::create(name).unwrap();
        let server =
            monitoring::Prometheus::with(&folders, ports::free(), &Self::config(targets), flags).unwrap();
        Self { server, _folders: folders }
    }

    /// Like [`start`](Self::start), with the Prometheus 3 of the clusters.
    pub(crate) fn start_newest(name: &str, targets: &[(&str, SocketAddr)], flags: &[&str]) -> Self {
        let folders = Folders::create(name).unwrap();
        let command = Command::new(tools::cluster_program("prometheus").unwrap());
        let config = Self::config(targets);
        let server = monitoring::Prometheus::run(command, &folders, ports::free(), &config, flags).unwrap();
        Self { server, _folders: folders }
    }

    fn config(targets: &[(&str, SocketAddr)]) -> Value {
        let jobs = targets.iter().map(|(job, target)| {
            let target = json!({"targets": [target.to_string()], "labels": {"namespace": "ml"}});
            json!({"job_name": job, "static_configs": [target]})
        });
        json!({
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
            "scrape_configs": jobs.collect::<Vec<_>>(),
        })
    }

    /// The current value of an expression.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<Sample> {
        let result = self.server.query(expression).unwrap();
        let value = |sample: &Value| sample["value"][1].as_str().map(|text| text.parse().unwrap());
        let samples =
            result.iter().map(|sample| (sample["metric"].clone(), value(sample).unwrap_or(f64::NAN)));
        samples.collect()
    }

    /// The value of an expression that is one; nothing where it is not there.
    #[track_caller]
    pub(crate) fn value(&self, expression: &str) -> Option<f64> {
        let samples = self.query(expression);
        assert!(samples.len() <= 1, "{expression}: {samples:?}");
        samples.first().map(|(_, value)| *value)
    }

    /// The values of a label, sorted.
    pub(crate) fn label_values(&self, label: &str, selector: &str) -> Vec<String> {
        let path = format!("/api/v1/label/{label}/values?match%5B%5D={}", percent_encode(selector));
        let answer = http::get(&Endpoint::Tcp(self.server.address), &path).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let values = answer["data"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let mut values: Vec<String> = values.iter().map(|value| value.as_str().unwrap().to_owned()).collect();
        values.sort();
        values
    }

    /// Waits until an expression has this value.
    #[track_caller]
    pub(crate) fn wait_for(&self, expression: &str, expected: f64) {
        let what = format!("{expression} is {expected}");
        wait_until(&what, PATIENCE, || self.value(expression) == Some(expected));
    }

    #[track_caller]
    pub(crate) fn check(&self, expression: &str, expected: f64) {
        self.check_within(expression, expected, 1e-9);
    }

    /// `tolerance` is relative.
    #[track_caller]
    pub(crate) fn check_within(&self, expression: &str, expected: f64, tolerance: f64) {
        let found = self.value(expression).unwrap_or_else(|| panic!("{expression} is not there"));
        assert!(
            (found - expected).abs() <= tolerance * expected.abs(),
            "{expression}: {found}, not {expected}"
        );
    }
}

/// An Envoy whose statistics are `stats`, and an exporter that reads it.
pub(crate) struct Made {
    pub(crate) exporter: SocketAddr,
    child: Child,
    _folders: Folders,
}

impl Made {
    pub(crate) fn start(name: &str, stats: String, args: &[&str]) -> Self {
        let folders = Folders::create(name).unwrap();
        let socket = folders.run.join("admin.sock");
        serve(&socket, stats);
        let exporter = local(ports::free());
        let mut command = Command::new(workspace::exporter());
        command.args(["--web.listen-address", &exporter.to_string()]).args(args);
        command.arg("--envoy.admin").arg(format!("unix://{}", socket.display()));
        let mut child = Child::spawn("the exporter", &command, &folders.logs.join("exporter.log")).unwrap();
        child.wait_ready(STARTUP, || http::get(&Endpoint::Tcp(exporter), "/-/healthy").is_ok()).unwrap();
        Self { exporter, child, _folders: folders }
    }

    /// The most memory that the exporter ever had at once, in megabytes.
    pub(crate) fn most_memory(&self) -> f64 {
        child::most_memory(self.child.pid()).unwrap() as f64 / 1024.0
    }

    pub(crate) fn scrape(&self, accept: &str) -> String {
        self.answer(accept).text()
    }

    pub(crate) fn answer(&self, accept: &str) -> Answer {
        let call = Call::get("/metrics").header("accept", accept);
        http::call(&Endpoint::Tcp(self.exporter), Protocol::Http1, call).unwrap()
    }
}

fn serve(socket: &Path, stats: String) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drain_head(&mut stream);
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", stats.len());
            drop(stream.write_all(format!("{head}{stats}").as_bytes()));
        }
    });
}

fn drain_head<S: Read>(stream: &mut S) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
}
