//! The objects in `examples/steering`: each query runs on a Prometheus with the shipped rules, in namespaces with load,
//! without load and without series.

mod samples;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use scoretap_tests::monitoring::Prometheus;
use scoretap_tests::stack::Folders;
use scoretap_tests::wait::wait_until;
use scoretap_tests::{ports, rendered, tools, workspace};
use serde_json::{Value, json};

use crate::{rules, succeed};

/// The rules that record the queried series.
const RULES: [&str; 4] = ["thresholds.yaml", "recording.yaml", "canary.yaml", "insight.yaml"];
/// Rules read each other's series, so the last one is right after a few evaluations.
const DEADLINE: Duration = Duration::from_secs(90);

fn objects(file: &str) -> Vec<Value> {
    let path = workspace::root().join("examples/steering").join(file);
    rendered::documents(&fs::read_to_string(path).unwrap()).unwrap()
}

fn of_kind(file: &str, kind: &str) -> Vec<Value> {
    let mut objects = objects(file);
    objects.retain(|object| object["kind"] == kind);
    assert!(!objects.is_empty(), "{file}: no {kind}");
    objects
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A query as it reaches Prometheus, for the namespace `tenant-a`.
struct Query {
    name: String,
    expr: String,
    /// The largest value that a canary may have.
    limit: Option<f64>,
}

impl Query {
    fn new(name: &Value, expr: String, limit: Option<f64>) -> Self {
        assert!(!expr.contains("<<") && !expr.contains("{{"), "{name}: {expr}");
        assert!(expr.contains("\"tenant-a\""), "{name}: {expr}");
        let name = text(name).trim_start_matches("scoretap").replace('_', "-");
        let name = name.trim_start_matches('-').trim_end_matches("-seconds").to_owned();
        Self { name, expr, limit }
    }

    fn result(&self, prometheus: &Prometheus, namespace: &str) -> Option<f64> {
        let expr = self.expr.replace("\"tenant-a\"", &format!("\"{namespace}\""));
        let series = prometheus.query(&expr).unwrap();
        assert!(series.len() <= 1, "{expr}: {series:?}");
        Some(text(&series.first()?["value"][1]).parse().unwrap())
    }
}

fn queries() -> Vec<Query> {
    [keda(), adapter(), argo(), flagger()].into_iter().flatten().collect()
}

fn keda() -> Vec<Query> {
    let objects = objects("keda.yaml");
    let triggers = objects.iter().flat_map(|object| list(&object["spec"]["triggers"]));
    triggers
        .map(|trigger| Query::new(&trigger["name"], text(&trigger["metadata"]["query"]).to_owned(), None))
        .collect()
}

fn external_metrics(autoscalers: &[Value]) -> impl Iterator<Item = &Value> {
    autoscalers.iter().flat_map(|object| list(&object["spec"]["metrics"])).map(|metric| &metric["external"])
}

/// Fills in an adapter's rule as the adapter does for an autoscaler.
fn adapter() -> Vec<Query> {
    let adapter = objects("prometheus-adapter.yaml").remove(0);
    let external = |metric: &Value| {
        let name = &metric["metric"]["name"];
        let rule = list(&adapter["rules"]["external"]).iter().find(|rule| rule["name"]["as"] == *name);
        let rule = rule.unwrap_or_else(|| panic!("prometheus-adapter.yaml has no {name}"));
        let series = text(&rule["seriesQuery"]).split('{').next().unwrap();
        let labels = metric["metric"]["selector"]["matchLabels"].as_object().unwrap();
        let matchers = labels.iter().map(|(label, value)| format!("{label}={value}"));
        let matchers: Vec<_> = matchers.chain(["namespace=\"tenant-a\"".to_owned()]).collect();
        let expr = text(&rule["metricsQuery"]).replace("<<.Series>>", series);
        Query::new(name, expr.replace("<<.LabelMatchers>>", &matchers.join(",")), None)
    };
    external_metrics(&objects("hpa.yaml")).map(external).collect()
}

/// A query for the pods whose names begin with `churn-new`.
fn argo() -> Vec<Query> {
    let templates = of_kind("argo-rollouts.yaml", "AnalysisTemplate");
    let metrics = templates.iter().flat_map(|template| list(&template["spec"]["metrics"]));
    let query = |metric: &Value| {
        let expr = text(&metric["provider"]["prometheus"]["query"]);
        let args = [("namespace", "tenant-a"), ("rollout", "churn"), ("canary-hash", "new")];
        let fill =
            |expr: String, (arg, value): (&str, &str)| expr.replace(&format!("{{{{args.{arg}}}}}"), value);
        let pass = text(&metric["successCondition"]).strip_prefix("len(result) == 1 && result[0] <= ");
        let limit = pass.unwrap().parse().unwrap();
        Query::new(&metric["name"], args.into_iter().fold(expr.to_owned(), fill), Some(limit))
    };
    metrics.map(query).collect()
}

fn flagger() -> Vec<Query> {
    let templates = of_kind("flagger.yaml", "MetricTemplate");
    let canary = of_kind("flagger.yaml", "Canary").remove(0);
    let query = |metric: &Value| {
        let template = templates.iter().find(|one| one["metadata"]["name"] == metric["templateRef"]["name"]);
        let template = template.unwrap_or_else(|| panic!("no MetricTemplate is {}", metric["templateRef"]));
        let expr = text(&template["spec"]["query"]).replace("{{ namespace }}", "tenant-a");
        let expr = expr.replace("{{ target }}", text(&canary["spec"]["targetRef"]["name"]));
        Query::new(&metric["name"], expr, metric["thresholdRange"]["max"].as_f64())
    };
    list(&canary["spec"]["analysis"]["metrics"]).iter().map(query).collect()
}

/// The result in each namespace of the samples.
fn expected(query: &Query) -> Vec<(&'static str, Option<f64>)> {
    let scaling =
        |busy, blind| vec![("busy", Some(busy)), ("idle", Some(0.0)), ("gone", None), ("blind", blind)];
    let judged = |worse, vague| {
        let known = [("worse", Some(worse)), ("equal", Some(0.0)), ("vague", vague)];
        known.into_iter().chain([("over", None), ("few", None)]).collect()
    };
    let canary = |worse| judged(worse, Some(worse));
    match query.name.as_str() {
        // Three calls in one pod, five in the other.
        "calls-in-flight" => scaling(4.0, Some(4.0)),
        // Nineteen twentieths of the way from the lower bound of a bucket to the upper.
        "latency-p95" => scaling(0.25 + 0.25 * 0.95, None),
        "first-token-p95" => scaling(0.5 + 0.5 * 0.95, None),
        "errors" => canary(0.2),
        "latency" => canary(0.25),
        // The PSI of the shares 0.8 and 0.2 against a half each.
        "predictions" => judged(0.3 * (0.8_f64 / 0.5).ln() - 0.3 * (0.2_f64 / 0.5).ln(), None),
        other => panic!("no result is expected of {other}"),
    }
}

fn is(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() < 0.03 * expected + 1e-9,
        (found, expected) => found.is_none() && expected.is_none(),
    }
}

