//! Azure: the rules as an ARM template, what its agent has to keep, and the questions in Kusto's language.
//!
//! Nothing here has run in Azure. The rules are the very expressions that promtool and a real Prometheus were given;
//! what is around them is read by Microsoft's own client, and the queries by Microsoft's own parser.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use scoretap_core::outcome::{Ending, Overrides};
use scoretap_tests::{tools, workspace};
use serde_json::json;
use serde_norway::Value;

use crate::rules::{self, Group};
use crate::{dashboards, k8s};

const TEMPLATE: &str = "azure/rule-groups.json";

/// The files that are on by default.
fn groups() -> impl Iterator<Item = Group> {
    rules::FILES[..rules::DEFAULT].iter().flat_map(|file| rules::read(file).groups)
}

/// The template as Azure would deploy it, with the example's parameters.
fn deployed() -> Vec<serde_json::Value> {
    let read = |file: &str| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(k8s(file)).unwrap()).unwrap()
    };
    let mut template = read(TEMPLATE);
    let values = read("azure/rule-groups.parameters.json")["parameters"].take();
    let declared = template["parameters"].as_object().unwrap().keys().collect::<Vec<_>>();
    assert_eq!(values.as_object().unwrap().keys().collect::<Vec<_>>(), declared);
    let mut resources = template["resources"].take();
    fill_in(&mut resources, &values);
    resources.as_array().unwrap().clone()
}

/// A string in brackets is an expression, whoever meant it so.
fn fill_in(value: &mut serde_json::Value, values: &serde_json::Value) {
    match value {
        serde_json::Value::String(text) if text.starts_with('[') => {
            let name = text.strip_prefix("[parameters('").and_then(|rest| rest.strip_suffix("')]"));
            let name = name.unwrap_or_else(|| panic!("{text} would be evaluated: write [[ for a bracket"));
            *value = values[name]["value"].clone();
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| fill_in(item, values)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|field| fill_in(field, values)),
        _ => {}
    }
}

#[test]
fn azure_client_accepts_every_rule_group_field() {
    let resources = deployed();
    assert_eq!(said_by_the_client(&resources), [""; 0]);
    assert_eq!(resources.len(), groups().count());

    for (field, value) in [
        ("/properties/rules/0/expression", json!(null)),
        ("/properties/rules/0/severity", json!("2")),
        ("/properties/rules/0/labels/tenant", json!(1)),
        ("/properties/scopes", json!(null)),
        ("/properties/interval", json!(60)),
    ] {
        let mut wrong =
            resources.iter().find(|group| group["name"] == "scoretap.alerts.calls").unwrap().clone();
        *wrong.pointer_mut(field).unwrap() = value;
        assert!(!said_by_the_client(&[wrong]).is_empty(), "{field}");
    }
    let mut misspelt = resources[0].clone();
    misspelt["properties"]["rules"][0]["expresion"] = "1".into();
    assert!(!said_by_the_client(&[misspelt]).is_empty());
}

fn said_by_the_client(resources: &[serde_json::Value]) -> Vec<String> {
    let mut checker = Command::new(tools::azure_alerts().unwrap());
    said(checker.arg(workspace::python_file("azure_rules.py")), &json!(resources))
}

/// From Azure's limits and the documentation of the resource.
#[test]
fn rule_groups_keep_within_what_azure_takes() {
    for resource in deployed() {
        let (name, properties) = (resource["name"].as_str().unwrap(), &resource["properties"]);
        assert!(!name.contains(|letter| ":@/#{}%&+*<>?".contains(letter)), "{name}");
        assert_eq!(properties["scopes"].as_array().unwrap().len(), 1, "{name}");
        let minutes =
            properties["interval"].as_str().and_then(|text| text.strip_prefix("PT")?.strip_suffix('M'));
        assert!(minutes.is_some_and(|minutes| (1..=15).contains(&minutes.parse().unwrap())), "{name}");
        let rules = properties["rules"].as_array().unwrap();
        assert!(rules.len() <= 20, "{name}: more than 20 rules; split the group in k8s/chart/files/rules");
        for rule in rules {
            for (field, most) in [("labels", 10), ("annotations", 20)] {
                let strings = rule[field].as_object().into_iter().flatten();
                let long = strings.clone().find(|(_, value)| value.as_str().unwrap().len() > 1024);
                assert!(long.is_none() && strings.count() <= most, "{name}: {rule}");
            }
            assert!(rule.get("alert").is_none() || rule["severity"].as_u64().unwrap() <= 4, "{name}: {rule}");
        }
    }
}

/// The queried series that Azure's minimal ingestion profile keeps by itself.
const KEPT: [&str; 8] = [
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas_available",
    "kube_pod_container_resource_limits",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_waiting_reason",
    "kube_pod_status_phase",
];

#[test]
fn azure_agent_keeps_every_queried_series() {
    let mut asked: Vec<String> = groups().flat_map(|group| group.rules).map(|rule| rule.expr).collect();
    asked.extend(dashboards::all().iter().map(ToString::to_string));
    let names =
        asked.iter().flat_map(|text| text.split(|letter: char| !letter.is_alphanumeric() && letter != '_'));
    let of_kubernetes = names.filter(|name| name.starts_with("kube_") || name.starts_with("container_"));
    let more: BTreeSet<&str> = of_kubernetes.filter(|name| !KEPT.contains(name)).collect();

    let settings = yaml("azure/settings.yaml");
    let list = settings["data"]["default-targets-metrics-keep-list"].as_str().unwrap();
    let line = list.lines().find_map(|line| line.strip_prefix("kubestate = \"")?.strip_suffix('"')).unwrap();
    assert_eq!(line.split('|').collect::<BTreeSet<_>>(), more);
}

