//! Istio's objects on real Envoys, without istiod: the functions at the end merge an EnvoyFilter and make a filter of a
//! WasmPlugin, as istiod's sources do.

mod patches;

use std::fs;

use scoretap_tests::exposition::Exposition;
use scoretap_tests::http::Call;
use scoretap_tests::stack::{Stack, StackBuilder};
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{rendered, workspace};
use serde_json::{Value, json};

const ROW: &str = r#"{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}"#;
const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const STATISTICS: &str = "proxy.istio.io/config";
const INBOUND: &str = include_str!("istio/inbound.yaml");
/// Patches for Deployments.
const MEASURED: [&str; 3] = ["measured.yaml", "measured-as-logger.yaml", "measured-with-insight.yaml"];

fn read(file: &str) -> Value {
    serde_norway::from_str(&fs::read_to_string(workspace::root().join(file)).unwrap()).unwrap()
}

/// A file of the ConfigMap `scoretap-istio`.
fn istio(file: &str) -> Value {
    serde_norway::from_str(&rendered::file("istio", "scoretap-istio", file).unwrap()).unwrap()
}

fn traffic_extension() -> Value {
    rendered::object("istio", "TrafficExtension", "scoretap").unwrap()
}

fn wasm_plugin() -> Value {
    rendered::object("istio-wasm-plugin", "WasmPlugin", "scoretap").unwrap()
}

fn envoy_filter() -> Value {
    rendered::object("istio-envoy-filter", "EnvoyFilter", "scoretap").unwrap()
}

fn insight_filter() -> Value {
    rendered::object("istio-envoy-filter", "EnvoyFilter", "scoretap-insight").unwrap()
}

/// The text that Istio renders for each pod.
fn template() -> String {
    let values = istio("istiod-values.yaml");
    values["sidecarInjectorWebhook"]["templates"]["scoretap"].as_str().unwrap().to_owned()
}

/// The effect of a patch on a Deployment's pods.
fn measured(file: &str) -> Value {
    istio(file)["spec"]["template"]["metadata"].take()
}

/// The effect on a waypoint's pods.
fn waypoint() -> Value {
    let deployment = rendered::file("istio", "scoretap-waypoint", "deployment").unwrap();
    let deployment: Value = serde_norway::from_str(&deployment).unwrap();
    deployment["spec"]["template"].clone()
}

fn exporter() -> Value {
    crate::injected::injected()["spec"]["initContainers"][2].take()
}

