//! What a tenant writes, and the names that the sidecar uses in a pod.

/// `"true"` asks for the sidecar on a pod, and for its port on a Service.
pub const INJECT: &str = "scoretap.dev/inject";
/// The model of calls that name none.
pub const MODEL_NAME: &str = "scoretap.dev/model-name";
/// Its version.
pub const MODEL_VERSION: &str = "scoretap.dev/model-version";
/// The port of the app: a number, or the name that a container declares.
pub const APP_PORT: &str = "scoretap.dev/app-port";
/// The filter's configuration, JSON.
pub const CONFIG: &str = "scoretap.dev/config";

/// `"false"` leaves an app without a `preStop` hook as it is.
pub const PRE_STOP: &str = "scoretap.dev/pre-stop";

/// On a Service that was led to the sidecar: where its port led before. Ours, not the tenant's.
pub const TARGET_PORT: &str = "scoretap.dev/target-port";

/// The port on which Envoy takes calls for the app.
pub const HTTP_PORT_NAME: &str = "scoretap-http";
/// The port of the metrics.
pub const METRICS_PORT_NAME: &str = "scoretap-stats";
/// Their numbers.
pub const PORTS: [u64; 2] = [15_100, 15_190];

/// The label of pods that have been injected.
pub const INJECTED: &str = "scoretap.dev/injected";
/// The containers that the sidecar consists of.
pub const CONTAINERS: [&str; 3] = ["scoretap-setup", "scoretap-envoy", "scoretap-exporter"];
/// The volume that they share.
pub const VOLUME: &str = "scoretap";

/// Containers that others inject, sometimes in front of the app's.
pub const NEVER_THE_APP: [&str; 2] = ["istio-proxy", "linkerd-proxy"];

/// How names of ports begin behind which the app speaks TLS itself.
pub const TLS: [&str; 2] = ["https", "tls"];

/// A port with one of these words in its name, between hyphens, is none for calls.
pub const NOT_FOR_CALLS: [&str; 6] = ["metrics", "prometheus", "admin", "management", "health", "debug"];
