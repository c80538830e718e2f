//! The tables that map names of metrics, labels and values. Nothing here decides; [`super::measure`] and
//! [`super::labels`] read it.

use scoretap_dialect::Dimension;

/// Metrics of other exporters, by how their names begin. A name without a final `_` is the whole name.
pub(super) const OTHERS: [(&str, &str); 62] = [
    ("up", "Prometheus itself"),
    ("ALERTS", "Prometheus itself"),
    ("ALERTS_FOR_STATE", "Prometheus itself"),
    ("scrape_", "Prometheus itself"),
    ("prometheus_", "Prometheus itself"),
    ("alertmanager_", "Alertmanager"),
    ("node_", "node_exporter"),
    ("windows_", "windows_exporter"),
    ("kube_", "kube-state-metrics"),
    ("kubelet_", "the kubelet"),
    ("container_", "cAdvisor"),
    ("machine_", "cAdvisor"),
    ("cadvisor_", "cAdvisor"),
    ("apiserver_", "the API server"),
    ("etcd_", "etcd"),
    ("coredns_", "CoreDNS"),
    ("process_", "the app's own process"),
    ("python_", "the app's own process"),
    ("go_", "a Go process"),
    ("promhttp_", "a Go process"),
    ("jvm_", "a Java process"),
    ("nodejs_", "a Node.js process"),
    ("istio_", "Istio"),
    ("envoy_", "Envoy"),
    ("linkerd_", "Linkerd"),
    ("traefik_", "Traefik"),
    ("haproxy_", "HAProxy"),
    ("nginx_", "NGINX"),
    ("kong_", "Kong"),
    ("redis_", "redis_exporter"),
    ("pg_", "postgres_exporter"),
    ("postgres_", "postgres_exporter"),
    ("postgresql_", "postgres_exporter"),
    ("mysql_", "mysqld_exporter"),
    ("mongodb_", "mongodb_exporter"),
    ("elasticsearch_", "elasticsearch_exporter"),
    ("kafka_", "kafka_exporter"),
    ("rabbitmq_", "RabbitMQ"),
    ("celery_", "celery_exporter"),
    ("flower_", "Flower"),
    ("minio_", "MinIO"),
    ("qdrant_", "Qdrant"),
    ("milvus_", "Milvus"),
    ("weaviate_", "Weaviate"),
    ("airflow_", "Airflow"),
    ("spark_", "Spark"),
    ("argocd_", "Argo CD"),
    ("argo_", "Argo"),
    ("keda_", "KEDA"),
    ("activator_", "Knative"),
    ("autoscaler_", "Knative"),
    ("revision_", "Knative"),
    ("loki_", "Loki"),
    ("grafana_", "Grafana"),
    ("tempo_", "Tempo"),
    ("otelcol_", "the OpenTelemetry collector"),
    ("probe_", "blackbox_exporter"),
    ("DCGM_", "dcgm-exporter"),
    ("nvidia_", "a GPU exporter"),
    ("litellm_", "LiteLLM"),
    ("ray_", "Ray"),
    ("ollama_", "Ollama's exporter"),
];

