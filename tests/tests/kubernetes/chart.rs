//! The chart, as rendered for common cases: what is scraped, who is admitted, and that injection never blocks a pod.

use scoretap_tests::rendered;
use serde_json::{Value, json};

/// A case, the monitor of the sidecars in it, and whether it asks for native histograms.
const MONITORS: [(&str, &str, bool); 3] =
    [("policy", "PodMonitor", false), ("services", "ServiceMonitor", true), ("azure", "PodMonitor", false)];

fn monitor(case: &str, kind: &str) -> Value {
    rendered::object(case, kind, "scoretap").unwrap()
}

fn endpoint(monitor: &Value) -> &Value {
    let spec = &monitor["spec"];
    &spec.get("podMetricsEndpoints").unwrap_or(&spec["endpoints"])[0]
}

#[test]
fn monitors_scrape_within_limits_and_trust_no_label() {
    for (case, kind, native) in MONITORS {
        let monitor = monitor(case, kind);
        let (spec, endpoint) = (&monitor["spec"], endpoint(&monitor));
        assert_eq!([&endpoint["interval"], &endpoint["port"]], ["30s", "scoretap-stats"], "{case}");
        assert_eq!([&endpoint["honorLabels"], &endpoint["honorTimestamps"]], [false, false], "{case}");
        for limit in
            ["sampleLimit", "targetLimit", "labelLimit", "labelNameLengthLimit", "labelValueLengthLimit"]
        {
            assert!(spec[limit].as_u64().is_some_and(|limit| limit > 0), "{case}: {limit}");
        }
        assert_eq!(spec["scrapeNativeHistograms"] == true, native, "{case}");
        assert_eq!(spec["scrapeClassicHistograms"] == true, native, "{case}: the rules read classic ones");
        // Native histograms exist in protobuf only.
        assert_eq!(spec["scrapeProtocols"][0] == "PrometheusProto", native, "{case}");
        assert_eq!(monitor["metadata"]["labels"]["release"], "kube-prometheus-stack", "{case}");
        // `ScoretapExporterDown` looks for the job `monitoring/scoretap`.
        assert_eq!(spec.get("jobLabel"), None, "{case}: a tenant would choose the job");
        assert_eq!(monitor["metadata"]["namespace"], "monitoring", "{case}");
    }
}

#[test]
fn each_tenant_has_a_monitor_and_a_limit() {
    for (tenant, limit) in [("tenant-a", 100), ("tenant-b", 500)] {
        let own = rendered::object("tenants", "PodMonitor", &format!("scoretap-{tenant}")).unwrap();
        assert_eq!(own["spec"]["namespaceSelector"], json!({"matchNames": [tenant]}));
        assert_eq!(own["spec"]["targetLimit"], limit, "{tenant}");
        assert_eq!(endpoint(&own), endpoint(&monitor("policy", "PodMonitor")), "{tenant}");
    }
    let others = monitor("tenants", "PodMonitor");
    assert_eq!(others["spec"]["namespaceSelector"], json!({"any": true}));
    let drop = json!({"sourceLabels": ["__meta_kubernetes_namespace"], "regex": "tenant-a|tenant-b", "action": "drop"});
    assert_eq!(endpoint(&others)["relabelings"][0], drop, "tenants would be scraped twice");
}

#[test]
fn pods_and_services_are_scraped_alike() {
    let [(pods, pod, _), (services, service, _), (azure, _, _)] = MONITORS;
    assert_eq!(endpoint(&monitor(pods, pod)), endpoint(&monitor(services, service)));
    assert_eq!(endpoint(&monitor(pods, pod)), endpoint(&monitor(azure, pod)));
    assert_eq!(monitor(azure, pod)["apiVersion"], "azmonitoring.coreos.com/v1");
}

#[test]
fn webhook_has_another_job_than_exporters() {
    for case in ["webhook", "azure"] {
        let monitor = rendered::object(case, "ServiceMonitor", "scoretap-injector").unwrap();
        let relabelings = endpoint(&monitor)["relabelings"].as_array().unwrap().clone();
        let job = relabelings.iter().find(|relabeling| relabeling["targetLabel"] == "job");
        assert_eq!(job.unwrap()["replacement"], "injector", "{case}");
    }
}

#[test]
fn webhook_and_policies_ignore_failures_in_same_namespaces() {
    let webhook = rendered::object("webhook", "MutatingWebhookConfiguration", "scoretap-injector").unwrap();
    let binding = rendered::object("policy", "MutatingAdmissionPolicyBinding", "scoretap-pods").unwrap();
    for hook in webhook["webhooks"].as_array().unwrap() {
        assert_eq!([&hook["failurePolicy"], &hook["sideEffects"]], ["Ignore", "None"]);
        assert_eq!(hook["timeoutSeconds"], 2);
        assert_eq!(hook["namespaceSelector"], binding["spec"]["matchResources"]["namespaceSelector"]);
    }
    let objects = rendered::objects("policy").unwrap();
    let policies = objects.iter().filter(|object| object["spec"].get("failurePolicy").is_some());
    assert!(policies.inspect(|policy| assert_eq!(policy["spec"]["failurePolicy"], "Ignore")).count() >= 4);
}

/// Whether a tenant's policies admit a call to this port of an injected pod from this namespace.
fn admits(tenant: &str, namespace: &str, port: u64) -> bool {
    let objects = rendered::objects("tenants").unwrap();
    let policies = objects.iter().filter(|object| object["kind"] == "NetworkPolicy");
    let policies = policies.filter(|policy| policy["metadata"]["namespace"] == tenant);
    let from = |rule: &Value| {
        rule["from"].as_array().is_none_or(|peers| {
            peers.iter().any(|peer| {
                peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == namespace
            })
        })
    };
    let to =
        |rule: &Value| rule["ports"].as_array().unwrap().contains(&json!({"port": port, "protocol": "TCP"}));
    let rules = policies.flat_map(|policy| policy["spec"]["ingress"].as_array().unwrap());
    rules.into_iter().any(|rule| from(rule) && to(rule))
}

#[test]
fn metrics_are_open_to_the_monitoring_namespace_only() {
    for tenant in ["tenant-a", "tenant-b"] {
        assert!(admits(tenant, "monitoring", 15190), "{tenant}");
        for namespace in ["tenant-a", "tenant-b", "default"] {
            assert!(!admits(tenant, namespace, 15190), "{tenant} from {namespace}");
            for port in [15_100, 8080, 5001] {
                // tenant-b has policies of its own.
                assert_eq!(admits(tenant, namespace, port), tenant == "tenant-a", "{tenant}: {port}");
            }
        }
    }
}

#[test]
fn rendered_cases_contain_no_key_and_no_namespace() {
    for case in rendered::CASES {
        for object in rendered::objects(case).unwrap() {
            assert!(object["kind"] != "Secret" && object["kind"] != "Namespace", "{case}: {object}");
        }
        let text = std::fs::read_to_string(rendered::path(case)).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "{case}");
    }
}