fn yaml(file: &str) -> Value {
    serde_norway::from_str(&fs::read_to_string(k8s(file)).unwrap()).unwrap()
}

#[test]
fn annotated_pods_name_the_exporter() {
    let patch = yaml("azure/annotated.yaml");
    let annotations = &patch["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "15190");
    assert_eq!(annotations["prometheus.io/path"], "/metrics");
}

/// It holds what others set, too.
#[test]
fn the_agents_settings_are_not_deleted_as_ours() {
    assert_eq!(yaml("azure/settings.yaml")["metadata"].get("labels"), None);
}

/// As Azure documents them; the two codes are called numbers there and compared with strings.
fn tables(code: &str) -> serde_json::Value {
    let traffic = format!(
        "(TimeGenerated: datetime, AuthType: string, AzureMLWorkspaceId: string, AzureMLWorkspaceName: string, \
         DeploymentName: string, EndpointName: string, IdentityData: string, Location: string, Method: string, \
         ModelStatusCode: {code}, ModelStatusReason: string, OperationName: string, Path: string, Protocol: string, \
         RequestDurationMs: int, RequestPayloadSize: int, RequestThrottlingDelayMs: int, ResponseCode: {code}, \
         ResponseCodeReason: string, ResponseDurationMs: int, ResponsePayloadSize: int, \
         ResponseThrottlingDelayMs: int, TotalDurationMs: int, UserAgent: string, XMSClientRequestId: string, \
         XRequestId: string)"
    );
    let console = "(TimeGenerated: datetime, OperationName: string, InstanceId: string, DeploymentName: string, \
                   ContainerName: string, Message: string)";
    json!({"AmlOnlineEndpointTrafficLog": traffic, "AmlOnlineEndpointConsoleLog": console})
}

/// Each by its first comment line. They are told apart by empty lines, as in the portal.
fn queries() -> Vec<(String, String)> {
    let text = fs::read_to_string(k8s("azure/endpoints.kql")).unwrap();
    let paragraphs = text.split("\n\n").map(str::trim);
    let queries = paragraphs.filter(|text| text.lines().any(|line| !line.starts_with("//")));
    queries.map(|text| (text.lines().next().unwrap().to_owned(), text.to_owned())).collect()
}

fn said_by_kusto(queries: &[(String, String)], code: &str) -> Vec<String> {
    let (name, function) = self::queries().remove(0);
    assert!(name.starts_with("// ScoretapCalls: "));
    let cases: Vec<_> = queries.iter().map(|(title, text)| json!({"title": title, "text": text})).collect();
    let cases = json!({"tables": tables(code), "functions": {"ScoretapCalls": function}, "queries": cases});
    let mut checker = Command::new("node");
    checker.arg(workspace::root().join("tests/node/kusto.mjs")).arg(tools::kusto().unwrap());
    said(&mut checker, &cases)
}

#[test]
fn kusto_parser_resolves_every_query_and_column() {
    let queries = queries();
    assert_eq!(queries.len(), 9);
    for code in ["int", "string"] {
        assert_eq!(said_by_kusto(&queries, code), [""; 0], "{code}");
    }
    for wrong in
        ["ScoretapCalls | where Nonsense == 1", "ScoretapCalls | summarise count()", "Nothing | take 1"]
    {
        assert!(!said_by_kusto(&[("wrong".to_owned(), wrong.to_owned())], "int").is_empty(), "{wrong}");
    }
}

/// The filter's own code judges the container's answer here.
#[test]
fn azure_queries_name_outcomes_as_filter_does() {
    let (_, function) = queries().remove(0);
    let cases: Vec<_> = function.lines().filter_map(|line| line.trim().strip_prefix("Code ")).collect();
    for code in 100..600 {
        let name = cases.iter().find_map(|case| error_type(case, code)).unwrap_or("model_error");
        let ending = Ending { code, details: Some(b"via_upstream"), grpc: None };
        let outcome = ending.outcome(&Overrides::default(), || 0);
        assert_eq!(name, outcome.error_type().unwrap_or_default(), "{code}");
    }
}

/// The result of a case of the function for this code; `None` if the case does not apply.
fn error_type(case: &str, code: u16) -> Option<&str> {
    let (condition, rest) = case.split_once(", \"")?;
    let numbers =
        condition.split(|letter: char| !letter.is_ascii_digit()).filter(|number| !number.is_empty());
    let numbers: Vec<u16> = numbers.map(|number| number.parse().unwrap()).collect();
    let fits = if condition.starts_with("between") {
        (numbers[0]..=numbers[1]).contains(&code)
    } else {
        numbers.contains(&code)
    };
    (fits && !condition.contains("not(FromModel)")).then(|| rest.split_once('"').unwrap().0)
}

/// The faults that a checker reports for a case.
fn said(checker: &mut Command, case: &serde_json::Value) -> Vec<String> {
    let mut child = checker.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(case.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{checker:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
