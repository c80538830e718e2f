//! The dashboards: what each panel has to have, and that its queries have data ([`check_queries`], called by the
//! proof).

use std::fs;

use scoretap_tests::monitoring::Prometheus;
use scoretap_tests::rendered;
use serde_json::Value;

use crate::k8s;

const FILES: [&str; 2] = ["inference.json", "scoretap.json"];

/// Dashboards that `monitoring.rules.insight` adds. `insight.rs` proves their queries.
pub(crate) const INSIGHT: [&str; 2] = ["predictions.json", "llm.json"];

/// Grafana's variables, replaced by everything and by a window that fits the proof's scrapes.
const SUBSTITUTIONS: [(&str, &str); 6] = [
    ("$cluster", ".*"),
    ("$tenant", ".*"),
    ("$model", ".*"),
    ("$route", ".*"),
    ("$pod", ".*"),
    ("$__rate_interval", "10s"),
];

pub(crate) fn all() -> Vec<Value> {
    FILES.map(read).into()
}

pub(crate) fn read(file: &str) -> Value {
    let text = fs::read_to_string(k8s("chart/files/dashboards").join(file)).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

pub(crate) fn with_insight() -> impl Iterator<Item = Value> {
    FILES.into_iter().chain(INSIGHT).map(read)
}

pub(crate) fn variables(dashboard: &Value) -> Vec<&str> {
    let list = dashboard["templating"]["list"].as_array().unwrap();
    list.iter().map(|variable| variable["name"].as_str().unwrap()).collect()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Every query: of panels, annotations and variables, each with a name for messages.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let name = format!("{}, panel {:?} {}", dashboard["uid"], text(&panel["title"]), target["refId"]);
            queries.push((name, text(&target["expr"]).to_owned()));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        queries.push((format!("annotation {}", annotation["name"]), text(&annotation["expr"]).to_owned()));
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = text(&variable["definition"]).strip_prefix("label_values(") {
            let (series, label) = query.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
            let values = format!("count by ({label}) ({series}) and on ({label}) {series}");
            queries.push((format!("variable {}", variable["name"]), values));
        }
    }
    queries
}

/// Each query has at least one sample, and none that is no number.
#[track_caller]
pub(crate) fn check_queries(prometheus: &Prometheus, dashboards: &[Value]) {
    let mut faults = Vec::new();
    for (name, query) in dashboards.iter().flat_map(queries) {
        let expr = SUBSTITUTIONS.iter().fold(query, |expr, (from, to)| expr.replace(from, to));
        assert!(!expr.contains('$'), "{name}: what is {expr}?");
        match prometheus.query(&expr) {
            Ok(series) if series.iter().any(|series| series["value"][1] != "NaN") => {}
            Ok(series) => faults.push(format!("{name}: {series:?}: {expr}")),
            Err(error) => faults.push(format!("{name}: {error:#}")),
        }
    }
    assert!(faults.is_empty(), "without data:\n{}", faults.join("\n"));
}

#[test]
fn every_panel_has_description_and_unit() {
    for dashboard in with_insight() {
        for panel in panels(&dashboard) {
            let title = text(&panel["title"]);
            assert!(!title.is_empty());
            assert!(text(&panel["description"]).len() > 20, "{title}: no description");
            assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{title}: no unit");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{title}: no query");
        }
    }
}

#[test]
fn panels_have_unique_ids_without_overlap() {
    for dashboard in with_insight() {
        let mut taken = Vec::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let at = |field: &str| panel["gridPos"][field].as_u64().unwrap();
            let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
            assert!(x + w <= 24, "{} is too wide", panel["title"]);
            for (other, ox, oy, ow, oh) in &taken {
                let apart = x >= ox + ow || *ox >= x + w || y >= oy + oh || *oy >= y + h;
                assert!(apart && *other != panel["id"], "{} lies on panel {other}", panel["title"]);
            }
            taken.push((panel["id"].clone(), x, y, w, h));
        }
    }
}

