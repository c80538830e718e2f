//! How long a scrape takes and how much memory the exporter has, with real counters of a real Envoy.
//!
//! Everything is measured from outside, over sockets, by one client, in turns, so that what else the machine does hits
//! all alike. A figure is the median, with the 10th and 90th percentile beside it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use scoretap_tests::apps::Broken;
use scoretap_tests::child;
use scoretap_tests::http::{self, Call, Endpoint, Protocol};
use scoretap_tests::stack::{Stack, Upstream};
use scoretap_tests::tools::{self, EnvoyVersion};
use scoretap_tests::workspace;

use crate::package;

/// The names, and nothing but the names, of the filter's counters.
const ENVOYS_OWN: &str = "/stats/prometheus?usedonly&filter=%5Ewasmcustom%5C.scoretap";

const TEXT: &str = "accept: text/plain;version=0.0.4\r\n";
const GZIP: &str = "accept: text/plain;version=0.0.4\r\naccept-encoding: gzip\r\n";
const PROTOBUF: &str =
    "accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n";

/// The Python client's time for the same series: one line for each run, in milliseconds.
const GENERATE_LATEST: &str = "
import sys, time
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
models, runs = int(sys.argv[1]), int(sys.argv[2])
registry = CollectorRegistry()
names = ['model_name', 'model_version', 'route']
requests = Counter('prediction_requests', 'Calls.', names + ['status'], registry=registry)
errors = Counter('prediction_errors', 'Failures.', names + ['error_type'], registry=registry)
responses = Counter('prediction_responses', 'Responses.', names + ['method', 'code'], registry=registry)
duration = Histogram('prediction_duration_seconds', 'Time.', names + ['status'], registry=registry,
    buckets=[.001, .005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10])
info = Gauge('model_info', 'Models.', ['model_name', 'model_version', 'deployment', 'framework'], registry=registry)
for number in range(models):
    model = (f'model-{number:05}', 'unknown', 'kserve-v1')
    for status in ['success', 'failure', 'cancelled']:
        requests.labels(*model, status).inc()
    for kind in ['invalid_input', 'unauthorized', 'not_found', 'rate_limited', 'model_error', 'timeout',
                 'unavailable', 'overloaded', 'truncated']:
        errors.labels(*model, kind).inc()
    responses.labels(*model, 'POST', '200').inc()
    duration.labels(*model, 'success').observe(.003)
    info.labels(model[0], model[1], 'unknown', 'unknown').set(1)
for _ in range(runs):
    begun = time.perf_counter()
    generate_latest(registry)
    print((time.perf_counter() - begun) * 1e3)
";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many models Envoy has counters of
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1000, 5000])]
    models: Vec<usize>,
    /// How often each is measured
    #[arg(long, default_value_t = 50)]
    runs: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    tools::envoy(EnvoyVersion::Newest)?;
    tools::python()?;
    package::build_if_stale()?;
    let binary = fs::metadata(workspace::exporter())?.len();
    println!("the exporter's binary has {:.2} MB", binary as f64 / 1e6);
    println!("times in ms: median (10th to 90th percentile) of {} runs, in turns\n", args.runs);
    println!(
        "{:>6}  {:>20}  {:>20}  {:>6}  {:>20}  {:>20}  {:>22}  {:>9}  {:>7}  {:>7}",
        "models",
        "Envoy's own",
        "our text",
        "ratio",
        "our protobuf",
        "our text, gzip",
        "generate_latest",
        "body KB",
        "idle MB",
        "MB"
    );
    for models in &args.models {
        println!("{}", measure(*models, args.runs)?);
    }
    Ok(())
}

fn measure(models: usize, runs: usize) -> Result<String> {
    let stack = Stack::builder("bench-exporter")
        .upstream(Upstream::Http1(Broken::start()?.address))
        .filter_config(r#"{"max_series": 10000}"#)
        .concurrency(1)
        .start()?;
    let memory = || {
        let kilobytes = child::most_memory(stack.exporter_pid().context("the exporter is gone")?)?;
        anyhow::Ok(kilobytes as f64 / 1024.0)
    };
    http::get(&stack.exporter, "/metrics")?;
    let idle = memory()?;
    call_each(&stack, models)?;
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut size = 0;
    let mut buffer = Vec::new();
    for _ in 0..runs {
        let [envoys, text, protobuf, gzip] = &mut times;
        envoys.push(timed(&stack.admin, ENVOYS_OWN, "", &mut buffer)?.0);
        let (time, bytes) = timed(&stack.exporter, "/metrics", TEXT, &mut buffer)?;
        text.push(time);
        size = bytes;
        protobuf.push(timed(&stack.exporter, "/metrics", PROTOBUF, &mut buffer)?.0);
        gzip.push(timed(&stack.exporter, "/metrics", GZIP, &mut buffer)?.0);
    }
    let python = python(models, runs.min(20))?;
    let [envoys, text, protobuf, gzip] = times.map(Spread::of);
    Ok(format!(
        "{models:>6}  {:>20}  {:>20}  {:>6.2}  {:>20}  {:>20}  {:>22}  {:>9}  {idle:>7.1}  {:>7.1}",
        envoys.shown(),
        text.shown(),
        text.median / envoys.median,
        protobuf.shown(),
        gzip.shown(),
        Spread::of(python).shown(),
        size.div_ceil(1024),
        memory()?
    ))
}

/// A readable and writable connection.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Milliseconds until the whole answer is there, and its size. A client that does nothing but read.
fn timed(endpoint: &Endpoint, path: &str, headers: &str, buffer: &mut Vec<u8>) -> Result<(f64, usize)> {
    buffer.clear();
    let begun = Instant::now();
    let mut stream: Box<dyn Stream> = match endpoint {
        Endpoint::Tcp(address) => Box::new(TcpStream::connect(address)?),
        Endpoint::Unix(socket) => Box::new(UnixStream::connect(socket)?),
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes())?;
    stream.read_to_end(buffer)?;
    let time = begun.elapsed().as_secs_f64() * 1e3;
    ensure!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n"), "no good answer to {path}");
    Ok((time, buffer.len()))
}

struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            times.get((times.len() * percent / 100).min(times.len() - 1)).copied().unwrap_or(f64::NAN)
        };
        Self { low: at(10), median: at(50), high: at(90) }
    }

    fn shown(&self) -> String {
        format!("{:.2} ({:.2}–{:.2})", self.median, self.low, self.high)
    }
}

fn call_each(stack: &Stack, models: usize) -> Result<()> {
    let calls = (0..models).map(|number| Call::post(&format!("/v1/models/model-{number:05}:predict"), "{}"));
    let answers = stack.load(Protocol::Http1, 8).run(calls.collect());
    let answered = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200));
    ensure!(answered.count() == models, "not every call was answered");
    stack.settle();
    Ok(())
}

fn python(models: usize, runs: usize) -> Result<Vec<f64>> {
    let mut command = Command::new(tools::python()?);
    command.args(["-c", GENERATE_LATEST, &models.to_string(), &runs.to_string()]);
    let printed = crate::run::output(&mut command)?;
    printed.lines().map(|line| line.parse().context("a time of generate_latest")).collect()
}
