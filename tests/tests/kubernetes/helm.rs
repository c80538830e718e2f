//! The chart without a cluster, where helm is built or installed.

use std::process::{Command, Output};

use scoretap_injector::settings::Settings;
use scoretap_tests::{rendered, tools, workspace};
use serde_json::{Value, json};

/// Kinds of the prometheus-operator.
const OPERATOR: [&str; 4] = [
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/ServiceMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1alpha1/AlertmanagerConfig",
];

fn helm(args: &[&str]) -> Output {
    let chart = workspace::root().join("k8s/chart");
    Command::new(tools::helm().unwrap()).args(args).arg(chart).output().unwrap()
}

/// Renders these values for a cluster with these kinds.
#[track_caller]
fn template(values: &[&str], kinds: &[&str]) -> Result<Vec<Value>, String> {
    let values =
        values.iter().flat_map(|value| [if value.contains('[') { "--set-json" } else { "--set" }, value]);
    let kinds = kinds.iter().flat_map(|kind| ["--api-versions", kind]);
    let args: Vec<_> =
        ["template", "scoretap", "-n", "other"].into_iter().chain(values).chain(kinds).collect();
    let output = helm(&args);
    if output.status.success() {
        return Ok(rendered::documents(&String::from_utf8(output.stdout).unwrap()).unwrap());
    }
    Err(String::from_utf8(output.stderr).unwrap())
}

