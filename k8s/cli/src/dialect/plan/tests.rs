use std::collections::BTreeMap;

use super::*;
use crate::dialect::query::understand;
use crate::dialect::variables::Variables;
use crate::dialect::write::{filter, write};

fn input(exprs: &[&str]) -> Input {
    let query = |expr: &&str| Query {
        file: "a.json".to_owned(),
        place: format!("panel {expr:?}"),
        expr: (*expr).to_owned(),
        records: None,
        adds: BTreeSet::new(),
        legend: BTreeSet::new(),
        content: understand(expr, &Variables::new()).unwrap(),
    };
    Input { queries: exprs.iter().map(query).collect(), ..Input::default() }
}

fn exposed(name: &str, kind: Kind, labels: &[(&str, &[&str])], bounds: &[f64]) -> Exposed {
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Exposed {
        file: "metrics.txt".to_owned(),
        name: name.to_owned(),
        kind,
        labels: labels.iter().map(|(name, seen)| ((*name).to_owned(), values(seen))).collect(),
        bounds: bounds.to_vec(),
    }
}

/// The plan, whose file must be a valid dialect that a second run leaves as it is.
#[track_caller]
fn planned(input: &Input) -> (Plan, String) {
    let first = plan(input, "churn", None);
    let text = write(&first, "churn", None);
    if first.families.iter().all(|planned| planned.is_choice) {
        return (first, text);
    }
    let earlier = Earlier::parse("churn.yaml", &text).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    let families: Vec<&Family> =
        first.families.iter().filter(|planned| !planned.is_choice).map(|planned| &planned.family).collect();
    assert_eq!(earlier.dialect.families.iter().collect::<Vec<_>>(), families, "{text}");
    let again = plan(input, "churn", Some(&earlier));
    assert_eq!(again.judgements, first.judgements, "{text}");
    assert_eq!(write(&again, "churn", Some(&earlier)), text);
    (first, text)
}

/// The verdict on one selector: its kind, or `with` and what has to be configured.
fn shown(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Works => "works".to_owned(),
        Verdict::WorksWith(what) => format!("with {what}"),
        Verdict::NotOurs(_) => "not ours".to_owned(),
        Verdict::Empty(_) => "empty".to_owned(),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    let exprs: Vec<&str> = cases.iter().map(|(expr, _)| *expr).collect();
    let (plan, text) = planned(&input(&exprs));
    let verdicts: BTreeMap<&str, String> = exprs
        .iter()
        .zip(&plan.judgements)
        .map(|(expr, judgements)| {
            let worst = judgements.iter().map(|judgement| &judgement.verdict).max();
            (*expr, worst.map(shown).unwrap_or_default())
        })
        .collect();
    let expected: BTreeMap<&str, String> =
        cases.iter().map(|(expr, verdict)| (*expr, (*verdict).to_owned())).collect();
    assert_eq!(verdicts, expected, "{text}");
}

#[test]
fn divided_families_get_the_same_labels() {
    let input = input(&[
        "rate(churn_errors_total[5m]) / rate(churn_requests_total[5m])",
        "sum by (endpoint) (rate(churn_requests_total[5m]))",
    ]);
    let (_, text) = planned(&input);
    assert_eq!(text.matches("{name: endpoint, value: template}").count(), 2, "{text}");
}

#[test]
fn families_of_templates_need_their_routes() {
    let input = input(&["increase(mlflow_runs_finished_total[1h])"]);
    let (plan, text) = planned(&input);
    let verdict = &plan.judgements[0][0].verdict;
    assert_eq!(shown(verdict), "with a route POST /api/2.0/mlflow/runs/update");
    assert!(text.contains("templates: [/api/2.0/mlflow/runs/update]"), "{text}");
    let route = "\"method\":\"POST\",\"name\":\"api-2-0-mlflow-runs-update\",\"path\":\"/api/2.0/mlflow/runs/update\"";
    assert!(text.contains(route), "{text}");
}