/// Two containers without what has to differ: what each templating language fills in, and the way to Envoy.
#[track_caller]
fn assert_same_exporter(mut theirs: Value) {
    let mut ours = exporter();
    for field in ["image", "args", "volumeMounts", "env", "resources"] {
        ours.as_object_mut().unwrap().remove(field);
        theirs.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(theirs, ours);
}

#[test]
fn istio_pods_get_the_sidecars_exporter() {
    let template: Value = serde_norway::from_str(&template()).unwrap();
    assert_eq!(template["metadata"]["labels"]["scoretap.dev/injected"], "true", "monitors select by it");
    let container = template["spec"]["initContainers"][0].clone();
    assert_eq!(
        container["args"],
        json!(["--web.listen-address", ":15190", "--envoy.admin", "http://127.0.0.1:15000"])
    );
    assert_same_exporter(container);

    let waypoint = waypoint();
    assert_eq!(waypoint["metadata"]["labels"]["scoretap.dev/injected"], "true");
    assert_same_exporter(waypoint["spec"]["initContainers"][0].clone());
}

#[test]
fn exporter_port_bypasses_envoy_under_strict_mtls() {
    let port = &exporter()["ports"][0]["containerPort"];
    for file in MEASURED {
        let annotations = &measured(file)["annotations"];
        assert_eq!(annotations["traffic.sidecar.istio.io/excludeInboundPorts"], port.to_string(), "{file}");
        let templates = annotations["inject.istio.io/templates"].as_str().unwrap();
        assert_eq!(templates, "sidecar,scoretap", "{file}: the one of istiod-values.yaml, after Istio's own");
    }
}

/// One label decides how the module is loaded, so a pod loads it once.
#[test]
fn objects_select_only_pods_of_their_patch() {
    let labels = MEASURED.map(|file| measured(file)["labels"].take());
    assert!(labels[0] != labels[1] && labels[1] != labels[2] && labels[2] != labels[0]);
    for (object, selector, own) in [
        (traffic_extension(), "/spec/selector/matchLabels", 0),
        (wasm_plugin(), "/spec/selector/matchLabels", 0),
        (envoy_filter(), "/spec/workloadSelector/labels", 1),
        (insight_filter(), "/spec/workloadSelector/labels", 2),
    ] {
        assert_eq!(object.pointer(selector).unwrap(), &labels[own], "{object}");
    }
}

#[test]
fn envoy_filter_logger_equals_the_sidecars_logger() {
    let mut ours = read("envoy/sidecar.yaml")
        .pointer("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/access_log/0")
        .unwrap()
        .clone();
    let mut theirs = logger(&envoy_filter()).clone();
    let file = module(&mut theirs).take();
    module(&mut ours).take();
    assert_eq!(theirs, ours);

    let (image, folder) = mounted("measured-as-logger.yaml");
    let plugin = wasm_plugin();
    assert_eq!(plugin["spec"]["url"], format!("oci://{image}"));
    // The last layer of the image.
    assert_eq!(file, format!("{folder}/plugin.wasm"));
}

/// The image that a patch mounts into Istio's Envoy, and where.
fn mounted(patch: &str) -> (String, String) {
    let annotations = measured(patch)["annotations"].take();
    let parsed = |name: &str| -> Value {
        serde_json::from_str(annotations[format!("sidecar.istio.io/{name}")].as_str().unwrap()).unwrap()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (volume, mount) = (parsed("userVolume"), parsed("userVolumeMount"));
    (text(&volume["scoretap"]["image"]["reference"]), text(&mount["scoretap"]["mountPath"]))
}

#[test]
fn insight_modules_equal_those_of_the_example() {
    let example = read("envoy/insight.yaml");
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let manager = example.pointer(manager).unwrap();
    let mut ours = [manager["access_log"][0].clone(), manager["http_filters"][0].clone()];
    ours.iter_mut().for_each(|entry| drop(module(entry).take()));
    let filter = insight_filter();
    let patch = &filter["spec"]["configPatches"][1]["patch"];
    let mut theirs = [logger(&filter).clone(), patch["value"].clone()];
    let files = theirs.each_mut().map(|entry| module(entry).take());
    assert_eq!(theirs, ours);

    let (image, folder) = mounted("measured-with-insight.yaml");
    let exporter: Value = serde_norway::from_str(&template()).unwrap();
    assert_eq!(exporter["spec"]["initContainers"][0]["image"], image);
    assert_eq!(files, ["scoretap.wasm", "scoretap-insight.wasm"].map(|file| format!("{folder}/{file}")));
}

/// The object for Istio 1.30 and the one for older releases.
#[test]
fn traffic_extension_equals_wasm_plugin_in_content() {
    let old = wasm_plugin()["spec"].take();
    let mut new = traffic_extension()["spec"].take();
    let wasm = new.as_object_mut().unwrap().remove("wasm").unwrap();
    new.as_object_mut().unwrap().extend(wasm.as_object().unwrap().clone());
    assert_eq!(old, new);
    // Any other strategy denies all traffic when the filter cannot be fetched.
    assert_eq!(old["failStrategy"], "FAIL_OPEN");
}

#[test]
fn envoy_filter_counts_calls_beside_istios_access_log() {
    let filter = envoy_filter();
    for version in EnvoyVersion::ALL {
        let name = format!("istio-envoy-filter-{}", version.as_str());
        let filter = filter.clone();
        let stack = sidecar(&name, true, move |manager| {
            apply(&filter, manager);
            assert_eq!(manager["access_log"].as_array().unwrap().len(), 2, "Istio's own is lost");
            *module(&mut manager["access_log"][1]) = workspace::module().display().to_string().into();
        });
        check_counts(&stack.envoy(version).start().unwrap());
    }
}

#[test]
fn envoy_filter_with_insight_reads_bodies() {
    let filter = insight_filter();
    for version in EnvoyVersion::ALL {
        let filter = filter.clone();
        let stack = sidecar(&format!("istio-insight-{}", version.as_str()), true, move |manager| {
            apply(&filter, manager);
            *module(&mut manager["access_log"][1]) = workspace::module().display().to_string().into();
            *module(&mut manager["http_filters"][0]) =
                workspace::insight_module().display().to_string().into();
        });
        let stack = stack.envoy(version).start().unwrap();
        check_counts(&stack);
        let metrics = stack.metrics();
        assert_eq!(metrics.sum("scoretap_insight_calls_seen_total", &[]), 12.0);
        assert_eq!(metrics.sum("prediction_rows_sum", &[("route", "score")]), 10.0);
    }
}

#[test]
fn plugin_as_http_filter_counts_each_call() {
    for (way, plugin) in [("traffic-extension", traffic_extension()), ("wasm-plugin", wasm_plugin())] {
        let stack = sidecar(&format!("istio-{way}"), true, move |manager| install(&plugin, manager));
        check_counts(&stack.start().unwrap());
    }
}

#[test]
fn waypoint_exporter_finds_clusters_of_services() {
    let plugin = rendered::object("istio", "TrafficExtension", "scoretap-waypoint").unwrap();
    let (pod, inbound) = (
        waypoint(),
        INBOUND.replace("inbound|8080||", "inbound-vip|80|http|scorer.tenant-a.svc.cluster.local"),
    );
    let args = pod["spec"]["initContainers"][0]["args"].as_array().unwrap();
    let args: Vec<_> = args.iter().map(|arg| arg.as_str().unwrap()).collect();
    assert_eq!(args[..4], ["--web.listen-address", ":15190", "--envoy.admin", "http://127.0.0.1:15000"]);
    let stack = proxy("istio-waypoint", &inbound, Some(&pod["metadata"]), move |manager| {
        install(&plugin, manager);
    });
    check_counts(&stack.exporter_args(&args[4..]).start().unwrap());
}

#[test]
fn plugin_configuration_reaches_the_module() {
    let config = json!({"routes": [{"name": "mine", "method": "POST", "path": "/score"}]});
    let plugin = traffic_extension();
    let stack = sidecar("istio-plugin-config", false, move |manager| {
        manager["http_filters"].as_array_mut().unwrap().insert(0, http_filter(&plugin, &config));
    });
    let stack = stack.start().unwrap();
    assert_eq!(stack.call(Call::post("/score", ROW)).unwrap().status, 200);
    wait_until("the call is counted", STARTUP, || requests(&stack.metrics(), "mine") == 1.0);
}

/// Without the annotation, Istio keeps our counters but none of Envoy's own statistics.
#[test]
fn missing_annotation_only_hides_envoys_own_counts() {
    let filter = envoy_filter();
    let stack = sidecar("istio-default-statistics", false, move |manager| {
        apply(&filter, manager);
        *module(&mut manager["access_log"][1]) = workspace::module().display().to_string().into();
    });
    let stack = stack.start().unwrap();
    assert_eq!(stack.call(Call::post("/score", ROW)).unwrap().status, 200);
    wait_until("the call is counted", STARTUP, || requests(&stack.metrics(), "score") == 1.0);
    let metrics = stack.scrape("text/plain; version=0.0.4").1;
    for missing in ["scoretap_envoy_requests_total", "prediction_requests_in_flight"] {
        assert!(!metrics.contains(&format!("\n{missing}")), "{metrics}");
    }
}

/// Therefore one patch adds both the label and the volume.
#[test]
fn envoy_rejects_a_listener_without_its_module() {
    let filter = envoy_filter();
    let stack = sidecar("istio-no-module", false, move |manager| {
        apply(&filter, manager);
        *module(&mut manager["access_log"][1]) = "/nowhere/plugin.wasm".into();
    });
    let error = format!("{:#}", stack.start().unwrap_err());
    assert!(error.contains("/nowhere/plugin.wasm"), "{error}");
}

fn requests(metrics: &Exposition, route: &str) -> f64 {
    metrics.sum("prediction_requests_total", &[("route", route)])
}

/// Ten calls that succeed, two that the app refuses, three that are no inference: each is counted, by both counters.
#[track_caller]
fn check_counts(stack: &Stack) {
    for (count, call, status) in [
        (10, Call::post("/score", ROW), 200),
        (2, Call::post("/score", "no JSON"), 400),
        (3, Call::get("/health"), 200),
    ] {
        for _ in 0..count {
            assert_eq!(stack.call(call.clone()).unwrap().status, status);
        }
    }
    let all = |metrics: &Exposition| metrics.sum("scoretap_calls_seen_total", &[]) == 15.0;
    wait_until("each call is seen", STARTUP, || all(&stack.metrics()));
    let metrics = stack.metrics();
    let sum = |status| metrics.sum("prediction_requests_total", &[("route", "score"), ("status", status)]);
    assert_eq!([sum("success"), sum("failure")], [10.0, 2.0], "{}", stack.diagnosis());
    assert_eq!(metrics.sum("scoretap_calls_seen_total", &[("result", "unmatched")]), 3.0);
    assert_eq!(metrics.sum("scoretap_config_valid", &[]), 1.0);
    assert_eq!(metrics.sum("scoretap_envoy_requests_total", &[]), 15.0);
    let page = stack.scrape("text/plain; version=0.0.4").1;
    assert!(page.contains("\nprediction_requests_in_flight 0\n"), "{page}");
}

/// A sidecar as Istio sets one up, with something done to the connection manager of its inbound listener. Its exporter
/// has no flags but where Envoy's admin interface is.
fn sidecar(name: &str, annotated: bool, patch: impl FnOnce(&mut Value) + 'static) -> StackBuilder {
    let [as_filter, others @ ..] = MEASURED.map(measured);
    for other in others {
        assert_eq!(as_filter["annotations"][STATISTICS], other["annotations"][STATISTICS]);
    }
    proxy(name, INBOUND, annotated.then_some(&as_filter), patch)
}

/// The same of any proxy of Istio's. What a pod's metadata say of statistics is added to those that Istio keeps.
fn proxy(
    name: &str,
    inbound: &str,
    metadata: Option<&Value>,
    patch: impl FnOnce(&mut Value) + 'static,
) -> StackBuilder {
    let mut inbound: Value = serde_norway::from_str(inbound).unwrap();
    if let Some(metadata) = metadata {
        let config = metadata["annotations"][STATISTICS].as_str().unwrap();
        let config: Value = serde_norway::from_str(config).unwrap();
        let patterns = inbound.pointer_mut("/stats_config/stats_matcher/inclusion_list/patterns").unwrap();
        for regex in config["proxyStatsMatcher"]["inclusionRegexps"].as_array().unwrap() {
            patterns.as_array_mut().unwrap().push(json!({"safe_regex": {"regex": regex}}));
        }
    }
    let (cluster, stats, mut listener) =
        (inbound["cluster"].take(), inbound["stats_config"].take(), inbound["listener"].take());
    patch(listener.pointer_mut("/filter_chains/0/filters/0/typed_config").unwrap());
    Stack::builder(name)
        .edit_cluster(move |bootstrap| {
            *bootstrap.cluster() = cluster;
            bootstrap.at("")["stats_config"] = stats;
        })
        .edit_listener(move |bootstrap| *bootstrap.listener() = listener)
}

/// The access logger that an EnvoyFilter brings.
fn logger(filter: &Value) -> &Value {
    &filter["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["access_log"][0]
}

/// Where a logger or a filter has its module.
fn module(entry: &mut Value) -> &mut Value {
    entry.pointer_mut("/typed_config/config/vm_config/code/local/filename").unwrap()
}

/// As istiod applies patches to a network filter that they match, here a connection manager, and to its HTTP filters.
fn apply(filter: &Value, manager: &mut Value) {
    for patch in filter["spec"]["configPatches"].as_array().unwrap() {
        assert_eq!(patch["match"]["context"], "SIDECAR_INBOUND");
        assert_eq!(patch["match"]["listener"]["filterChain"]["filter"]["name"], MANAGER);
        let value = &patch["patch"]["value"];
        match (patch["applyTo"].as_str().unwrap(), patch["patch"]["operation"].as_str().unwrap()) {
            ("NETWORK_FILTER", "MERGE") => merge(manager, &value["typed_config"]),
            ("HTTP_FILTER", "INSERT_FIRST") => {
                manager["http_filters"].as_array_mut().unwrap().insert(0, value.clone());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Protobuf's merge: messages field by field, lists by appending, all else by replacing.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend_from_slice(from),
        (into, from) => *into = from.clone(),
    }
}

/// Phase STATS: after Istio's own filters, before the router.
fn install(plugin: &Value, manager: &mut Value) {
    assert_eq!(plugin["spec"]["phase"], "STATS");
    let filters = manager["http_filters"].as_array_mut().unwrap();
    filters.insert(filters.len() - 1, http_filter(plugin, &json!({})));
}

/// As istiod makes a filter of a TrafficExtension or WasmPlugin, with the file that its agent has fetched.
fn http_filter(plugin: &Value, config: &Value) -> Value {
    let spec = &plugin["spec"];
    let wasm = spec.get("wasm").unwrap_or(spec);
    assert_eq!(wasm["pluginConfig"], json!({}), "the shipped configuration is the default");
    let name = format!("istio-system.{}", plugin["metadata"]["name"].as_str().unwrap());
    let variables = json!({
        "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1",
        "ISTIO_META_WASM_IMAGE_PULL_POLICY": wasm["imagePullPolicy"],
    });
    let mut made = json!({
        "name": name,
        "root_id": wasm["pluginName"],
        "failure_policy": wasm["failStrategy"],
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": workspace::module()}},
            "environment_variables": {"key_values": variables},
        },
    });
    // A configuration without fields is none.
    if config != &json!({}) {
        made["configuration"] =
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config.to_string()});
    }
    let kind = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    json!({"name": name, "typed_config": {"@type": kind, "config": made}})
}
