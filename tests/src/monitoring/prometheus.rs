//! A Prometheus that scrapes given targets every half second.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::relocated::relocated;
use super::shortened;
use crate::apps::local;
use crate::child::Child;
use crate::http::{self, Endpoint};
use crate::stack::Folders;
use crate::wait::STARTUP;
use crate::{tools, workspace};

/// A target, and the labels that an operator's monitor would give it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// `job`.
    pub job: &'static str,
    /// `namespace` and `pod`; none where what is scraped has them itself, as kube-state-metrics does.
    pub pod: Option<(&'static str, &'static str)>,
}

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    /// Where it listens.
    pub address: SocketAddr,
    _child: Child,
}

impl Prometheus {
    /// Starts it with all rule files at shortened windows ([`shortened`]), and waits until it is ready.
    pub fn start(
        folders: &Folders,
        port: u16,
        targets: &[Target],
        alertmanager: Option<SocketAddr>,
    ) -> Result<Self> {
        let rules = write_rules(folders)?;
        Self::with(folders, port, &config_of(targets, alertmanager, &rules), &[])
    }

    /// Like [`start`](Self::start), with the Prometheus 3 of the clusters, if it is built, and without an Alertmanager.
    pub fn start_newest(folders: &Folders, port: u16, targets: &[Target]) -> Result<Option<Self>> {
        let Ok(program) = tools::cluster_program("prometheus") else { return Ok(None) };
        let rules = write_rules(folders)?;
        Self::run(Command::new(program), folders, port, &config_of(targets, None, &rules), &[]).map(Some)
    }

    /// Starts it with a configuration and flags of the caller's, and waits until it is ready.
    pub fn with(folders: &Folders, port: u16, content: &Value, flags: &[&str]) -> Result<Self> {
        Self::run(Self::debian()?, folders, port, content, flags)
    }

    /// Debian's Prometheus 2, and the Prometheus 3 of the clusters, if it is built, for [`run`](Self::run).
    pub fn commands() -> Result<Vec<Command>> {
        let newest = tools::cluster_program("prometheus").ok().map(Command::new);
        Ok([Self::debian()?].into_iter().chain(newest).collect())
    }

    fn debian() -> Result<Command> {
        let mut command = Command::new(relocated(&tools::prometheus()?, "/usr/share/prometheus/web")?);
        command.current_dir(tools::tools_dir().join("debian-prometheus/root"));
        Ok(command)
    }

    /// Like [`with`](Self::with), with the Prometheus that this command starts.
    pub fn run(
        mut command: Command,
        folders: &Folders,
        port: u16,
        content: &Value,
        flags: &[&str],
    ) -> Result<Self> {
        let config = folders.run.join("prometheus.json");
        fs::write(&config, content.to_string())?;
        let address = local(port);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folders.run.join("tsdb").display()));
        command.arg(format!("--web.listen-address={address}")).args(flags);
        let mut child = Child::spawn("Prometheus", &command, &folders.logs.join("prometheus.log"))?;
        child.wait_ready(STARTUP, || http::get(&Endpoint::Tcp(address), "/-/ready").is_ok())?;
        Ok(Self { address, _child: child })
    }

    /// The current value of an expression: series with `metric` and `value`.
    pub fn query(&self, expr: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/query?query={}", http::percent_encode(expr));
        let answer = http::get(&Endpoint::Tcp(self.address), &path).with_context(|| expr.to_owned())?;
        let answer: Value = serde_json::from_str(&answer)?;
        ensure!(answer["status"] == "success", "{expr}: {answer}");
        let result = &answer["data"]["result"];
        result.as_array().cloned().with_context(|| format!("{expr}: no series but {result}"))
    }

    /// The last errors of rules that could not be evaluated.
    pub fn failed_rules(&self) -> Result<Vec<String>> {
        let answer = http::get(&Endpoint::Tcp(self.address), "/api/v1/rules")?;
        let answer: Value = serde_json::from_str(&answer)?;
        let groups =
            answer["data"]["groups"].as_array().with_context(|| format!("no groups but {answer}"))?;
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let failed = rules.filter(|rule| rule["health"] == "err");
        Ok(failed.map(|rule| format!("{}: {}", rule["name"], rule["lastError"])).collect())
    }
}

fn write_rules(folders: &Folders) -> Result<Vec<String>> {
    let shipped = workspace::root().join("k8s/chart/files/rules");
    let mut written = Vec::new();
    for entry in fs::read_dir(&shipped).with_context(|| format!("cannot read {}", shipped.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_name().unwrap_or_default().to_owned();
            let text = fs::read_to_string(&path)?;
            let rules = shortened::rules(&text).with_context(|| format!("{}", path.display()))?;
            let short = folders.run.join(name);
            fs::write(&short, rules)?;
            written.push(short.display().to_string());
        }
    }
    Ok(written)
}

fn config_of(targets: &[Target], alertmanager: Option<SocketAddr>, rules: &[String]) -> Value {
    let jobs = targets.iter().enumerate().map(|(index, target)| {
        let mut labels = json!({"job": target.job});
        if let Some((namespace, pod)) = target.pod {
            labels["namespace"] = namespace.into();
            labels["pod"] = pod.into();
        }
        json!({
            "job_name": format!("target-{index}"),
            "honor_labels": target.pod.is_none(),
            "static_configs": [{"targets": [target.address.to_string()], "labels": labels}],
        })
    });
    let alertmanagers =
        alertmanager.map(|address| json!({"static_configs": [{"targets": [address.to_string()]}]}));
    json!({
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
        "rule_files": rules,
        "alerting": {"alertmanagers": alertmanagers.into_iter().collect::<Vec<_>>()},
        "scrape_configs": jobs.collect::<Vec<_>>(),
    })
}
