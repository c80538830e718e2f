//! The test of a new version against the replaced one, on simulated roll-outs: chance raises no alert, a worse version
//! does. Prometheus' own engine evaluates the shipped rules, through promtool.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use scoretap_tests::tools;
use serde_json::{Value, json};

use crate::cases::{groups, written};
use crate::{rules, succeed};

const FILES: [&str; 2] = ["thresholds.yaml", "canary.yaml"];
/// The groups of `insight.yaml` that compare two versions. The others would load too many samples.
const INSIGHT: [&str; 3] = ["scoretap.insight-limits", "scoretap.insight-canary", "scoretap.alerts.insight"];
/// 1,000 roll-outs of equal versions, and 200 of worse ones.
const EQUAL: usize = 20;
const WORSE: usize = 4;
const BATCH: usize = 50;
/// How frequent each class is. Chance changes the PSI of rare classes most.
const CLASSES: [f64; 10] = [0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.1, 0.3, 0.7, 1.0];
/// Steps of ten minutes: an hour of the replaced version alone, then two of both.
const ALONE: usize = 6;
const TOGETHER: usize = 12;

/// The traffic of one roll-out: calls in a step, and the share of bad ones.
struct Rollout {
    model: String,
    old_calls: u32,
    new_calls: u32,
    old: Shares,
    new: Shares,
}

#[derive(Clone, Copy)]
struct Shares {
    failed: f64,
    slow: f64,
    /// The share of each class in the predictions.
    classes: [f64; CLASSES.len()],
}

impl Rollout {
    /// Failures from one in 1,000 to one in ten, slow calls up to 30%, and 1 to 30 calls a minute for the new version.
    fn random(model: String, random: &mut fastrand::Rng) -> Self {
        let failed = 10_f64.powf(-3.0 + 2.0 * random.f64());
        let classes = CLASSES.map(|weight| weight / CLASSES.iter().sum::<f64>());
        let shares = Shares { failed, slow: 0.3 * random.f64(), classes };
        let (old_calls, new_calls) = (random.u32(100..500), random.u32(10..300));
        Self { model, old_calls, new_calls, old: shares, new: shares }
    }

    fn series(&self, random: &mut fastrand::Rng) -> Vec<Value> {
        // Evaluating the rules that record this bound would take most of the time.
        let bound = format!(
            r#"namespace_model_le:slo_latency_bound:chosen{{namespace="tenant-a",model_name="{}",le="1.0"}}"#,
            self.model
        );
        let mut series = vec![json!({"series": bound, "values": format!("1x{}", ALONE + TOGETHER)})];
        series.extend(version(&self.model, "1", 0, self.old_calls, self.old, random));
        series.extend(version(&self.model, "2", ALONE, self.new_calls, self.new, random));
        series
    }
}

