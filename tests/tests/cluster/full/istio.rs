//! istiod pushes the chart's objects to a real Envoy, and every call is counted once.
//!
//! The pod has a stock Envoy without pilot-agent, so Envoy loads the module from a file.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::LazyLock;

use scoretap_tests::child::Child;
use scoretap_tests::cluster::{Cluster, Image, NODE, Version};
use scoretap_tests::http::Call;
use scoretap_tests::tools::{self, EnvoyVersion};
use scoretap_tests::wait::{STARTUP, wait_until};
use scoretap_tests::{ports, rendered, workspace};
use serde_json::{Value, json};

use crate::support::DEADLINE;

/// The port of Istio's Envoy, in front of the app at 8080.
const PORT: u16 = 9080;
/// The path of the module in the filter's image.
const MODULE: &str = "/etc/scoretap/plugin.wasm";
/// The paths of both modules in the exporter's image.
const MODULES: [&str; 2] = ["/etc/scoretap/scoretap.wasm", "/etc/scoretap/scoretap-insight.wasm"];

struct Mesh {
    cluster: Cluster,
    /// The port where istiod serves Envoys.
    port: u16,
    _istiod: Child,
}

static MESH: LazyLock<Mesh> = LazyLock::new(|| {
    let cluster = Cluster::alone("istio", Version::V1_37);
    let definitions =
        tools::cluster_sources("istiod").unwrap().join("manifests/charts/base/files/crd-all.gen.yaml");
    cluster.kubectl(&["create", "-f", definitions.to_str().unwrap()]).unwrap();
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
    cluster.kubectl(&["create", "namespace", "istio-system"]).unwrap();
    let envoy = Image::of(&tools::envoy(EnvoyVersion::Newest).unwrap()).file(&workspace::module(), MODULE);
    let envoy = envoy.file(&workspace::module(), MODULES[0]).file(&workspace::insight_module(), MODULES[1]);
    cluster.image("proxy", envoy);
    let port = ports::free();
    let istiod = start_istiod(&cluster, port);
    Mesh { cluster, port, _istiod: istiod }
});

fn start_istiod(cluster: &Cluster, port: u16) -> Child {
    let mesh = cluster.folder("istiod").unwrap().join("mesh.yaml");
    fs::write(&mesh, "rootNamespace: istio-system\n").unwrap();
    let mut command = Command::new(tools::cluster_program("pilot-discovery").unwrap());
    let variables = [
        ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
        ("POD_NAMESPACE", "istio-system"),
        ("POD_NAME", "istiod"),
        ("CLUSTER_ID", "Kubernetes"),
        ("ENABLE_CA_SERVER", "false"),
        ("PILOT_CERT_PROVIDER", "none"),
        ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
        ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
    ];
    command.envs(variables).arg("discovery").arg("--kubeconfig").arg(cluster.kubeconfig());
    command.arg("--meshConfig").arg(&mesh).arg(format!("--grpcAddr={NODE}:{port}"));
    command.arg(format!("--httpAddr=127.0.0.1:{}", ports::free()));
    command.arg(format!("--monitoringAddr=127.0.0.1:{}", ports::free()));
    command.args(["--secureGRPCAddr=", "--httpsAddr=", "--ctrlz_port=0"]);
    let mut istiod = cluster.spawn("istiod", command).unwrap();
    istiod.wait_ready(STARTUP, || TcpListener::bind((NODE, port)).is_err()).unwrap();
    istiod
}

/// The bootstrap that pilot-agent would write for this pod.
fn bootstrap(namespace: &str, labels: &Value, port: u16) -> Value {
    let ads = json!({"ads": {}, "resource_api_version": "V3"});
    let protocol = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "node": {
            "id": format!("sidecar~POD_IP~app.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("app.{namespace}"),
            "metadata": {
                "CLUSTER_ID": "Kubernetes", "NAMESPACE": namespace, "NAME": "app", "LABELS": labels,
                "INTERCEPTION_MODE": "NONE", "INSTANCE_IPS": "POD_IP", "ISTIO_VERSION": "1.30.0",
            },
        },
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
        "dynamic_resources": {
            "lds_config": ads, "cds_config": ads,
            "ads_config": {
                "api_type": "GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "istiod"}}],
            },
        },
        "static_resources": {"clusters": [{
            "name": "istiod", "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": protocol, "explicit_http_config": {"http2_protocol_options": {}},
            }},
            "load_assignment": {"cluster_name": "istiod", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
                "socket_address": {"address": NODE.to_string(), "port_value": port},
            }}}]}]},
        }]},
    })
}