#[test]
fn legends_name_labels() {
    let mut input = input(&["rate(churn_requests_total[5m])", "sum(rate(churn_errors_total[5m]))"]);
    for query in &mut input.queries {
        query.legend = ["endpoint", "team", "result"].map(str::to_owned).into();
    }
    let (plan, text) = planned(&input);
    let labels = |name: &str| {
        let planned = plan.families.iter().find(|planned| planned.family.name == name).unwrap();
        planned.family.labels.iter().map(|label| label.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(labels("churn_requests_total"), ["endpoint"], "{text}");
    assert_eq!(labels("churn_errors_total"), [""; 0], "{text}");
}

#[test]
fn decisions_and_risks_are_classes() {
    check(&[
        (
            r#"rate(a_predictions_total{decision="BLOCK"}[5m])"#,
            "with Insight, and answers that hold it; answers that hold \"BLOCK\" as a string",
        ),
        ("sum by (risk_level) (rate(b_predictions_total[5m]))", "with Insight, and answers that hold it"),
    ]);
}

#[test]
fn ambiguous_label_is_a_question() {
    let (_, text) = planned(&input(&["sum by (result) (rate(churn_predictions_total[5m]))"]));
    assert!(text.contains("CHOOSE: no query tells the values of result"), "{text}");
}

#[test]
fn values_decide_what_a_status_is() {
    check(&[
        (r#"rate(a_requests_total{status=~"5.."}[5m])"#, "works"),
        (r#"rate(b_requests_total{status="error"}[5m])"#, "works"),
        (r#"rate(b_requests_total{status="success"}[5m])"#, "works"),
        (r#"rate(b_requests_total{status="pending"}[5m])"#, "empty"),
        (r#"rate(c_requests_total{status="5xx"}[5m])"#, "works"),
        (r#"rate(c_requests_total{status!="2xx"}[5m])"#, "works"),
        (r#"rate(d_requests_total{code="999"}[5m])"#, "empty"),
        (r#"rate(e_requests_total{success="true"}[5m])"#, "works"),
        (r#"rate(f_errors_total{code="200"}[5m])"#, "empty"),
        (r#"rate(f_errors_total{code="503"}[5m])"#, "works"),
        (r#"rate(g_requests_total{status="500"}[5m])"#, "works"),
        (
            r#"rate(g_requests_total{status_code!="200"}[5m])"#,
            "with the family has no label status_code, so the condition holds for every call",
        ),
    ]);
}

#[test]
fn true_means_what_its_label_is_about() {
    check(&[
        (r#"rate(a_requests_total{error="true"}[5m])"#, "works"),
        (
            r#"rate(b_predictions_total{prediction="true"}[5m])"#,
            "with Insight, and answers that hold it; answers that hold \"true\" as a string",
        ),
        (
            r#"rate(c_requests_total{result="1"}[5m])"#,
            "with Insight, and answers that hold it; answers that hold \"1\" as a string",
        ),
    ]);
    let (_, text) = planned(&input(&[r#"rate(a_requests_total{error="true"}[5m])"#]));
    assert!(text.contains(r#"rename: {failure: "true"}"#), "{text}");
}

#[test]
fn paths_need_a_route() {
    check(&[
        (r#"rate(a_requests_total{endpoint="/predict"}[5m])"#, "works"),
        (r#"rate(a_requests_total{endpoint="/api/predict"}[5m])"#, "with a route POST /api/predict"),
        (r#"rate(a_requests_total{endpoint=~"/api.*", method="GET"}[5m])"#, "with a route GET /api"),
        (r#"rate(a_requests_total{endpoint!~"/metrics|/health"}[5m])"#, "works"),
        (r#"rate(b_requests_total{endpoint="predict"}[5m])"#, "works"),
        (r#"rate(b_requests_total{endpoint="classify"}[5m])"#, "with a route with the name \"classify\""),
    ]);
}

#[test]
fn labels_of_targets_and_apps_are_told_apart() {
    check(&[
        (
            r#"rate(a_requests_total{job="churn"}[5m])"#,
            "with the label job=churn of the target: the monitor must set it",
        ),
        ("sum by (job, instance) (rate(a_requests_total[5m]))", "works"),
        (r#"rate(a_requests_total{app_name="churn"}[5m])"#, "works"),
        (r#"rate(a_requests_total{customer="x"}[5m])"#, "empty"),
        (r#"rate(a_requests_total{customer!="x"}[5m])"#, "works"),
        (
            "sum by (customer) (rate(a_requests_total[5m]))",
            "with one series for all values of customer, a label that only the app can fill",
        ),
        (
            r#"rate(a_requests_total{model="m"}[5m])"#,
            "with MODEL_NAME=m in the exporter's environment, or the model in the path",
        ),
    ]);
}

#[test]
fn histograms_need_their_bounds_and_parts() {
    check(&[
        (r#"rate(a_latency_seconds_bucket{le="0.25"}[5m])"#, "empty"),
        (r#"rate(api_latency_seconds_bucket{le="0.25"}[5m])"#, "works"),
        (r#"rate(api_latency_seconds_bucket{le="0.3"}[5m])"#, "with 0.3 in the filter's `bounds_seconds`"),
        (r#"rate(api_latency_seconds_bucket{le="1"}[5m])"#, "empty"),
        ("rate(api_latency_seconds_sum[5m])", "works"),
        ("rate(api_latency_seconds[5m])", "empty"),
        (r#"api_latency_seconds{quantile="0.9"}"#, "empty"),
        (
            r#"rate(model_latency_seconds_bucket{status_code="500"}[5m])"#,
            "with `duration_codes: true` in the filter",
        ),
        ("rate(http_request_size_bytes_sum[5m])", "with request_bytes in the filter's `extra`"),
    ]);
}

#[test]
fn others_metrics_are_not_ours() {
    check(&[
        ("up == 0", "not ours"),
        ("node_cpu_seconds_total", "not ours"),
        ("job:requests:rate5m", "not ours"),
        ("model_accuracy", "empty"),
        ("vllm:num_requests_waiting", "empty"),
        ("rate(requests_total[5m]) / on (pod) group_left kube_pod_info", "not ours"),
    ]);
}

#[test]
fn exposition_decides_type_bounds_and_labels() {
    let mut input = input(&[r#"rate(duration_bucket{le="0.2"}[5m])"#, "jobs", "rate(api_seconds[5m])"]);
    input.exposed = vec![
        exposed("api_duration_ms", Kind::Histogram, &[("status", &["200", "500"])], &[5.0, 300.0]),
        exposed("app_requests_total", Kind::Counter, &[("outcome", &["ok", "failed"])], &[]),
        exposed("api_seconds", Kind::Counter, &[], &[]),
        exposed("requests_active", Kind::Gauge, &[], &[]),
        exposed("predictions_by_class_total", Kind::Counter, &[("label", &["churn", "stay"])], &[]),
    ];
    let (plan, text) = planned(&input);
    let names: Vec<&str> = plan.families.iter().map(|planned| planned.family.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "api_duration_ms",
            "api_seconds",
            "app_requests_total",
            "duration",
            "predictions_by_class_total",
            "requests_active"
        ]
    );
    assert!(text.contains("bounds_seconds: [0.005, 0.3]"), "{text}");
    assert!(text.contains("rename: {success: ok, failure: failed}"), "{text}");
    assert!(text.contains("value: class}"), "{text}");
    let filter = filter(&plan.needs);
    assert_eq!(filter["duration_codes"], true);
    assert!(filter["bounds_seconds"].to_string().contains("0.2,0.25,0.3"), "{filter}");
}

#[test]
fn edits_and_refusals_survive_a_second_run() {
    let input =
        input(&[r#"rate(a_requests_total{status=~"5.."}[5m])"#, "rate(api_errors_total[5m])", "churn_total"]);
    let (_, text) = planned(&input);
    let edited = text
        .replace("help: Finished calls.", "help: Mine. # kept")
        .replace("- name: api_errors_total", "# - name: api_errors_total")
        .replace("  help: Calls that failed.\n", "#   help: Calls that failed.\n")
        .replace("  measure: calls\n  only: [failure]\n", "#   measure: calls\n#   only: [failure]\n");
    let earlier = Earlier::parse("churn.yaml", &edited).unwrap();
    let plan = plan(&input, "churn", Some(&earlier));
    let again = write(&plan, "churn", Some(&earlier));
    assert!(again.contains("help: Mine. # kept") && again.contains("# - name: api_errors_total"), "{again}");
    let families = Dialect::parse("churn.yaml", &again).unwrap().families;
    assert_eq!(families.iter().map(|family| family.name.as_str()).collect::<Vec<_>>(), ["a_requests_total"]);
    assert!(matches!(plan.judgements[1][0].verdict, Verdict::Empty(_)));
}

#[test]
fn built_in_names_have_their_own_labels() {
    check(&[
        (
            r#"rate(nv_inference_request_success{model="m"}[5m])"#,
            "with MODEL_NAME=m in the exporter's environment, or the model in the path",
        ),
        ("rate(vllm:prompt_tokens_total[5m])", "with Insight, and an LLM's answers that report it"),
        (r#"sum by (handler) (rate(http_requests_total{status="5xx"}[5m]))"#, "works"),
        (r#"rate(prediction_requests_total{status="failure"}[5m])"#, "works"),
    ]);
}

#[test]
fn odd_expositions_make_valid_dialects() {
    let mut input = input(&[r#"rate(api_seconds_bucket{le="0.123"}[5m])"#, r#"{"my.metric"}"#]);
    let bounds: Vec<f64> = (1..=60).map(f64::from).collect();
    input.exposed = vec![
        exposed("api_seconds", Kind::Histogram, &[("path", &["/a\"b"])], &bounds),
        exposed("scoretap_up", Kind::Gauge, &[], &[]),
        exposed("my.requests_total", Kind::Counter, &[], &[]),
    ];
    let (plan, _) = planned(&input);
    assert!(matches!(&plan.judgements[0][0].verdict, Verdict::WorksWith(_)));
    assert!(plan.families[0].family.bounds.as_ref().is_some_and(|bounds| bounds.len() <= 40));
    assert_eq!(plan.families.len(), 1);
}

#[test]
fn predictions_have_buckets_but_no_count() {
    check(&[
        ("churn_score_bucket{le=\"+Inf\"}", "with Insight, and answers that hold it"),
        ("rate(churn_score_count[5m])", "empty"),
        ("rate(churn_score_sum[5m])", "empty"),
    ]);
}
