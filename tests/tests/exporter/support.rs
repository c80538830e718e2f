//! A real Prometheus, an Envoy that says what a test wants, and an exporter that reads it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use scoretap_tests::apps::local;
use scoretap_tests::child::Child;
use scoretap_tests::http::{self, Call, Endpoint, Protocol};
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{ports, tools, workspace};
use serde_json::Value;

/// Long enough for a few scrapes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A series' labels and value.
pub(crate) type Sample = (Value, f64);

pub(crate) struct Prometheus {
    endpoint: Endpoint,
    _child: Child,
    _folders: Folders,
}

impl Prometheus {
    /// Scrapes each target, a job by its name, every half second.
    pub(crate) fn start(name: &str, targets: &[(&str, SocketAddr)], flags: &[&str]) -> Self {
        let folders = Folders::create(name).unwrap();
        let jobs: String = targets.iter().map(|(job, target)| job_config(job, *target)).collect();
        let config = folders.run.join("prometheus.yml");
        let global = "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n";
        fs::write(&config, format!("{global}{jobs}")).unwrap();
        let address = local(ports::free());
        let mut command = Command::new(tools::prometheus().unwrap());
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folders.run.join("data").display()));
        command.arg(format!("--web.listen-address={address}")).args(flags);
        let mut child = Child::spawn("Prometheus", &command, &folders.logs.join("prometheus.log")).unwrap();
        let endpoint = Endpoint::Tcp(address);
        child.wait_ready(STARTUP, || http::get(&endpoint, "/-/ready").is_ok()).unwrap();
        Self { endpoint, _child: child, _folders: folders }
    }

    /// What an expression is now.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<Sample> {
        let answer = self.api(&format!("query?query={}", encoded(expression)));
        let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expression}: {answer}"));
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
        let answer = self.api(&format!("label/{label}/values?match%5B%5D={}", encoded(selector)));
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

    fn api(&self, path: &str) -> Value {
        let call = Call::get(&format!("/api/v1/{path}"));
        let answer = http::call(&self.endpoint, Protocol::Http1, call).unwrap();
        serde_json::from_str(&answer.text()).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
    }
}

fn job_config(job: &str, target: SocketAddr) -> String {
    format!(
        "- job_name: {job}\n  static_configs:\n  - targets: [\"{target}\"]\n    labels: {{namespace: ml}}\n"
    )
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
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
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    pub(crate) fn scrape(&self, accept: &str) -> String {
        let call = Call::get("/metrics").header("accept", accept);
        http::call(&Endpoint::Tcp(self.exporter), Protocol::Http1, call).unwrap().text()
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

/// A server whose `/metrics` is what `exposition` says, as text 0.0.4 whatever a scraper would rather have.
pub(crate) fn text_only(exposition: impl Fn() -> String + Send + 'static) -> SocketAddr {
    let address = local(ports::free());
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drain_head::<TcpStream>(&mut stream);
            let body = exposition();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n";
            drop(stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()));
        }
    });
    address
}

fn drain_head<S: Read>(stream: &mut S) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
}