/// The pod `app` with Istio's Envoy and the exporter, its Service `app`, and objects that let a stock Envoy accept
/// calls.
fn objects(namespace: &str, measured: &str, port: u16) -> Value {
    let labels = json!({"app": "app", "scoretap.dev/measured": measured});
    let bootstrap = bootstrap(namespace, &labels, port).to_string();
    let start = "sed s/POD_IP/$POD_IP/g /config/envoy.json > /tmp/envoy.json; exec envoy -c /tmp/envoy.json";
    let exporter_args = ["--web.listen-address", ":15190", "--envoy.admin", "http://127.0.0.1:15000"];
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"name": "default"},
            "spec": {
                "ingress": [{
                    "port": {"number": PORT, "protocol": "HTTP", "name": "http"},
                    "defaultEndpoint": "127.0.0.1:8080", "captureMode": "NONE",
                }],
                "egress": [{"hosts": ["~/*"]}],
            },
        },
        {
            "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "default"},
            "spec": {"mtls": {"mode": "DISABLE"}},
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "envoy"}, "data": {"envoy.json": bootstrap}},
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "app"},
            "spec": {"selector": {"app": "app"}, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]},
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "labels": labels},
            "spec": {
                "containers": [
                    {"name": "app", "image": "app"},
                    {
                        "name": "istio-proxy", "image": "proxy", "command": ["sh", "-c", start],
                        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
                        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                    },
                    {"name": "exporter", "image": "scoretap-exporter", "args": exporter_args},
                ],
                "volumes": [{"name": "config", "configMap": {"name": "envoy"}}],
            },
        },
    ]})
}

/// The calls that the pod's exporter reports.
fn counted(namespace: &str) -> f64 {
    sum(namespace, "prediction_requests_total{")
}

/// The sum of the exporter's samples that begin so.
fn sum(namespace: &str, beginning: &str) -> f64 {
    let path = format!("/api/v1/namespaces/{namespace}/pods/app:15190/proxy/metrics");
    let text = MESH.cluster.kubectl(&["get", "--raw", &path]).unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with(beginning));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// Installs these objects beside a pod with this label, and compares the number of calls with the counter. Returns the
/// pod's namespace.
#[track_caller]
fn assert_counted_once(prefix: &str, measured: &str, ours: &[Value]) -> String {
    let mesh = &*MESH;
    let namespace = mesh.cluster.namespace(prefix);
    let mut list = objects(&namespace, measured, mesh.port);
    list["items"].as_array_mut().unwrap().splice(
        0..0,
        ours.iter().cloned().map(|mut object| {
            object["metadata"]["namespace"] = json!(namespace);
            object
        }),
    );
    mesh.cluster.kubectl_stdin(&["apply", "-n", &namespace, "-f", "-"], &list.to_string()).unwrap();
    mesh.cluster
        .kubectl(&["wait", "pod/app", "--for=condition=Ready", "--timeout=120s", "-n", &namespace])
        .unwrap();
    let backend =
        || mesh.cluster.backends(&namespace, "app").iter().any(|backend| backend.socket().is_some());
    wait_until("the Service has its backend", DEADLINE, backend);
    let call = || mesh.cluster.call(&namespace, "app", Call::post("/score", "{}"));
    wait_until("the filter counts", DEADLINE, || {
        call().is_ok_and(|answer| answer.status == 200) && counted(&namespace) > 0.0
    });
    let before = counted(&namespace);
    for _ in 0..20 {
        assert_eq!(call().unwrap().status, 200);
    }
    wait_until("all calls are counted", DEADLINE, || counted(&namespace) >= before + 20.0);
    assert_eq!(counted(&namespace), before + 20.0);
    namespace
}

/// An object of the chart, changed to load the module from the file.
fn from_file(case: &str, kind: &str, module: &str) -> Value {
    let mut object = rendered::object(case, kind, "scoretap").unwrap();
    let url = object.pointer_mut(module).unwrap();
    assert!(url.as_str().unwrap().starts_with("oci://"), "{url}");
    *url = json!(format!("file://{MODULE}"));
    object
}

#[test]
fn traffic_extension_counts_calls_once() {
    assert_counted_once("extension", "true", &[from_file("istio", "TrafficExtension", "/spec/wasm/url")]);
}

#[test]
fn wasm_plugin_counts_calls_once() {
    assert_counted_once("plugin", "true", &[from_file("istio-wasm-plugin", "WasmPlugin", "/spec/url")]);
}

#[test]
fn envoy_filter_counts_calls_once() {
    let filter = rendered::object("istio-envoy-filter", "EnvoyFilter", "scoretap").unwrap();
    assert_counted_once("filter", "access-log", &[filter]);
}

#[test]
fn insight_filter_reads_each_call() {
    let filter = rendered::object("istio-envoy-filter", "EnvoyFilter", "scoretap-insight").unwrap();
    let namespace = assert_counted_once("insight", "insight", &[filter]);
    assert_eq!(sum(&namespace, "scoretap_insight_calls_seen_total"), counted(&namespace));
}
