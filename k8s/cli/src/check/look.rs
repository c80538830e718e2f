//! Queries the cluster and Prometheus for everything that the checks need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::findings::{alert_metrics_query, alertmanager_path};
use super::object::{is_ours, label, name, namespace};
use super::resources;
use super::snapshot::{Focus, Kind, Prometheus, Reach, SELF_METRICS, Snapshot, Trial};
use super::subject::{is_injected, sidecar_images};
use crate::kubectl::{Cluster, Refused};
use crate::prometheus::Server;

/// The scope of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// `None` means all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) focus: Option<Focus>,
}

/// The number of concurrent kubectl processes.
const WORKERS: usize = 6;

/// Collects the input of the checks.
pub(crate) fn look(cluster: &Cluster, scope: &Scope) -> Result<Snapshot> {
    cluster.reach()?;
    let mut snapshot = Snapshot { focus: scope.focus.clone(), now: now(), ..Snapshot::default() };
    for (kind, answer) in ask_all(cluster, scope) {
        match answer {
            Ok(items) => drop(snapshot.lists.insert(kind, items)),
            Err(Refused::UnknownKind) => {}
            Err(refused) if kind.query().0 == Reach::Scope => {
                bail!(
                    "cannot list {}: {refused}; `scoretap check NAMESPACE` looks into one namespace only",
                    kind.query().1[0]
                );
            }
            Err(refused) => drop(snapshot.unseen.insert(kind, refused.to_string())),
        }
    }
    snapshot.missing_secrets = missing_secrets(cluster, &snapshot);
    snapshot.certificate_ends = certificate_ends(cluster);
    if let Some((trial, pod)) = trial(cluster, &snapshot, scope) {
        snapshot.settings = resources::settings(&pod);
        snapshot.trial = Some(trial);
    }
    snapshot.prometheus = ask_prometheus(cluster, &snapshot);
    snapshot.alertmanager = alertmanager(cluster, &snapshot);
    Ok(snapshot)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

type Answers = BTreeMap<Kind, Result<Vec<Value>, Refused>>;

fn ask_all(cluster: &Cluster, scope: &Scope) -> Answers {
    let answers = Mutex::new(Answers::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for _ in 0..WORKERS {
            threads.spawn(|| {
                while let Some(kind) = Kind::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = list(cluster, scope, *kind);
                    answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(*kind, answer);
                }
            });
        }
    });
    answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn list(cluster: &Cluster, scope: &Scope, kind: Kind) -> Result<Vec<Value>, Refused> {
    let (reach, query) = kind.query();
    let namespace = scope.namespace.as_deref().filter(|_| reach != Reach::Cluster);
    let answer = match namespace {
        Some(namespace) => cluster.get(&[query, &["-n", namespace]].concat()),
        None => cluster.get(&[query, &["--all-namespaces"]].concat()),
    };
    // A tenant may see only its own namespace.
    match (kind, &scope.namespace, answer) {
        (Kind::Namespaces, Some(namespace), Err(_)) => cluster.get(&["namespace", namespace]),
        (_, _, answer) => answer,
    }
}

/// The missing Secret entries that AlertmanagerConfigs refer to. This reads only names and keys.
fn missing_secrets(cluster: &Cluster, snapshot: &Snapshot) -> BTreeSet<(String, String, String)> {
    const KEYS: &str = "go-template={{range $key, $value := .data}}{{$key}}{{\"\\n\"}}{{end}}";
    let mut wanted: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for config in snapshot.list(Kind::AlertmanagerConfigs).iter().filter(|config| is_ours(config)) {
        let mut found = Vec::new();
        references(config, &mut found);
        for (name, key) in found {
            wanted.entry((namespace(config).to_owned(), name)).or_default().insert(key);
        }
    }
    let mut missing = BTreeSet::new();
    for ((namespace, name), keys) in wanted {
        let there = match cluster.ask(&["get", "secret", &name, "-n", &namespace, "-o", KEYS]) {
            Ok(there) => there,
            Err(Refused::NotFound(_)) => String::new(),
            Err(_) => continue,
        };
        let is_missing = |key: &&String| !there.lines().any(|line| line == key.as_str());
        let lost = keys.iter().filter(is_missing);
        missing.extend(lost.map(|key| (namespace.clone(), name.clone(), key.clone())));
    }
    missing
}