/// Rules with their own windows, evaluated every two seconds.
fn rule_files(folders: &Folders) -> Vec<PathBuf> {
    let write = |file: &str| {
        let text = fs::read_to_string(rules::path(file)).unwrap();
        let mut content: Value = serde_norway::from_str(&text).unwrap();
        for group in content["groups"].as_array_mut().unwrap() {
            group["interval"] = "2s".into();
        }
        let path = folders.run.join(file);
        fs::write(&path, content.to_string()).unwrap();
        path
    };
    RULES.map(write).into()
}

fn prometheus(command: Command, folders: &Folders) -> Prometheus {
    let samples = folders.run.join("samples");
    fs::write(&samples, samples::exposition()).unwrap();
    let mut promtool = Command::new(tools::promtool().unwrap());
    promtool.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&samples);
    succeed(promtool.arg(folders.run.join("tsdb")));
    let config = json!({"rule_files": rule_files(folders)});
    Prometheus::run(command, folders, ports::free(), &config, &[]).unwrap()
}

#[test]
fn queries_have_data_zero_or_no_result() {
    for (number, command) in Prometheus::commands().unwrap().into_iter().enumerate() {
        let folders = Folders::create(&format!("monitoring-steering-{number}")).unwrap();
        check_queries(&prometheus(command, &folders));
    }
}

