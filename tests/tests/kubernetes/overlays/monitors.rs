//! The monitors: what is scraped, how often, what is believed, and under which job.

use std::fs;

use scoretap_tests::workspace;
use serde_json::{Value, json};

use super::{one, shipped};

/// Overlays by the kind that finds the sidecars, and whether native histograms are asked for.
const OVERLAYS: [(&str, &str, bool); 8] = [
    ("operator", "PodMonitor", false),
    ("kube-prometheus-stack", "PodMonitor", false),
    ("native", "PodMonitor", true),
    ("azure", "PodMonitor", false),
    ("services/operator", "ServiceMonitor", false),
    ("services/kube-prometheus-stack", "ServiceMonitor", false),
    ("services/native", "ServiceMonitor", true),
    ("services/azure", "ServiceMonitor", false),
];

/// The one monitor of the sidecars.
fn monitor(overlay: &str, kind: &str) -> Value {
    let mut objects = shipped(&format!("monitors/{overlay}"));
    objects.retain(|object| object["metadata"]["name"] == "scoretap");
    assert_eq!(objects.len(), 1, "{overlay}: what two monitors find is counted twice");
    one(&objects, kind).clone()
}

fn endpoint(monitor: &Value) -> &Value {
    let spec = &monitor["spec"];
    &spec.get("podMetricsEndpoints").unwrap_or(&spec["endpoints"])[0]
}

#[test]
fn each_scrapes_every_30_seconds_within_limits_and_believes_no_label() {
    for (overlay, kind, native) in OVERLAYS {
        let monitor = monitor(overlay, kind);
        let (spec, endpoint) = (&monitor["spec"], endpoint(&monitor));
        assert_eq!(
            [&endpoint["interval"], &endpoint["scrapeTimeout"], &endpoint["port"]],
            ["30s", "10s", "scoretap-stats"],
            "{overlay}"
        );
        assert_eq!([&endpoint["honorLabels"], &endpoint["honorTimestamps"]], [false, false], "{overlay}");
        for limit in
            ["sampleLimit", "targetLimit", "labelLimit", "labelNameLengthLimit", "labelValueLengthLimit"]
        {
            assert!(spec[limit].as_u64().is_some_and(|limit| limit > 0), "{overlay}: {limit}");
        }
        let azure = overlay.ends_with("azure");
        assert_eq!(monitor["apiVersion"] == "azmonitoring.coreos.com/v1", azure, "{overlay}");
        assert_eq!(spec["scrapeNativeHistograms"] == true, native, "{overlay}");
        assert_eq!(
            spec["scrapeClassicHistograms"] == true,
            native,
            "{overlay}: the rules read the classic ones"
        );
        // Native histograms come by protobuf alone.
        assert_eq!(spec["scrapeProtocols"][0] == "PrometheusProto", native, "{overlay}");
        let release = &monitor["metadata"]["labels"]["release"];
        let selected = overlay.ends_with("kube-prometheus-stack") || native;
        assert_eq!(release == "kube-prometheus-stack", selected, "{overlay}");
    }
}

#[test]
fn through_services_the_same_is_scraped_in_the_same_way() {
    for overlay in ["operator", "kube-prometheus-stack", "native", "azure"] {
        let mut pods = monitor(overlay, "PodMonitor");
        let mut services = monitor(&format!("services/{overlay}"), "ServiceMonitor");
        assert_eq!(endpoint(&pods), endpoint(&services), "{overlay}");
        for monitor in [&mut pods, &mut services] {
            monitor["kind"] = Value::Null;
            for field in ["selector", "podMetricsEndpoints", "endpoints"] {
                monitor["spec"].as_object_mut().unwrap().remove(field);
            }
        }
        assert_eq!(pods, services, "{overlay}");
    }
    let service = one(&shipped("monitors/service"), "Service").clone();
    assert_eq!(service["metadata"].get("namespace"), None, "it goes into each tenant's");
    assert_eq!(
        service["spec"]["selector"],
        monitor("operator", "PodMonitor")["spec"]["selector"]["matchLabels"]
    );
}

/// An operator calls the job after the monitor or the Service, unless a label of the scraped names it.
#[test]
fn the_job_is_one_that_the_alert_on_a_missing_exporter_looks_for() {
    let rules = fs::read_to_string(workspace::root().join("k8s/rules/scoretap.yaml")).unwrap();
    assert!(rules.contains(r#"up{job=~"(.*/)?scoretap.*"}"#));
    for (overlay, kind, _) in OVERLAYS {
        let monitor = monitor(overlay, kind);
        assert_eq!(monitor["spec"].get("jobLabel"), None, "{overlay}: a tenant would choose the job");
        assert_eq!(monitor["metadata"]["name"], json!("scoretap"), "{overlay}: the job ends in /scoretap");
    }
    let service = one(&shipped("monitors/service"), "Service").clone();
    assert!(service["metadata"]["name"].as_str().unwrap().starts_with("scoretap"));
}

/// What the webhook is called would fit the same expression.
#[test]
fn the_webhook_is_not_taken_for_an_exporter() {
    for (overlay, _, _) in OVERLAYS {
        let mut objects = shipped(&format!("monitors/{overlay}"));
        objects.retain(|object| object["metadata"]["name"] == "scoretap-injector");
        let relabelings = &endpoint(one(&objects, "ServiceMonitor"))["relabelings"];
        let job =
            relabelings.as_array().unwrap().iter().find(|relabeling| relabeling["targetLabel"] == "job");
        assert_eq!(job.unwrap()["replacement"], "injector", "{overlay}");
    }
}