/// Subjects that only the app can know, with the words in a metric's name that show them.
pub(super) const ONLY_THE_APP: [(&str, &str); 12] = [
    (
        "the model's quality, which takes labels that arrive later",
        "accuracy auc roc f1 precision recall loss mae mse rmse mape r2 correct incorrect feedback \
         actual actuals truth quality metric metrics bias fairness residual brier absolute squared over under",
    ),
    (
        "drift, which takes a reference data set",
        "drift drifted psi ks kl wasserstein divergence shift baseline pvalue",
    ),
    (
        "the model's inputs after the app prepared them",
        "feature features missing null nulls outlier outliers column columns nan",
    ),
    ("a database", "db database sql postgres mongo"),
    ("a cache inside the app", "cache cached redis evictions"),
    (
        "a queue or worker inside the app",
        "queue queued pending waiting wait worker workers job jobs task tasks backlog",
    ),
    (
        "the process or its machine",
        "gpu cpu memory mem ram disk rss heap gc thread threads uptime fds power temperature \
         utilization usage resource system",
    ),
    (
        "how the app loads and keeps models",
        "load loads loaded loading reload reloads unload ready health healthy available startup warmup \
         cold init initialized",
    ),
    (
        "training and data",
        "training train trained retrain retraining epoch epochs dataset pipeline experiment age \
         freshness promotion deployments etl ingest ingested ingestion",
    ),
    (
        "a stage inside the app",
        "preprocess preprocessing postprocess postprocessing tokenize tokenization embedding embeddings \
         retrieval retriever rerank reranking vector lookup fetch download upload parse parsing prefill \
         decode transform explain explanation explanations explainer shap lime validation validations \
         extraction compile stage step phase serialization retry retries fallback fallbacks circuit \
         breaker external upstream downstream outbound client agent tool websocket connection \
         connections session sessions login logins auth rag chunk chunks document documents shadow \
         canary ab experiment compute logging log logs kafka consumer producer webhook email notification \
         storage registry sync backup",
    ),
    (
        "one kind of prediction",
        "positive positives negative negatives high low medium fraudulent legitimate approved denied \
         flagged blocked detected anomalous toxic rejected true false uncertain threshold",
    ),
    (
        "a rate, mean or extreme that the app computed",
        "rate ratio percent percentage avg average mean median std stddev variance p50 p90 p95 p99 qps \
         rps tps throughput last latest max min minimum maximum availability timestamp daily hourly \
         quantile",
    ),
];

/// Metrics about the inside of a server, by how their names begin. Their words would say otherwise.
pub(super) const INSIDE_SERVERS: [&str; 13] = [
    "vllm:iteration_",
    "vllm:request_inference_time",
    "vllm:request_max_",
    "vllm:request_params_",
    "vllm:lora_",
    "sglang:token_usage",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_load_ratio",
    "tgi_batch_",
    "tgi_request_inference_",
    "tgi_request_input_length",
    "tgi_request_max_",
];

/// Words for people and business. They only block a name without a word for calls: `house_price_predictions_total`.
pub(super) const BUSINESS: [&str; 37] = [
    "user",
    "users",
    "customer",
    "customers",
    "revenue",
    "cost",
    "costs",
    "usd",
    "dollars",
    "amount",
    "price",
    "orders",
    "tickets",
    "clicks",
    "ctr",
    "conversion",
    "conversions",
    "budget",
    "slo",
    "sla",
    "alerts",
    "alert",
    "saved",
    "risk",
    "anomaly",
    "anomalies",
    "detection",
    "detections",
    "fraud",
    "churn",
    "spam",
    "status",
    "up",
    "query",
    "queries",
    "search",
    "transactions",
];

/// Kinds of calls that have a status, but no family of their own.
pub(super) const KINDS_OF_CALL: [(&str, &str); 17] = [
    ("4xx", "sum by (code) (prediction_responses_total{code=~\"4..\"})"),
    ("5xx", "sum by (code) (prediction_responses_total{code=~\"5..\"})"),
    ("2xx", "sum by (code) (prediction_responses_total{code=~\"2..\"})"),
    ("400", "prediction_responses_total{code=\"400\"}"),
    ("404", "prediction_responses_total{code=\"404\"}"),
    ("429", "prediction_responses_total{code=\"429\"}"),
    ("500", "prediction_responses_total{code=\"500\"}"),
    ("timeout", "prediction_errors_total{error_type=\"timeout\"}"),
    ("timeouts", "prediction_errors_total{error_type=\"timeout\"}"),
    ("invalid", "prediction_errors_total{error_type=\"invalid_input\"}"),
    ("validation", "prediction_errors_total{error_type=\"invalid_input\"}"),
    ("ratelimit", "prediction_errors_total{error_type=\"rate_limited\"}"),
    ("limited", "prediction_errors_total{error_type=\"rate_limited\"}"),
    ("throttled", "prediction_errors_total{error_type=\"rate_limited\"}"),
    ("unauthorized", "prediction_errors_total{error_type=\"unauthorized\"}"),
    ("slow", "prediction_duration_seconds_bucket with the bound that is slow"),
    ("batches", "prediction_rows_bucket with the rows that make a batch"),
];

/// Words for calls.
pub(super) const CALLS: [&str; 25] = [
    "request",
    "requests",
    "reqs",
    "req",
    "call",
    "calls",
    "response",
    "responses",
    "prediction",
    "predictions",
    "predict",
    "predicts",
    "inference",
    "inferences",
    "infer",
    "invocation",
    "invocations",
    "scoring",
    "http",
    "scorings",
    "classifications",
    "completions",
    "generations",
    "recommendations",
    "hits",
];

