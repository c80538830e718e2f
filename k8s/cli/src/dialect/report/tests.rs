use super::*;
use crate::dialect::plan::plan;
use crate::dialect::query::understand;
use crate::dialect::variables::Variables;

fn query(expr: &str, records: Option<&str>) -> Query {
    Query {
        file: "rules.yml".to_owned(),
        place: expr.to_owned(),
        expr: expr.to_owned(),
        records: records.map(str::to_owned),
        adds: BTreeSet::from(["team".to_owned()]),
        legend: BTreeSet::new(),
        content: understand(expr, &Variables::new()).unwrap(),
    }
}

/// The verdict on a query beside recording rules: its reason if it is empty, else its name.
#[track_caller]
fn check(rules: &[(&str, &str)], expr: &str, expected: &str) {
    let mut queries: Vec<Query> = rules.iter().map(|(name, expr)| query(expr, Some(name))).collect();
    queries.push(query(expr, None));
    let input = Input { queries, ..Input::default() };
    let plan = plan(&input, "churn", None);
    let report = Report::new("churn", &input, &plan);
    let verdict = &report.queries().last().unwrap().verdict;
    let shown: &str = if let Verdict::Empty(why) = verdict { why } else { verdict.as_str() };
    assert!(shown.starts_with(expected), "{expr}: {verdict:?}");
}

#[test]
fn sides_with_different_labels_never_match() {
    let unmatched = "no series match across";
    check(&[], "rate(a_errors_total[5m]) / rate(a_requests_total[5m])", "works");
    check(&[], "sum(rate(a_errors_total[5m])) / sum(rate(a_requests_total[5m]))", "works");
    check(&[], "rate(a_errors_total[5m]) / sum(rate(a_requests_total[5m]))", unmatched);
    check(&[], "sum by (code) (rate(a_requests_total[5m])) / sum(rate(a_requests_total[5m]))", unmatched);
    check(
        &[],
        "sum by (code) (rate(a_requests_total[5m])) / on () group_left sum(rate(a_requests_total[5m]))",
        "works",
    );
    check(
        &[],
        "sum by (code) (a_requests_total) / ignoring (code) group_left sum(a_requests_total)",
        "works",
    );
    check(&[], "sum by (error_type) (a_errors_total) / sum by (error_type) (a_requests_total)", unmatched);
    check(&[], "a_requests_total > 3 and sum(a_requests_total) > 20", unmatched);
    check(&[], "a_requests_total unless sum(a_requests_total)", "works");
    check(&[], "sum(a_requests_total) / a_requests_total or vector(0)", unmatched);
    check(&[], "a_requests_total / scalar(sum(a_requests_total))", "works");
    check(&[], "sum by (job, instance) (a_requests_total) / on (job) group_left up", "not_ours");
}

#[test]
fn query_may_be_silent_while_all_is_well() {
    check(&[], "(a_requests_total == 0) or absent(a_requests_total)", "works");
    check(&[], "absent(a_requests_total) or a_requests_total == 0", "works");
    check(&[], "(sum by (code) (rate(a_requests_total[5m])) == 0) or absent(sum(a_requests_total))", "works");
    check(&[], r#"(up{job="a"} == 0) or absent(up{job="a"})"#, "not_ours");
    check(&[], "(a_zebras == 0) or absent(a_zebras)", "its name does not tell what it counts");
}

#[test]
fn sides_with_different_values_never_match() {
    let parts = |left: &str, right: &str| {
        format!(r#"rate(a_requests_total{{status="{left}"}}[5m]) / rate(a_requests_total{{{right}}}[5m])"#)
    };
    check(&[], &parts("500", r#"status="200""#), "no series match across \"/\": status differs");
    check(&[], &parts("500", ""), "works");
}

#[test]
fn quantiles_need_the_bounds() {
    let quantile = |inner: &str| format!("histogram_quantile(0.9, {inner})");
    check(&[], &quantile("sum(rate(api_latency_seconds_bucket[5m]))"), "a quantile needs the label le");
    check(&[], &quantile("sum by (le) (rate(api_latency_seconds_bucket[5m]))"), "works");
    check(&[], &quantile("sum without (path) (rate(api_latency_seconds_bucket[5m]))"), "works");
    let rule = [("app:latency:rate5m", "sum(rate(api_latency_seconds_bucket[5m]))")];
    check(&rule, &quantile("app:latency:rate5m"), "a quantile needs the label le");
    let rule = [("app:latency:rate5m", "sum by (le) (rate(api_latency_seconds_bucket[5m]))")];
    check(&rule, &quantile("app:latency:rate5m"), "works");
}

#[test]
fn recorded_metrics_have_the_labels_of_their_rule() {
    let rule = [
        ("app:rate", "sum by (path) (rate(a_requests_total[5m]))"),
        ("app:all", "rate(a_requests_total[5m])"),
    ];
    check(&rule, r#"app:rate{path="/predict"}"#, "works");
    check(&rule, r#"app:rate{team="x"}"#, "works");
    check(&rule, r#"app:rate{method="POST"}"#, "the rule that records app:rate keeps no label method");
    check(&rule, r#"app:rate{job="x"}"#, "the rule that records app:rate keeps no label job");
    check(&rule, r#"app:rate{method!="POST"}"#, "works");
    check(&rule, r#"app:all{namespace="x"}"#, "works");
    let circle = [("app:a", "app:b"), ("app:b", "app:a")];
    check(&circle, "app:a", "recording rules depend on each other in a circle");
}

#[test]
fn ten_thousand_queries_are_judged_in_seconds() {
    let queries =
        (0..10_000).map(|number| query(&format!("sum(rate(app{number}_requests_total[5m]))"), None));
    let input = Input { queries: queries.collect(), ..Input::default() };
    let start = std::time::Instant::now();
    let plan = plan(&input, "churn", None);
    let report = Report::new("churn", &input, &plan);
    assert!(report.queries().iter().all(|judged| judged.verdict == Verdict::Works));
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
}
