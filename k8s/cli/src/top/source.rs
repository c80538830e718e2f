//! The source of the numbers: Prometheus, or the pods' exporters without it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use super::exposition::{Labels, parse};
use super::rows::{Key, QUANTILES, Rows, Scrape, between, key};
use crate::check::object::{name, namespace};
use crate::kubectl::Cluster;
use crate::prometheus::Server;
use crate::text::{clean, count};

/// `--from`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum From {
    /// Prometheus where it has the numbers, else the pods
    #[default]
    Auto,
    /// Prometheus
    Prometheus,
    /// The exporters in the pods
    Pods,
}

/// The pods whose numbers are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// `None` means all.
    pub(crate) namespace: Option<String>,
    pub(crate) pods: Option<Pods>,
}

/// Some pods of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pods {
    Name(String),
    Labels(String),
}

/// The range of Prometheus' rates and quantiles. It has to contain several scrapes.
const PROMETHEUS_WINDOW: &str = "2m";
/// The range of rates and quantiles from scrapes.
const SCRAPES_WINDOW: Duration = Duration::from_secs(10);
/// The number of exporters to read concurrently.
const WORKERS: usize = 8;

/// Queries the rows repeatedly.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    cluster: &'a Cluster,
    scope: &'a Scope,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Prometheus(Server),
    Pods(VecDeque<(Instant, Vec<Scrape>)>),
}

impl<'a> Source<'a> {
    /// Chooses the source.
    pub(crate) fn open(cluster: &'a Cluster, scope: &'a Scope, from: From) -> Result<Self> {
        let pods = Self { cluster, scope, kind: Kind::Pods(VecDeque::new()) };
        if from == From::Pods {
            return Ok(pods);
        }
        let server = Server::find(cluster);
        let has_data = |server: &Server| {
            let selector = selector(cluster, scope)?;
            let query = format!("count(prediction_requests_total{selector})");
            Ok::<_, anyhow::Error>(!server.query(cluster, &query)?.is_empty())
        };
        match server {
            Some(server) if from == From::Prometheus || has_data(&server)? => {
                Ok(Self { cluster, scope, kind: Kind::Prometheus(server) })
            }
            None if from == From::Prometheus => bail!(
                "the cluster has no Prometheus of the prometheus-operator that answers; `--from pods` reads the pods"
            ),
            Some(_) | None => Ok(pods),
        }
    }

    /// Whether rates need a second query.
    pub(crate) fn needs_two_scrapes(&self) -> bool {
        matches!(self.kind, Kind::Pods(_))
    }

    /// How long a table is shown.
    pub(crate) fn pause(&self) -> Duration {
        Duration::from_secs(if self.needs_two_scrapes() { 2 } else { 5 })
    }

    /// Whether the last query found no pod.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Prometheus(_) => false,
            Kind::Pods(scrapes) => scrapes.back().is_none_or(|(_, scrapes)| scrapes.is_empty()),
        }
    }

    /// Describes the source and range of the numbers.
    pub(crate) fn title(&self) -> String {
        let place = self.scope.namespace.as_deref().map_or("all namespaces".to_owned(), clean);
        match &self.kind {
            Kind::Prometheus(server) => format!(
                "{place}, from Prometheus {}: calls/s and latency of the last {PROMETHEUS_WINDOW}, outcomes since the pods \
                 started",
                clean(&server.title)
            ),
            Kind::Pods(scrapes) => {
                let pods = scrapes.back().map_or(0, |(_, scrapes)| scrapes.len());
                format!(
                    "{place}, from {}: calls/s and latency of the last seconds, outcomes since the pods started",
                    count(pods, "pod")
                )
            }
        }
    }

    /// The current rows.
    pub(crate) fn rows(&mut self) -> Result<Rows> {
        match &mut self.kind {
            Kind::Prometheus(server) => of_prometheus(self.cluster, self.scope, server),
            Kind::Pods(scrapes) => {
                let scrape = scrape(self.cluster, self.scope)?;
                let now = Instant::now();
                while scrapes.len() > 1
                    && scrapes.front().is_some_and(|(then, _)| now - *then > SCRAPES_WINDOW)
                {
                    scrapes.pop_front();
                }
                scrapes.push_back((now, scrape));
                let (Some((then, first)), Some((now, last))) = (scrapes.front(), scrapes.back()) else {
                    return Ok(Rows::new());
                };
                Ok(between(first, last, *now - *then))
            }
        }
    }
}

/// The running injected pods of a scope.
fn pods(cluster: &Cluster, scope: &Scope) -> Result<Vec<Value>> {
    let mut labels = "scoretap.dev/injected=true".to_owned();
    if let Some(Pods::Labels(more)) = &scope.pods {
        labels = format!("{labels},{more}");
    }
    let mut args = vec!["pods", "-l", &labels, "--field-selector=status.phase=Running"];
    match &scope.namespace {
        Some(namespace) => args.extend(["-n", namespace]),
        None => args.push("--all-namespaces"),
    }
    let pods = cluster.get(&args)?;
    let is_wanted = |pod: &Value| match &scope.pods {
        Some(Pods::Name(wanted)) => name(pod) == wanted,
        Some(Pods::Labels(_)) | None => true,
    };
    Ok(pods.into_iter().filter(is_wanted).collect())
}