/// Words for calls that a counter has only if they succeeded, unless a label tells how they ended.
pub(super) const PREDICTIONS: [&str; 8] = [
    "prediction",
    "predictions",
    "predict",
    "predicts",
    "inference",
    "inferences",
    "classifications",
    "recommendations",
];

/// Words beside [`CALLS`] that name the whole service in the name of a time.
pub(super) const SERVICES: [&str; 13] = [
    "model",
    "api",
    "app",
    "service",
    "server",
    "endpoint",
    "serving",
    "ml",
    "e2e",
    "llm",
    "score",
    "score_api",
    "route",
];

pub(super) const FAILURES: [&str; 9] =
    ["error", "errors", "failure", "failures", "failed", "fail", "exception", "exceptions", "faults"];
pub(super) const SUCCESSES: [&str; 5] = ["success", "successes", "successful", "succeeded", "ok"];
pub(super) const CANCELLED: [&str; 3] = ["cancelled", "canceled", "cancellations"];

/// Words for a time.
pub(super) const TIMES: [&str; 16] = [
    "duration",
    "latency",
    "latencies",
    "seconds",
    "second",
    "secs",
    "sec",
    "time",
    "times",
    "elapsed",
    "ms",
    "millis",
    "milliseconds",
    "us",
    "microseconds",
    "micros",
];
pub(super) const MILLISECONDS: [&str; 3] = ["ms", "millis", "milliseconds"];
pub(super) const MICROSECONDS: [&str; 3] = ["us", "micros", "microseconds"];
pub(super) const NANOSECONDS: [&str; 3] = ["ns", "nanos", "nanoseconds"];

pub(super) const SIZES: [&str; 4] = ["size", "bytes", "payload", "body"];
/// Words by which a gauge counts since the start.
pub(super) const COUNTS: [&str; 4] = ["count", "total", "counter", "number"];
pub(super) const REQUESTS: [&str; 7] =
    ["request", "requests", "input", "received", "payload", "in", "upload"];
pub(super) const RESPONSES: [&str; 6] = ["response", "responses", "output", "sent", "out", "transmitted"];
pub(super) const ROWS: [&str; 6] = ["batch", "rows", "instances", "samples", "records", "items"];
pub(super) const VALUES: [&str; 9] = [
    "value",
    "values",
    "score",
    "scores",
    "probability",
    "probabilities",
    "confidence",
    "distribution",
    "predicted",
];
pub(super) const IN_FLIGHT: [&str; 9] = [
    "progress",
    "inprogress",
    "flight",
    "inflight",
    "active",
    "concurrent",
    "ongoing",
    "concurrency",
    "running",
];
pub(super) const INPUT_TOKENS: [&str; 3] = ["prompt", "input", "prompts"];
pub(super) const OUTPUT_TOKENS: [&str; 5] =
    ["completion", "output", "generation", "generated", "completions"];

/// The possible meanings of a label's name, the likeliest first.
pub(super) const LABELS: [(&[&str], &[Dimension]); 13] = [
    (&["method", "http_method", "verb", "request_method", "http_request_method"], &[Dimension::Method]),
    (
        &[
            "endpoint",
            "path",
            "handler",
            "route",
            "url_rule",
            "uri",
            "path_template",
            "view",
            "url",
            "http_route",
            "request_path",
            "url_path",
            "http_path",
            "api",
            "operation",
            "rule",
        ],
        &[Dimension::Template, Dimension::Route],
    ),
    (
        &[
            "status",
            "status_code",
            "code",
            "http_status",
            "http_status_code",
            "response_code",
            "statuscode",
            "http_code",
            "http_response_status_code",
            "status_class",
        ],
        &[Dimension::Code, Dimension::CodeClass, Dimension::Status],
    ),
    (&["code_class"], &[Dimension::CodeClass]),
    (&["outcome", "result"], &[Dimension::Status, Dimension::Class]),
    (&["success", "succeeded"], &[Dimension::Status]),
    (
        &[
            "error",
            "error_type",
            "exception",
            "exception_type",
            "error_class",
            "error_code",
            "exc_type",
            "failure_type",
            "error_category",
            "errortype",
        ],
        &[Dimension::ErrorType, Dimension::Status],
    ),
    (&["reason", "type", "kind", "cause"], &[Dimension::ErrorType, Dimension::Reason, Dimension::TokenType]),
    (&["model", "model_name", "model_id", "modelname", "gen_ai_request_model"], &[Dimension::Model]),
    (&["version", "model_version", "modelversion"], &[Dimension::Version]),
    (
        &[
            "predicted_class",
            "prediction",
            "class",
            "label",
            "predicted_label",
            "prediction_class",
            "sentiment",
            "class_name",
            "category",
            "prediction_result",
            "predicted",
            "prediction_label",
            "species",
            "intent",
            "decision",
            "risk_level",
        ],
        &[Dimension::Class, Dimension::Status],
    ),
    (&["token_type", "direction"], &[Dimension::TokenType]),
    (&["finish_reason", "finished_reason", "stop_reason"], &[Dimension::Reason]),
];

