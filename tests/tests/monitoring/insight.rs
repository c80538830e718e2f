//! The dashboards of Insight on a Prometheus with data: no query is empty, and no name is invented.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::SystemTime;

use scoretap_tests::monitoring::Prometheus;
use scoretap_tests::stack::Folders;
use scoretap_tests::{ports, tools, workspace};
use serde_json::json;

use crate::{dashboards, rules, succeed};

/// The labels of each series beside tenant, model and route.
const SERIES: [(&str, &str); 32] = [
    ("prediction_requests_total", r#",status="success""#),
    ("model_info", r#",deployment="churn""#),
    ("prediction_value_bucket", r#",le="0.1""#),
    ("prediction_value_bucket", r#",le="+Inf""#),
    ("prediction_classes_total", r#",class="yes""#),
    ("prediction_values_total", r#",kind="number""#),
    ("prediction_column_values_total", r#",column="age",kind="out_of_range""#),
    ("prediction_column_value_bucket", r#",column="age",le="0.1""#),
    ("prediction_column_value_bucket", r#",column="age",le="+Inf""#),
    ("prediction_rows_sum", ""),
    ("prediction_rows_count", ""),
    ("scoretap_bodies_total", r#",scanned="whole""#),
    ("prediction_time_to_first_token_seconds_bucket", r#",le="0.1""#),
    ("prediction_time_to_first_token_seconds_bucket", r#",le="+Inf""#),
    ("prediction_time_per_output_token_seconds_bucket", r#",le="0.1""#),
    ("prediction_time_per_output_token_seconds_bucket", r#",le="+Inf""#),
    ("prediction_time_between_events_seconds_bucket", r#",le="0.1""#),
    ("prediction_time_between_events_seconds_bucket", r#",le="+Inf""#),
    ("prediction_tokens_total", r#",token_type="output""#),
    ("prediction_call_tokens_bucket", r#",token_type="output",le="16.0""#),
    ("prediction_call_tokens_bucket", r#",token_type="output",le="+Inf""#),
    ("prediction_finish_total", r#",reason="stop""#),
    ("prediction_streams_total", r#",end="complete""#),
    ("prediction_usage_total", r#",usage="reported""#),
    ("prediction_stream_events_total", ""),
    ("namespace_model_route:prediction_psi:of6h", r#",of="value""#),
    ("namespace_model_route:prediction_js:of6h", r#",of="value""#),
    ("namespace_model_route:prediction_ks:of6h", ""),
    ("namespace_model_version:canary_prediction_psi:max1h", r#",replaced_version="0""#),
    ("namespace_model_route_column:prediction_column_out_of_range:ratio1h", r#",column="age""#),
    ("namespace_model_route:prediction_error_bodies:ratio_rate5m", ""),
    ("namespace_model_route:prediction_repeats:ratio1h", ""),
];

/// Two minutes up to now, and two more for queries that come late.
fn exposition() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut text = String::new();
    for (name, labels) in SERIES {
        for (count, time) in (now - 120..now + 120).step_by(2).enumerate() {
            let labels =
                format!(r#"namespace="a",model_name="churn",model_version="1",route="score"{labels}"#);
            writeln!(text, "{name}{{{labels}}} {} {time}", count + 1).unwrap();
        }
    }
    for time in (now - 120..now + 120).step_by(2) {
        writeln!(text, "scoretap_prediction_psi_limit 0.2 {time}").unwrap();
        writeln!(text, "scoretap_column_out_of_range_ratio_limit 0.01 {time}").unwrap();
    }
    text + "# EOF\n"
}

#[test]
fn insight_dashboards_have_data() {
    for (number, command) in Prometheus::commands().unwrap().into_iter().enumerate() {
        let folders = Folders::create(&format!("monitoring-insight-{number}")).unwrap();
        let samples = folders.run.join("samples");
        fs::write(&samples, exposition()).unwrap();
        let mut promtool = Command::new(tools::promtool().unwrap());
        promtool.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&samples);
        succeed(promtool.arg(folders.run.join("tsdb")));
        let prometheus = Prometheus::run(command, &folders, ports::free(), &json!({}), &[]).unwrap();
        dashboards::check_queries(&prometheus, &dashboards::INSIGHT.map(dashboards::read));
    }
}

#[test]
fn series_of_insight_dashboards_exist() {
    let metrics = fs::read_to_string(workspace::root().join("docs/metrics.md")).unwrap();
    let recorded = rules::recorded("insight.yaml");
    for (name, _) in SERIES {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let documented = metrics.contains(&format!("\n| `{}` | ", family.unwrap_or(name)));
        assert!(documented || recorded.iter().any(|recorded| recorded == name), "{name}");
    }
}

#[test]
fn answers_as_a_week_ago_raise_no_alert() {
    let test = workspace::root().join("tests/tests/monitoring/insight.test.yaml");
    succeed(Command::new(tools::promtool().unwrap()).args(["test", "rules"]).arg(test));
}