/// References to a key of a Secret: objects with a name and a key.
fn references(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
            match (text("name"), text("key"), fields.len()) {
                (Some(name), Some(key), 2) => found.push((name, key)),
                _ => fields.values().for_each(|field| references(field, found)),
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// When Helm's certificates for the webhook expire. An annotation says so; this reads no keys.
fn certificate_ends(cluster: &Cluster) -> Vec<(String, String)> {
    const ENDS: &str = "jsonpath={range .items[*]}{.metadata.namespace}/secret/{.metadata.name} \
                        {.metadata.annotations.scoretap\\.dev/certificate-end}{\"\\n\"}{end}";
    let args = ["get", "secrets", "--all-namespaces", "-l", "app.kubernetes.io/part-of=scoretap", "-o", ENDS];
    let found = cluster.ask(&args).unwrap_or_default();
    let ends = found.lines().filter_map(|line| line.split_once(' ')).filter(|(_, end)| !end.is_empty());
    ends.map(|(place, end)| (place.to_owned(), end.to_owned())).collect()
}

/// Creates a pod that asks for the sidecar, as a dry run. `None` if the caller may not do so or no namespace has the
/// label.
fn trial(cluster: &Cluster, snapshot: &Snapshot, scope: &Scope) -> Option<(Trial, Value)> {
    let takes_part = |found: &&Value| {
        label(found, "scoretap.dev/injection") == Some("enabled")
            && scope.namespace.as_deref().is_none_or(|namespace| namespace == name(found))
    };
    let namespace = snapshot.list(Kind::Namespaces).iter().find(takes_part).map(name)?;
    let start = Instant::now();
    let args = ["create", "--dry-run=server", "-o", "json", "-n", namespace, "-f", "-"];
    let made = cluster.ask_with(&args, &trial_pod().to_string()).ok()?;
    let seconds = start.elapsed().as_secs_f64();
    let pod: Value = serde_json::from_str(&made).ok()?;
    let (injected, images) = (is_injected(&pod), sidecar_images(&pod));
    Some((Trial { namespace: namespace.to_owned(), seconds, injected, images }, pod))
}

/// Passes Pod Security `restricted` and common LimitRanges.
fn trial_pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "scoretap-check-",
            "annotations": {"scoretap.dev/inject": "true"},
        },
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app",
                "image": "scoretap.dev/trial",
                "ports": [{"name": "http", "containerPort": 8080}],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "64Mi"},
                    "limits": {"cpu": "200m", "memory": "128Mi"},
                },
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

/// The configuration in force, which the operator makes of all AlertmanagerConfigs.
fn alertmanager(cluster: &Cluster, snapshot: &Snapshot) -> Option<Value> {
    let answer = cluster.raw(&alertmanager_path(snapshot)?).ok()?;
    let answer: Value = serde_json::from_str(&answer).ok()?;
    serde_norway::from_str(answer.pointer("/config/original")?.as_str()?).ok()
}

fn ask_prometheus(cluster: &Cluster, snapshot: &Snapshot) -> Prometheus {
    let Some(found) = super::findings::prometheus(snapshot) else { return Prometheus::default() };
    let server = Server::of_operator(found);
    let mut seen = snapshot.clone();
    let list = |path: &str, pointer: &str| {
        let data = server.get(cluster, path).ok()?;
        data.pointer(pointer)?.as_array().cloned()
    };
    let mut answers = Prometheus {
        targets: list("/api/v1/targets?state=active", "/activeTargets"),
        groups: list("/api/v1/rules", "/groups"),
        up: server.query(cluster, &format!("{{__name__=~\"{}\"}}", SELF_METRICS.join("|"))).ok(),
        metrics: None,
    };
    seen.prometheus = answers.clone();
    answers.metrics = alert_metrics_query(&seen).and_then(|query| {
        let series = server.query(cluster, &query).ok()?;
        let name = |series: &Value| Some(series.pointer("/metric/__name__")?.as_str()?.to_owned());
        Some(series.iter().filter_map(name).collect())
    });
    answers
}