/// Labels of information metrics only.
pub(super) const OF_MODELS: [(&str, Dimension); 2] =
    [("framework", Dimension::Framework), ("deployment", Dimension::Deployment)];

/// Labels that a scrape or a ServiceMonitor gives to a target.
pub(super) const TARGET: [&str; 17] = [
    "job",
    "instance",
    "namespace",
    "pod",
    "container",
    "service",
    "cluster",
    "node",
    "deployment",
    "kubernetes_pod_name",
    "kubernetes_namespace",
    "pod_name",
    "exported_job",
    "hostname",
    "host",
    "prometheus",
    "kubernetes_name",
];

/// Labels that every target has.
pub(super) const EVERY_TARGET: [&str; 2] = ["job", "instance"];

/// Labels with one value for the whole app.
pub(super) const CONSTANT: [&str; 17] = [
    "app",
    "app_name",
    "application",
    "service_name",
    "env",
    "environment",
    "region",
    "team",
    "zone",
    "datacenter",
    "project",
    "component",
    "model_type",
    "algorithm",
    "app_kubernetes_io_name",
    "task",
    "stage",
];

/// The label that the exporter takes from the environment.
pub(super) const TENANT: &str = "tenant";

/// Spellings of a success and of a failure.
pub(super) const SUCCESS_VALUES: [&str; 10] =
    ["success", "ok", "succeeded", "successful", "true", "completed", "pass", "passed", "1", "none"];
pub(super) const FAILURE_VALUES: [&str; 11] =
    ["error", "failed", "failure", "fail", "errors", "false", "exception", "err", "unsuccessful", "0", "ko"];
pub(super) const CANCELLED_VALUES: [&str; 2] = ["cancelled", "canceled"];

/// Spellings of a kind of failure.
pub(super) const ERROR_VALUES: [(&str, &[&str]); 8] = [
    ("invalid_input", &["validation", "validation_error", "invalid", "bad_request", "client_error"]),
    ("unauthorized", &["auth", "auth_error", "forbidden"]),
    ("not_found", &["missing", "model_not_found"]),
    ("rate_limited", &["rate_limit", "too_many_requests", "throttled"]),
    (
        "model_error",
        &["internal", "internal_error", "server_error", "prediction_error", "inference_error", "model"],
    ),
    ("timeout", &["timed_out", "timeout_error"]),
    ("unavailable", &["connection_error", "service_unavailable"]),
    ("overloaded", &["overload", "circuit_open"]),
];

/// Spellings of the types of tokens.
pub(super) const TOKEN_VALUES: [(&str, &[&str]); 4] = [
    ("input", &["prompt", "in", "request"]),
    ("output", &["completion", "generation", "generated", "out", "response"]),
    ("cached", &["cache", "cached_input"]),
    ("reasoning", &["thinking"]),
];

/// The words of a metric's name.
pub(super) fn words(name: &str) -> Vec<String> {
    let parts = name.split(|char: char| !char.is_ascii_alphanumeric());
    parts.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect()
}

/// The exporter that has this metric, if it is a well-known one.
pub(super) fn other(metric: &str) -> Option<&'static str> {
    let fits = |name: &str| metric == name || (name.ends_with('_') && metric.starts_with(name));
    OTHERS.iter().find(|(name, _)| fits(name)).map(|(_, owner)| *owner)
}
