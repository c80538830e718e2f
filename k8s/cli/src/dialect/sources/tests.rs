//! Small documents of every kind.

use super::*;
use crate::dialect::model::Kind;

fn read_text(text: &str) -> Input {
    let mut reader = Reader::default();
    reader.text("f", "", text);
    reader.input
}

/// The queries of a document as `place: expr`, those of other languages with their reason.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let input = read_text(text);
    assert_eq!(input.faults, [""; 0], "{text}");
    let shown = input.queries.iter().map(|query| match &query.content {
        Content::PromQl { .. } => format!("{}: {}", query.place, query.expr),
        Content::Other(reason) => format!("{}: {} ({reason})", query.place, query.expr),
    });
    assert_eq!(shown.collect::<Vec<_>>(), expected, "{text}");
}

#[track_caller]
fn check_fault(text: &str, expected: &str) {
    let faults = read_text(text).faults;
    assert!(faults.iter().any(|fault| fault.contains(expected)), "{faults:?}");
}

#[test]
fn classic_dashboard_has_nested_panels_and_rows() {
    check(
        r#"{"dashboard": {"panels": [
            {"title": "Rate", "type": "row", "panels": [{"title": "p95", "targets": [{"expr": "a"}, {"expr": "b"}]}]},
            {"id": 7, "targets": [{"expr": "c", "hide": true}]}],
            "rows": [{"panels": [{"title": "old", "targets": [{"expr": "d"}]}]}],
            "annotations": {"list": [{"name": "deploys", "iconColor": "red", "expr": "e"}]}}}"#,
        &[
            "annotation \"deploys\": e",
            "panel \"p95\": a",
            "panel \"p95\": b",
            "panel 7: c",
            "panel \"old\": d",
        ],
    );
}

#[test]
fn schema_v2_has_elements() {
    check(
        r#"{"apiVersion": "dashboard.grafana.app/v2beta1", "kind": "Dashboard", "metadata": {"name": "x"}, "spec": {
            "elements": {"panel-1": {"kind": "Panel", "spec": {"title": "Rate", "data": {"kind": "QueryGroup", "spec":
            {"queries": [{"kind": "PanelQuery", "spec": {"query": {"kind": "DataQuery", "group": "prometheus",
            "spec": {"expr": "a"}}}}]}}}},
            "panel-2": {"kind": "Panel", "spec": {"title": "Logs", "data": {"kind": "QueryGroup", "spec":
            {"queries": [{"kind": "PanelQuery", "spec": {"query": {"kind": "DataQuery", "group": "loki",
            "spec": {"expr": "c"}}}}]}}}}},
            "variables": [{"kind": "QueryVariable", "spec": {"name": "m", "query": {"kind": "DataQuery",
            "group": "prometheus", "spec": {"query": "label_values(b, method)"}}}}]}}"#,
        &[
            "Dashboard \"x\", variable \"m\": b{method!=\"\"}",
            "Dashboard \"x\", panel \"Rate\": a",
            "Dashboard \"x\", panel \"Logs\": c (it is for a data source of type loki)",
        ],
    );
}