fn scrape(cluster: &Cluster, scope: &Scope) -> Result<Vec<Scrape>> {
    let pods = pods(cluster, scope)?;
    let (next, scrapes, errors) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let poisoned = std::sync::PoisonError::into_inner;
    std::thread::scope(|threads| {
        for _ in 0..WORKERS.min(pods.len()) {
            threads.spawn(|| {
                while let Some(pod) = pods.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match read(cluster, pod) {
                        Ok(scrape) => {
                            scrapes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(scrape);
                        }
                        Err(error) => {
                            errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(error);
                        }
                    }
                }
            });
        }
    });
    let scrapes = scrapes.into_inner().unwrap_or_else(poisoned);
    match errors.into_inner().unwrap_or_default().into_iter().next() {
        // Some pods may be terminating. Fail only if no pod answers.
        Some(error) if scrapes.is_empty() => Err(error),
        Some(_) | None => Ok(scrapes),
    }
}

fn read(cluster: &Cluster, pod: &Value) -> Result<Scrape> {
    let (namespace, name) = (namespace(pod).to_owned(), name(pod).to_owned());
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:15190/proxy/metrics");
    match cluster.raw(&path) {
        Ok(text) => Ok(Scrape { namespace, pod: name, series: parse(&text) }),
        Err(refused) => bail!(
            "cannot read the metrics of pod {namespace}/{name}: {refused}; its exporter has to run, and you need the right \
             to `get pods/proxy`"
        ),
    }
}

/// The label matchers of a scope.
fn selector(cluster: &Cluster, scope: &Scope) -> Result<String> {
    let mut matchers = Vec::new();
    matchers
        .extend(scope.namespace.as_deref().map(|namespace| format!("namespace=\"{}\"", escape(namespace))));
    if scope.pods.is_some() {
        let names: Vec<_> =
            pods(cluster, scope)?.iter().map(|pod| escape(name(pod)).replace('.', "\\\\.")).collect();
        matchers.push(format!("pod=~\"{}\"", names.join("|")));
    }
    Ok(format!("{{{}}}", matchers.join(",")))
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

const BY: &str = "namespace, model_name, model_version";

fn of_prometheus(cluster: &Cluster, scope: &Scope, server: &Server) -> Result<Rows> {
    let selector = selector(cluster, scope)?;
    let ask = |query: String| -> Result<Vec<(Key, Labels, f64)>> {
        let series = server.query(cluster, &query)?;
        Ok(series.iter().filter_map(sample).collect())
    };
    let mut rows = Rows::new();
    let window = PROMETHEUS_WINDOW;
    for (key, labels, calls) in ask(format!("sum by ({BY}, status) (prediction_requests_total{selector})"))? {
        let outcome = labels.get("status").filter(|status| *status != "failure");
        let row = rows.entry(key).or_default();
        row.outcomes.extend(outcome.map(|outcome| (outcome.clone(), calls)));
    }
    for (key, labels, calls) in ask(format!("sum by ({BY}, error_type) (prediction_errors_total{selector})"))?
    {
        let row = rows.entry(key).or_default();
        row.outcomes.extend(labels.get("error_type").map(|outcome| (outcome.clone(), calls)));
    }
    for (key, _, rate) in ask(format!("sum by ({BY}) (rate(prediction_requests_total{selector}[{window}]))"))?
    {
        rows.entry(key).or_default().calls_per_second = rate;
    }
    let buckets = format!("sum by ({BY}, le) (rate(prediction_duration_seconds_bucket{selector}[{window}]))");
    for (index, quantile) in QUANTILES.iter().enumerate() {
        for (key, _, seconds) in ask(format!("histogram_quantile({quantile}, {buckets})"))? {
            rows.entry(key).or_default().quantiles[index] =
                Some(seconds).filter(|seconds| seconds.is_finite());
        }
    }
    let rate = |series: &str| format!("sum by ({BY}) (rate({series}[{window}]))");
    for (key, _, rate) in ask(rate(&format!("prediction_rows_sum{selector}")))? {
        rows.entry(key).or_default().bodies.rows_per_second = Some(rate);
    }
    let output = selector.replacen('{', "{token_type=\"output\",", 1);
    for (key, _, rate) in ask(rate(&format!("prediction_tokens_total{output}")))? {
        rows.entry(key).or_default().bodies.tokens_per_second = Some(rate);
    }
    for (key, _, errors) in ask(format!("sum by ({BY}) (prediction_error_bodies_total{selector})"))? {
        rows.entry(key).or_default().bodies.errors = Some(errors);
    }
    let first = format!("prediction_time_to_first_token_seconds_bucket{selector}");
    let first = format!("histogram_quantile(0.5, sum by ({BY}, le) (rate({first}[{window}])))");
    for (key, _, seconds) in ask(first)? {
        rows.entry(key).or_default().bodies.first_token = Some(seconds).filter(|seconds| seconds.is_finite());
    }
    Ok(rows)
}

fn sample(series: &Value) -> Option<(Key, Labels, f64)> {
    let labels: Labels = series
        .get("metric")?
        .as_object()?
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let value = series.pointer("/value/1")?.as_str()?.parse().ok()?;
    Some((key(None, &labels), labels, value))
}
