//! The test of a new version against the replaced one, on simulated roll-outs: chance raises no alert, a worse version
//! does. Prometheus' own engine evaluates the shipped rules, through promtool.

use std::process::Command;

use scoretap_tests::tools;
use serde_json::{Value, json};

use crate::cases::{groups, written};
use crate::{rules, succeed};

const FILES: [&str; 2] = ["thresholds.yaml", "canary.yaml"];
/// 1,000 roll-outs of equal versions, and one batch of worse ones.
const BATCHES: usize = 5;
const BATCH: usize = 200;
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
}

impl Rollout {
    /// Failures from one in 1,000 to one in ten, slow calls up to 30%, and 1 to 30 calls a minute for the new version.
    fn random(model: String, random: &mut fastrand::Rng) -> Self {
        let failed = 10_f64.powf(-3.0 + 2.0 * random.f64());
        let shares = Shares { failed, slow: 0.3 * random.f64() };
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
    for step in 0..ALONE + TOGETHER - absent {
        let bad = (0..calls).filter(|_| random.f64() < shares.failed).count();
        let good = calls as usize - bad;
        let fast = (0..good).filter(|_| random.f64() >= shares.slow).count();
        for (counter, count) in [(&mut failed, bad), (&mut success, good), (&mut quick, fast)] {
            counter.push(counter[step] + count);
        }
    }
    let labels =
        format!(r#"namespace="tenant-a",model_name="{model}",model_version="{version}",route="score""#);
    let bucket = format!(r#"prediction_duration_seconds_bucket{{{labels},status="success""#);
    [
        (format!(r#"prediction_errors_total{{{labels},error_type="model_error"}}"#), &failed),
        (format!(r#"prediction_requests_total{{{labels},status="success"}}"#), &success),
        (format!(r#"{bucket},le="1.0"}}"#), &quick),
        (format!(r#"{bucket},le="+Inf"}}"#), &success),
    ]
    .map(|(name, counts)| {
        let missing = std::iter::repeat_n("_".to_owned(), absent);
        let values: Vec<_> = missing.chain(counts.iter().map(ToString::to_string)).collect();
        json!({"series": name, "values": values.join(" ")})
    })
    .into()
}

/// How many models raised the alert at any time.
const RAISED: &str = r#"count(count by (model_name) (last_over_time(ALERTS{alertname="ScoretapCanaryWorse",alertstate="firing"}[5h])))"#;

/// One of promtool's tests: of these roll-outs so many raise the alert. promtool loads at most 10,000 samples for a query.
fn test(input: &[Value], raised: usize) -> Value {
    let samples = if raised == 0 { json!([]) } else { json!([{"labels": "{}", "value": raised}]) };
    json!({
        "interval": "10m",
        "input_series": input,
        "promql_expr_test": [{"expr": RAISED, "eval_time": "3h", "exp_samples": samples}],
    })
}

#[test]
fn canary_alert_ignores_chance_and_finds_regressions() {
    let random = &mut fastrand::Rng::with_seed(1);
    let mut tests = Vec::new();
    for batch in 0..BATCHES {
        let mut rollout = |number| Rollout::random(format!("equal-{batch}-{number}"), random).series(random);
        tests.push(test(&(0..BATCH).flat_map(&mut rollout).collect::<Vec<_>>(), 0));
    }
    let worse = (0..BATCH).flat_map(|number| {
        let mut rollout = Rollout::random(format!("worse-{number}"), random);
        rollout.new_calls = rollout.new_calls.max(100);
        rollout.new.failed += 0.1;
        rollout.series(random)
    });
    tests.push(test(&worse.collect::<Vec<_>>(), BATCH));
    let content = json!({
        "rule_files": FILES.map(rules::path),
        "group_eval_order": groups(&FILES),
        "evaluation_interval": "10m",
        "tests": tests,
    });
    let path = written("rollouts", &content);
    succeed(Command::new(tools::promtool().unwrap()).args(["test", "rules"]).arg(path));
}