#[test]
fn variable_queries_ask_for_their_label() {
    let variable = |query: &str| {
        format!(
            r#"{{"panels": [], "templating": {{"list": [{{"type": "query", "name": "v", "query": {query}}}]}}}}"#
        )
    };
    check(&variable(r#""label_values(a{b=\"c\"}, d)""#), &[r#"variable "v": a{b="c", d!=""}"#]);
    check(&variable(r#"{"query": "label_values(a, d)", "refId": "x"}"#), &[r#"variable "v": a{d!=""}"#]);
    check(&variable(r#""query_result(topk(1, a))""#), &[r#"variable "v": topk(1, a)"#]);
    check(
        &variable(r#""label_values(job)""#),
        &[r#"variable "v": label_values(job) (it lists a label's values of all metrics)"#],
    );
}

#[test]
fn other_data_sources_are_not_promql() {
    check(
        r#"{"panels": [{"title": "Logs", "datasource": {"type": "loki", "uid": "x"}, "targets": [{"expr": "{app=\"a\"} |= \"b\""}]},
            {"title": "Mixed", "datasource": "-- Mixed --", "targets": [{"datasource": {"type": "prometheus"}, "expr": "a"}]}]}"#,
        &[
            "panel \"Logs\": {app=\"a\"} |= \"b\" (it is for a data source of type loki)",
            "panel \"Mixed\": a",
        ],
    );
}

#[test]
fn rules_have_the_names_of_alerts_and_records() {
    let rules = "groups: [{name: g, rules: [{alert: Down, expr: up == 0}, {record: 'a:b', expr: sum(a)}]}]";
    let expected = ["alert \"Down\": up == 0", "record \"a:b\": sum(a)"];
    check(rules, &expected);
    check(
        "kind: PrometheusRule\nmetadata: {name: r}\nspec:\n  groups: [{name: g, rules: [{alert: Down, expr: up == 0}]}]",
        &["PrometheusRule \"r\", alert \"Down\": up == 0"],
    );
    let grafana =
        "apiVersion: 1\ngroups: [{rules: [{title: T, data: [{datasourceUid: p, model: {expr: a}}]}]}]";
    check(grafana, &["rule \"T\": a"]);
}

#[test]
fn config_maps_wrap_documents() {
    check(
        "kind: ConfigMap\nmetadata: {name: m}\ndata:\n  a.json: '{\"panels\": [{\"title\": \"p\", \"targets\": \
         [{\"expr\": \"a\"}]}]}'\n  note: hello\n",
        &["ConfigMap \"m\", key \"a.json\", panel \"p\": a"],
    );
}

#[test]
fn scalers_and_adapters_have_queries() {
    check(
        "kind: ScaledObject\nmetadata: {name: s}\nspec:\n  triggers: [{type: prometheus, metadata: {query: sum(a)}}]",
        &["ScaledObject \"s\", query: sum(a)"],
    );
    check(
        "rules: [{seriesQuery: 'a{b=\"c\"}', metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'}]",
        &["metricsQuery: sum(rate(a{}[2m])) by (namespace)"],
    );
    check(
        "kind: MetricTemplate\nmetadata: {name: t}\nspec: {query: 'sum(rate(a{app=\"{{ target }}\"}[{{ interval }}]))'}",
        &["MetricTemplate \"t\", query: sum(rate(a{app=\"$template\"}[5m]))"],
    );
}

#[test]
fn expositions_have_types_labels_and_bounds() {
    let text = "# HELP d Time.\n# TYPE d histogram\nd_bucket{path=\"/a\",le=\"0.3\"} 1\nd_bucket{path=\"/a\",le=\"+Inf\"} 1\n\
                d_sum{path=\"/a\"} 0.2\nd_count{path=\"/a\"} 1\n# TYPE r counter\nr_total{status=\"ok \\\"x\\\"\"} 2.0\n# EOF\n";
    let exposed = read_text(text).exposed;
    let [d, r] = exposed.as_slice() else { panic!("{exposed:?}") };
    assert_eq!((d.name.as_str(), d.kind, d.bounds.as_slice()), ("d", Kind::Histogram, &[0.3][..]));
    assert_eq!(d.labels["path"].iter().collect::<Vec<_>>(), ["/a"]);
    assert_eq!((r.name.as_str(), r.kind), ("r_total", Kind::Counter));
    assert_eq!(r.labels["status"].iter().collect::<Vec<_>>(), ["ok \"x\""]);
}

#[test]
fn first_version_of_schema_v2_has_kinds() {
    check(
        r#"{"elements": {
            "a": {"kind": "Panel", "spec": {"title": "Rate", "data": {"kind": "QueryGroup", "spec": {"queries":
            [{"kind": "PanelQuery", "spec": {"query": {"kind": "prometheus", "spec": {"expr": "a"}}}}]}}}},
            "b": {"kind": "Panel", "spec": {"title": "Logs", "data": {"kind": "QueryGroup", "spec": {"queries":
            [{"kind": "PanelQuery", "spec": {"query": {"kind": "loki", "spec": {"expr": "c"}}}}]}}}}},
            "annotations": [{"kind": "AnnotationQuery", "spec": {"name": "n", "query": {"kind": "prometheus",
            "spec": {"expr": "d"}}}}],
            "variables": [{"kind": "CustomVariable", "spec": {"name": "c", "query": "1,2"}}]}"#,
        &[
            "annotation \"n\": d",
            "panel \"Rate\": a",
            "panel \"Logs\": c (it is for a data source of type loki)",
        ],
    );
}

#[test]
fn merge_keys_are_merged() {
    check(
        "x: &rule {alert: A, expr: a}\ngroups:\n- rules: [*rule, {<<: *rule, alert: B}]",
        &["alert \"A\": a", "alert \"B\": a"],
    );
}

#[test]
fn repeated_key_is_a_fault_beside_the_rest() {
    let input = read_text("groups:\n- rules:\n  - {alert: A, expr: a, expr: b}\n  - {alert: B, expr: c}\n");
    assert!(input.faults[0].contains("duplicate entry with key \"expr\""), "{:?}", input.faults);
    let exprs: Vec<&str> = input.queries.iter().map(|query| query.expr.as_str()).collect();
    assert_eq!(exprs, ["b", "c"]);
}

#[test]
fn own_files_are_no_queries() {
    check("dialect: x\nfamilies: [{name: a_total, measure: calls}]", &[]);
    check(r#"{"dialect": "x", "needs": {}, "queries": [{"expr": "a"}]}"#, &[]);
}

#[cfg(unix)]
#[test]
fn folders_hold_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("compose.yml"), "services: {app: {image: x}}").unwrap();
    let only_others = read(&[folder.path().to_path_buf()]).faults;
    assert!(only_others[0].contains("holds no query"), "{only_others:?}");
    fs::write(path("a.yml"), "groups: [{rules: [{alert: A, expr: a}]}]").unwrap();
    std::os::unix::fs::symlink(folder.path(), path("loop")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path("pipe.json")).status().unwrap().success());
    let twice = read(&[folder.path().to_path_buf(), path("a.yml")]);
    assert_eq!((twice.queries.len(), twice.faults), (1, Vec::new()));
}

#[test]
fn broken_documents_are_faults_with_a_place() {
    check_fault("{\"panels\": [", "f: is no valid JSON: EOF while parsing a list at line 1 column 12");
    check_fault("a: [", "f: is neither JSON, YAML nor an exposition");
    check_fault("a: {{ .Values.x }}", "render Helm templates first");
    check_fault("{\"name\": \"x\"}", "holds no query; expected a Grafana dashboard");
    check_fault("", "f: is empty");
    check_fault("null", "f: is empty");
    check_fault("# nothing", "f: is empty");
    check_fault(
        r#"{"panels": [{"title": "p", "targets": [{"expr": "sum(a"}, {"expr": "b"}]}]}"#,
        "f: panel \"p\", column 4: no valid PromQL",
    );
    check_fault(&"[".repeat(100_000), "recursion limit");
}

#[test]
fn unreadable_files_do_not_stop_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    file("a.json", b"\xff\xfe");
    file("b.yml", b"groups: [{rules: [{alert: A, expr: a}]}]");
    file("c.md", b"no query");
    let missing = folder.path().join("missing.json");
    let input = read(&[folder.path().to_path_buf(), missing]);
    assert_eq!(input.queries.len(), 1);
    let [utf8, missing] = input.faults.as_slice() else { panic!("{:?}", input.faults) };
    assert!(utf8.contains("a.json: byte 0 is not UTF-8"), "{utf8}");
    assert!(missing.contains("missing.json: cannot read the file"), "{missing}");
}

#[test]
fn ten_thousand_queries_take_seconds() {
    let panel = |number| {
        format!(r#"{{"id": {number}, "targets": [{{"expr": "sum(rate(a_{number}[5m])) by (le)"}}]}}"#)
    };
    let panels: Vec<String> = (0..10_000).map(panel).collect();
    let start = std::time::Instant::now();
    let input = read_text(&format!(r#"{{"panels": [{}]}}"#, panels.join(",")));
    assert_eq!(input.queries.len(), 10_000);
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
}