#[track_caller]
fn kinds_of(values: &[&str], kinds: &[&str]) -> Vec<String> {
    let objects = template(values, kinds).unwrap();
    let mut kinds: Vec<_> =
        objects.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[track_caller]
fn check_rejected(values: &[&str], says: &str) {
    let error = template(values, &[]).expect_err("it was accepted");
    assert!(error.contains(says), "{values:?}: {error}");
}

#[test]
fn lint_finds_no_fault() {
    let output = helm(&["lint", "--strict"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn wrong_values_are_rejected() {
    check_rejected(&[], "use mode=policy");
    check_rejected(&["mode=webhook"], "use cert-manager or secret");
    check_rejected(&["mode=webhook", "injector.tls.mode=secret"], "set injector.tls.caBundle");
    check_rejected(&["mode=sidecar"], "mode");
    check_rejected(&["mode=policy", "monitoring.nativeHistogram=true"], "nativeHistogram");
    check_rejected(&["mode=policy", "sidecar.resources.envoy.limits.gpu=1"], "gpu");
    check_rejected(&["mode=policy", "images.exporter.digest=latest"], "digest");
    // The policy quotes images and cannot escape them.
    check_rejected(&["mode=policy", "registry=r.example/it's"], "registry");
    check_rejected(&["mode=policy", "sidecar.resources.envoy.limits=null"], "limits");
    check_rejected(&["mode=policy", r#"tenants=[{"namespace": "a"}]"#], "namespace");
    check_rejected(&["mode=policy", "monitoring.thresholds.errorRatio=5"], "errorRatio");
}

#[test]
fn kinds_that_the_cluster_lacks_are_left_out() {
    let tenant = r#"tenants=[{"name": "a", "receiver": {"channel": "x"}}]"#;
    let of_operator = ["AlertmanagerConfig", "PodMonitor", "PrometheusRule"].map(str::to_owned);
    let with = kinds_of(&["mode=policy", tenant], &OPERATOR);
    let without = kinds_of(&["mode=policy", tenant], &[]);
    for kind in &of_operator {
        assert!(with.contains(kind) && !without.contains(kind), "{kind}: {with:?}, {without:?}");
    }
    assert!(!kinds_of(&["mode=none", "istio.enabled=true"], &[]).contains(&"TrafficExtension".to_owned()));
}

#[test]
fn user_is_left_to_the_platform() {
    let values = [
        "mode=webhook",
        "injector.tls.mode=cert-manager",
        "injector.runAsUser=null",
        "sidecar.runAsUser=null",
    ];
    let text = serde_json::to_string(&template(&values, &[]).unwrap()).unwrap();
    assert!(!text.contains("65532"), "{text}");
    assert!(text.contains("runAsUser: null"), "the settings leave it out");
}

#[test]
fn existing_certificate_is_used_with_its_authority() {
    let values = [
        "mode=webhook",
        "injector.tls.mode=secret",
        "injector.tls.secretName=mine",
        "injector.tls.caBundle=PEM",
    ];
    let objects = template(&values, &[]).unwrap();
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind);
    assert!(of_kind("Secret").is_none());
    let volumes = &of_kind("Deployment").unwrap()["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[1]["secret"]["secretName"], "mine");
    for webhook in of_kind("MutatingWebhookConfiguration").unwrap()["webhooks"].as_array().unwrap() {
        // "PEM" in base64.
        assert_eq!(webhook["clientConfig"]["caBundle"], "UEVN");
    }
}

#[test]
fn images_follow_registry_tag_and_digest() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let image = |values: &[&str]| {
        let all = [&["mode=webhook", "injector.tls.mode=cert-manager"], values].concat();
        let objects = template(&all, &[]).unwrap();
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let containers = &deployment["spec"]["template"]["spec"]["containers"];
        containers[0]["image"].as_str().unwrap().to_owned()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image(&[]), format!("scoretap-injector:{version}"));
    assert_eq!(image(&["registry=r.example/x/"]), format!("r.example/x/scoretap-injector:{version}"));
    assert_eq!(image(&["images.injector.tag=v7"]), "scoretap-injector:v7");
    let by_digest = format!("images.injector.digest={digest}");
    assert_eq!(image(&["registry=r.example", &by_digest]), format!("r.example/scoretap-injector@{digest}"));
}

#[test]
fn monitoring_namespace_is_one_value() {
    let values = ["mode=webhook", "injector.tls.mode=cert-manager", "monitoring.namespace=observe"];
    let tenant = r#"tenants=[{"name": "a", "networkPolicy": "metrics"}]"#;
    let objects =
        template(&[&values[..], &["monitoring.plainConfig=true", tenant]].concat(), &OPERATOR).unwrap();
    let namespaces: Vec<_> =
        objects.iter().map(|object| object["metadata"]["namespace"].as_str().unwrap_or_default()).collect();
    assert!(namespaces.contains(&"observe") && !namespaces.contains(&"monitoring"), "{namespaces:?}");
    let text = serde_json::to_string(&objects).unwrap();
    assert!(!text.contains("alertmanager.monitoring.svc") && !text.contains("scoretap-system"));
    let policies = objects.iter().filter(|object| object["kind"] == "NetworkPolicy");
    assert_eq!(policies.inspect(|policy| assert!(policy.to_string().contains("observe"))).count(), 2);
}

#[test]
fn links_and_thresholds_come_from_values() {
    let values = [
        "mode=policy",
        "monitoring.grafanaUrl=https://g.example/",
        "monitoring.runbookUrl=https://r.example/books.md",
        "monitoring.thresholds.errorRatio=0.1",
        "monitoring.rules.names=familiar",
        "monitoring.rules.optional=true",
        "monitoring.rules.insight=true",
    ];
    let objects = template(&values, &OPERATOR).unwrap();
    let rule = |name: &str| objects.iter().find(|object| object["metadata"]["name"] == name);
    let text = rule("scoretap-familiar-names").unwrap().to_string();
    assert!(text.contains("https://g.example/d/scoretap-inference"), "{text}");
    assert!(text.contains("https://r.example/books.md#scoretaphigherrorratio"), "{text}");
    let limit = &rule("scoretap-thresholds").unwrap()["spec"]["groups"][0]["rules"][0];
    assert_eq!([&limit["record"], &limit["expr"]], ["scoretap_error_ratio_limit", "vector(0.1)"]);
    for name in ["scoretap-insight", "scoretap-dashboard-predictions", "scoretap-dashboard-llm"] {
        assert!(rule(name).is_some(), "{name}");
    }
    let dashboard = rule("scoretap-dashboard-llm").unwrap().to_string();
    assert!(dashboard.contains("https://r.example/books.md#scoretapslowtokens"), "{dashboard}");
    assert!(rule("scoretap-optional").is_some() && rule("scoretap-calls").is_none());
    // No published guide names an alert about canaries.
    assert!(rule("scoretap-canary").is_some());
}

#[test]
fn model_limits_are_recorded_with_labels() {
    let limits = r#"monitoring.limits=[{"namespace": "a", "model": "churn", "podCalls": 4, "slo": {"latencyBound": "2.5"}},
        {"namespace": "a", "model": "churn", "route": "score", "latencySeconds": {"warning": 3}}]"#;
    let objects = template(&["mode=policy", limits], &OPERATOR).unwrap();
    let rule = objects.iter().find(|object| object["metadata"]["name"] == "scoretap-thresholds").unwrap();
    let groups = rule["spec"]["groups"].as_array().unwrap();
    let rules: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    for (name, labels, expr) in [
        ("scoretap_pod_calls_limit", json!({"namespace": "a", "model_name": "churn"}), "vector(4)"),
        (
            "scoretap_slo_latency_bound",
            json!({"namespace": "a", "model_name": "churn", "le": "2.5"}),
            "vector(1)",
        ),
        (
            "scoretap_latency_limit_seconds",
            json!({"namespace": "a", "model_name": "churn", "route": "score", "severity": "warning"}),
            "vector(3)",
        ),
    ] {
        let found = rules.iter().find(|rule| rule["record"] == name && rule["labels"] == labels);
        assert_eq!(found.map(|rule| &rule["expr"]), Some(&json!(expr)), "{name} {labels}");
    }
    check_rejected(&["mode=policy", r#"monitoring.limits=[{"namespace": "a", "route": "score"}]"#], "model");
}

/// The settings that the webhook gets with these values are those of this settings file.
#[track_caller]
fn check_settings(values: &[&str], expected: &str) {
    let webhook = ["mode=webhook", "injector.tls.mode=cert-manager"];
    let objects = template(&[&webhook, values].concat(), &[]).unwrap();
    let settings = objects.iter().find_map(|object| object["data"]["settings.yaml"].as_str()).unwrap();
    assert_eq!(Settings::parse(settings), Settings::parse(expected), "{values:?}");
}

#[test]
fn webhook_reads_the_settings_of_the_values() {
    check_settings(&[], "");
    check_settings(&["sidecar.runAsUser=null"], "runAsUser: null");
    check_settings(
        &["sidecar.resources.envoy.limits.cpu=null", "sidecar.resources.exporter.requests.memory=48Mi"],
        "resources: {envoy: {limits: {cpu: null}}, exporter: {requests: {memory: 48Mi}}}",
    );
}