/// The counters of one version, which starts after `absent` steps. Each call fails or is slow by a throw of its own.
fn version(
    model: &str,
    version: &str,
    absent: usize,
    calls: u32,
    shares: Shares,
    random: &mut fastrand::Rng,
) -> Vec<Value> {
    let (mut failed, mut success, mut quick) = (vec![0], vec![0], vec![0]);
    let mut classes = shares.classes.map(|_| vec![0]);
    for step in 0..ALONE + TOGETHER - absent {
        let bad = (0..calls).filter(|_| random.f64() < shares.failed).count();
        let good = calls as usize - bad;
        let fast = (0..good).filter(|_| random.f64() >= shares.slow).count();
        for (counter, count) in [(&mut failed, bad), (&mut success, good), (&mut quick, fast)] {
            counter.push(counter[step] + count);
        }
        let mut predicted = shares.classes.map(|_| 0);
        (0..good).for_each(|_| predicted[class(shares.classes, random.f64())] += 1);
        for (counter, count) in classes.iter_mut().zip(predicted) {
            counter.push(counter[step] + count);
        }
    }
    let labels =
        format!(r#"namespace="tenant-a",model_name="{model}",model_version="{version}",route="score""#);
    let bucket = format!(r#"prediction_duration_seconds_bucket{{{labels},status="success""#);
    let name_of = |class| format!(r#"prediction_classes_total{{{labels},class="{class}"}}"#);
    let calls = [
        (format!(r#"prediction_errors_total{{{labels},error_type="model_error"}}"#), &failed),
        (format!(r#"prediction_requests_total{{{labels},status="success"}}"#), &success),
        (format!(r#"{bucket},le="1.0"}}"#), &quick),
        (format!(r#"{bucket},le="+Inf"}}"#), &success),
    ];
    let classes = classes.iter().enumerate().map(|(class, counts)| (name_of(class), counts));
    let series = calls.into_iter().chain(classes).map(|(name, counts)| {
        let missing = std::iter::repeat_n("_".to_owned(), absent);
        let values: Vec<_> = missing.chain(counts.iter().map(ToString::to_string)).collect();
        json!({"series": name, "values": values.join(" ")})
    });
    series.collect()
}

/// The class that a throw between 0 and 1 falls into.
fn class(shares: [f64; CLASSES.len()], thrown: f64) -> usize {
    let mut above = 0.0;
    let is_above = |share: f64| {
        above += share;
        thrown < above
    };
    shares.into_iter().position(is_above).unwrap_or(shares.len() - 1)
}

/// How many models raised each alert at any time.
const RAISED: &str = r#"count by (alertname, aspect) (count by (alertname, aspect, model_name) (
    last_over_time(ALERTS{alertname=~"ScoretapCanary.+",alertstate="firing"}[5h])))"#;

/// One of promtool's tests: every one of these roll-outs raises exactly these alerts. promtool loads at most 10,000 samples
/// for a query.
fn test(input: &[Value], raised: &[&str]) -> Value {
    let samples = raised.iter().map(|labels| json!({"labels": labels, "value": BATCH}));
    json!({
        "interval": "10m",
        "input_series": input,
        "promql_expr_test": [
            {"expr": RAISED, "eval_time": "3h", "exp_samples": samples.collect::<Vec<_>>()},
        ],
    })
}

/// The groups of `insight.yaml` that compare two versions, as a rule file.
fn insight() -> PathBuf {
    let text = fs::read_to_string(rules::path("insight.yaml")).unwrap();
    let mut file: Value = serde_norway::from_str(&text).unwrap();
    let groups = file["groups"].as_array_mut().unwrap();
    groups.retain(|group| INSIGHT.iter().any(|name| group["name"] == *name));
    assert_eq!(groups.len(), INSIGHT.len());
    written("rollouts-insight", &file)
}

#[test]
fn canary_alerts_ignore_chance_and_find_regressions() {
    let random = &mut fastrand::Rng::with_seed(1);
    let mut tests = Vec::new();
    for _ in 0..EQUAL {
        let rollout = |number| Rollout::random(format!("equal-{number}"), random).series(random);
        tests.push(test(&(0..BATCH).flat_map(rollout).collect::<Vec<_>>(), &[]));
    }
    for _ in 0..WORSE {
        let rollout = |number| {
            let mut rollout = Rollout::random(format!("worse-{number}"), random);
            rollout.new_calls = rollout.new_calls.max(150);
            rollout.new.failed += 0.1;
            // The rare classes are the frequent ones.
            rollout.new.classes.reverse();
            rollout.series(random)
        };
        let raised =
            [r#"{alertname="ScoretapCanaryDrift"}"#, r#"{alertname="ScoretapCanaryWorse",aspect="errors"}"#];
        tests.push(test(&(0..BATCH).flat_map(rollout).collect::<Vec<_>>(), &raised));
    }
    let mut files = FILES.map(rules::path).to_vec();
    files.push(insight());
    let mut order = groups(&FILES);
    order.extend(INSIGHT.map(str::to_owned));
    let content = json!({
        "rule_files": files,
        "group_eval_order": order,
        "evaluation_interval": "10m",
        "tests": tests,
    });
    let path = written("rollouts", &content);
    succeed(Command::new(tools::promtool().unwrap()).args(["test", "rules"]).arg(path));
}