#[test]
fn dashboards_filter_by_tenant_model_and_route() {
    for dashboard in with_insight() {
        assert_eq!(variables(&dashboard), ["datasource", "cluster", "tenant", "model", "route", "pod"]);
        assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 41);
    }
}

/// Series of two clusters can differ in `cluster` alone.
#[test]
fn every_tenant_selector_names_the_cluster() {
    for (name, query) in with_insight().flat_map(|dashboard| queries(&dashboard)) {
        let tenants = query.matches("=~\"$tenant\"").count();
        let clusters =
            ["namespace", "tenant"].map(|tenant| format!("cluster=~\"$cluster\",{tenant}=~\"$tenant\""));
        let clusters: usize = clusters.iter().map(|pair| query.matches(pair).count()).sum();
        assert_eq!(clusters, tenants, "{name}: {query}");
    }
}

#[test]
fn panels_about_pods_lead_to_one_pod() {
    let uids: Vec<_> = with_insight().map(|dashboard| text(&dashboard["uid"]).to_owned()).collect();
    let mut count = 0;
    for dashboard in with_insight() {
        for panel in panels(&dashboard) {
            let legend = text(&panel["targets"][0]["legendFormat"]);
            let links = panel["fieldConfig"]["defaults"]["links"].as_array().map_or(&[][..], Vec::as_slice);
            let urls: Vec<_> = links.iter().map(|link| text(&link["url"])).collect();
            let leads = urls.iter().any(|url| url.contains("&var-pod=${__field.labels.pod}&"));
            assert_eq!(leads, legend.contains("{{pod}}"), "{}: {urls:?}", panel["title"]);
            for url in urls {
                let (uid, _) = url.strip_prefix("/d/").and_then(|rest| rest.split_once('?')).expect(url);
                assert!(
                    uids.iter().any(|known| known == uid) && url.ends_with("${__url_time_range}"),
                    "{url}"
                );
                count += 1;
            }
        }
    }
    assert!(count > 15, "{count}");
}

/// Grafana sets the threshold of a panel from the query that `configFromData` names.
#[test]
fn latency_is_coloured_by_its_limit() {
    let dashboard = &all()[0];
    let is_latency = |panel: &&Value| {
        text(&panel["title"]).starts_with("Latency p") && panel["fieldConfig"]["defaults"]["unit"] == "s"
    };
    let mut count = 0;
    for panel in panels(dashboard).filter(is_latency) {
        let title = &panel["title"];
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(defaults["thresholds"].is_null(), "{title}: a fixed threshold");
        assert!(
            defaults["color"]["mode"] == "thresholds"
                || defaults["custom"]["thresholdsStyle"]["mode"] == "line"
        );
        let config = &panel["transformations"][0];
        assert_eq!(config["id"], "configFromData", "{title}");
        let mapping = &config["options"]["mappings"][0];
        assert_eq!(mapping["handlerKey"], "threshold1", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let limit =
            targets.iter().find(|target| target["refId"] == config["options"]["configRefId"]).unwrap();
        assert!(text(&limit["expr"]).contains("latency_limit_seconds:chosen"), "{title}");
        assert_eq!(limit["legendFormat"], mapping["fieldName"], "{title}");
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn grafana_loads_every_dashboard_as_it_is() {
    for file in FILES {
        let name = format!("scoretap-dashboard-{}", file.trim_end_matches(".json"));
        let object = rendered::object("policy", "ConfigMap", &name).unwrap();
        assert_eq!(object["metadata"]["labels"]["grafana_dashboard"], "1");
        let installed: Value = serde_json::from_str(object["data"][file].as_str().unwrap()).unwrap();
        let mut source = read(file);
        // Links to runbooks are left out while their address is unknown.
        for panel in source["panels"].as_array_mut().unwrap() {
            panel.as_object_mut().unwrap().remove("links");
        }
        assert_eq!(installed, source, "{file}");
    }
}
