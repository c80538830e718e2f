//! Names in the contract: the annotations that a tenant writes, and the names that the sidecar uses in a pod.

/// `"true"` asks for the sidecar.
pub const INJECT: &str = "scoretap.dev/inject";
/// The model of calls that do not name one.
pub const MODEL_NAME: &str = "scoretap.dev/model-name";
/// The version of that model.
pub const MODEL_VERSION: &str = "scoretap.dev/model-version";
/// The app's port: its number, or the name that a container declares.
pub const APP_PORT: &str = "scoretap.dev/app-port";
/// The filter's configuration, JSON.
pub const CONFIG: &str = "scoretap.dev/config";
/// `"true"` adds the second module, which reads bodies.
pub const INSIGHT: &str = "scoretap.dev/insight";
/// How many calls in a hundred that module reads. A change takes effect in running pods.
pub const INSIGHT_PERCENT: &str = "scoretap.dev/insight-percent";
/// The dialects that the exporter serves: names of built-in ones, separated by commas.
pub const DIALECT: &str = "scoretap.dev/dialect";
/// The ConfigMap in the pod's namespace with a dialect of the tenant's own, under the key `dialect.yaml`.
pub const DIALECT_CONFIG: &str = "scoretap.dev/dialect-config";
/// The ConfigMap in the pod's namespace with a baseline of predictions, under the key `baseline.yaml`.
pub const BASELINE_CONFIG: &str = "scoretap.dev/baseline-config";
/// `"false"` adds no `preStop` hook to the app.
pub const PRE_STOP: &str = "scoretap.dev/pre-stop";
/// Moves the app to [`MOVED_APP`], and Envoy to the app's number: `env PORT` or `arg --port`.
pub const MOVE_APP: &str = "scoretap.dev/move-app";
/// CPU that each container of the sidecar requests.
pub const CPU_REQUEST: &str = "scoretap.dev/cpu-request";
/// CPU limit of each container of the sidecar, or `none`.
pub const CPU_LIMIT: &str = "scoretap.dev/cpu-limit";
/// Memory that each container of the sidecar requests.
pub const MEMORY_REQUEST: &str = "scoretap.dev/memory-request";
/// Memory limit of each container of the sidecar, or `none`.
pub const MEMORY_LIMIT: &str = "scoretap.dev/memory-limit";
/// All annotations that a tenant writes.
pub const ALL: [&str; 16] = [
    INJECT,
    MODEL_NAME,
    MODEL_VERSION,
    APP_PORT,
    CONFIG,
    INSIGHT,
    INSIGHT_PERCENT,
    DIALECT,
    DIALECT_CONFIG,
    BASELINE_CONFIG,
    PRE_STOP,
    MOVE_APP,
    CPU_REQUEST,
    CPU_LIMIT,
    MEMORY_REQUEST,
    MEMORY_LIMIT,
];

/// The port on which Envoy listens, unless the app moved.
pub const ENVOY: u16 = 15_100;
/// The port on which a moved app listens.
pub const MOVED_APP: u16 = 15_110;
/// The port on which the exporter listens.
pub const EXPORTER: u16 = 15_190;
/// The sidecar's port numbers. No container of the pod may use them.
pub const PORTS: [u16; 3] = [ENVOY, MOVED_APP, EXPORTER];

/// The name of the port on which the app itself listens in an injected pod.
pub const APP_PORT_NAME: &str = "scoretap-app";
/// The name of the exporter's port.
pub const STATS_PORT_NAME: &str = "scoretap-stats";
/// The sidecar's port names. A port name has at most 15 characters.
pub const PORT_NAMES: [&str; 2] = [APP_PORT_NAME, STATS_PORT_NAME];

/// The label of injected pods.
pub const INJECTED: &str = "scoretap.dev/injected";
/// The sidecar's containers.
pub const CONTAINERS: [&str; 3] = ["scoretap-setup", "scoretap-envoy", "scoretap-exporter"];
/// The sidecar's volumes: the folder that its containers share, the empty one that hides the token, annotations as files,
/// and the tenant's dialect and baseline.
pub const VOLUMES: [&str; 5] =
    ["scoretap", "scoretap-no-token", "scoretap-pod", "scoretap-dialect", "scoretap-baseline"];

/// Containers that other injectors add, sometimes before the app's container.
pub const NEVER_THE_APP: [&str; 3] = ["istio-proxy", "linkerd-proxy", QUEUE_PROXY];
/// Knative's proxy, which calls the app on loopback.
pub const QUEUE_PROXY: &str = "queue-proxy";

/// Prefixes of port names for TLS that the app itself terminates.
pub const TLS: [&str; 2] = ["https", "tls"];

/// Words in names of ports that take no model calls. Hyphens separate words.
pub const NOT_FOR_CALLS: [&str; 6] = ["metrics", "prometheus", "admin", "management", "health", "debug"];