#[track_caller]
fn check_queries(prometheus: &Prometheus) {
    let queries = queries();
    assert_eq!(queries.len(), 14);
    let wrong = |numbers_only: bool| {
        let mut wrong = Vec::new();
        for query in &queries {
            for (namespace, expected) in expected(query) {
                let found = query.result(prometheus, namespace);
                if !is(found, expected) && (expected.is_some() || !numbers_only) {
                    wrong.push(format!("{} in {namespace}: {found:?}, not {expected:?}", query.name));
                }
            }
        }
        wrong
    };
    // Results are absent before the first evaluation too, so the numbers come first.
    let deadline = Instant::now() + DEADLINE;
    while !wrong(true).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(wrong(false), [""; 0]);
    check_alerts(prometheus);
    assert_eq!(prometheus.failed_rules().unwrap(), [""; 0]);
    // The adapter serves a metric while there is a series of `seriesQuery`.
    for rule in list(&objects("prometheus-adapter.yaml")[0]["rules"]["external"]) {
        let series = text(&rule["seriesQuery"]).replace("namespace!=\"\"", "namespace=\"idle\"");
        assert!(series.contains("idle") && !prometheus.query(&series).unwrap().is_empty(), "{series}");
    }
}

/// The alerts agree with the limits of the examples.
#[track_caller]
fn check_alerts(prometheus: &Prometheus) {
    let expected = ["vague errors", "vague latency", "worse ", "worse errors", "worse latency"];
    let raised = || {
        let series = prometheus.query(r#"ALERTS{alertname=~"ScoretapCanary.+"}"#).unwrap();
        let labels = series.iter().map(|series| &series["metric"]);
        let name = |labels: &Value| {
            assert_eq!(
                [&labels["model_name"], &labels["model_version"], &labels["replaced_version"]],
                ["churn", "2", "1"]
            );
            // The alert about predictions has no aspect.
            format!("{} {}", text(&labels["namespace"]), labels["aspect"].as_str().unwrap_or_default())
        };
        let mut raised: Vec<_> = labels.map(name).collect();
        raised.sort();
        raised
    };
    wait_until("the alerts are pending", DEADLINE, || raised().len() >= expected.len());
    assert_eq!(raised(), expected);
}

#[test]
fn canary_limits_reject_only_the_worse_version() {
    let judged: Vec<_> = queries().into_iter().filter(|query| query.limit.is_some()).collect();
    assert_eq!(judged.len(), 6);
    for query in &judged {
        for (namespace, expected) in expected(query) {
            let rejected = expected.is_some_and(|value| value > query.limit.unwrap());
            let is_worse = expected.is_some() && namespace != "equal";
            assert_eq!(rejected, is_worse, "{} in {namespace}", query.name);
        }
    }
}

/// Without a result, KEDA keeps the number of pods, and Argo Rollouts neither passes nor fails. Flagger always counts that
/// as a failed check.
#[test]
fn absent_results_neither_scale_nor_pass() {
    for object in objects("keda.yaml") {
        assert!(object["spec"]["minReplicaCount"].as_u64().unwrap() > 0, "{}", object["metadata"]["name"]);
        for trigger in list(&object["spec"]["triggers"]) {
            assert_eq!(trigger["metadata"]["ignoreNullValues"], "false", "{}", trigger["name"]);
            assert_eq!(trigger["metricType"], "Value", "{}", trigger["name"]);
        }
    }
    for metric in external_metrics(&objects("hpa.yaml")) {
        assert_eq!(metric["target"]["type"], "Value", "{metric}");
    }
    for template in of_kind("argo-rollouts.yaml", "AnalysisTemplate") {
        for metric in list(&template["spec"]["metrics"]) {
            let condition = text(&metric["successCondition"]);
            assert!(condition.starts_with("len(result) == 1 && "), "{condition}");
            assert_eq!(metric["failureCondition"], condition.replace("<=", ">"));
            // A count that ends without so many successes is inconclusive.
            assert!(metric["consecutiveSuccessLimit"].as_u64().unwrap() > 0, "{}", metric["name"]);
        }
    }
}

#[test]
fn rollout_gives_every_argument_of_its_analysis() {
    let rollout = of_kind("argo-rollouts.yaml", "Rollout").remove(0);
    let steps = list(&rollout["spec"]["strategy"]["canary"]["steps"]);
    let analysis = &steps.iter().find(|step| !step["analysis"].is_null()).unwrap()["analysis"];
    let names =
        |list: &Value| list.as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    for template in of_kind("argo-rollouts.yaml", "AnalysisTemplate") {
        let used = list(&analysis["templates"])
            .iter()
            .any(|one| one["templateName"] == template["metadata"]["name"]);
        assert!(used, "{}", template["metadata"]["name"]);
        assert_eq!(names(&analysis["args"]), names(&template["spec"]["args"]));
    }
}
