//! The command line. `config` checks the values.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use scoretap_web::log::LogArgs;

use crate::render::encode::Format;

/// Serves the metrics that the Scoretap filter counts in Envoy to Prometheus.
#[derive(Clone, Debug, Parser)]
#[command(name = "scoretap-exporter", args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub args: Args,
}

/// The commands besides serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Read Envoy once, print the metrics to standard output and exit: 0 if Envoy could be read, else 1
    ///
    /// Takes the flags that the exporter is started with, so that it prints the same metrics; it does not listen.
    Scrape(Scrape),
}

/// The flags of `scrape`.
#[derive(Clone, Debug, clap::Args)]
pub struct Scrape {
    /// How to read Envoy, and what to print.
    #[command(flatten)]
    pub args: Args,

    /// Format to print
    #[arg(long, value_name = "FORMAT", default_value = "text", value_enum)]
    pub format: Format,
}

/// Serves the metrics that the Scoretap filter counts in Envoy to Prometheus.
#[derive(Clone, Debug, Parser)]
#[command(name = "scoretap-exporter", version, after_help = ENVIRONMENT, max_term_width = 100)]
pub struct Args {
    /// Address to listen on; `:PORT` means all addresses of IPv4 and IPv6; may be repeated
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = ":15190", help_heading = WEB)]
    pub listen_addresses: Vec<String>,

    /// Use the sockets that systemd passes instead of --web.listen-address
    #[arg(long = "web.systemd-socket", help_heading = WEB)]
    pub systemd_socket: bool,

    /// Concurrent scrapes; further ones get 503; 0 means no limit
    #[arg(long = "web.max-requests", value_name = "COUNT", default_value_t = 16, help_heading = WEB)]
    pub max_requests: usize,

    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", help_heading = WEB)]
    pub telemetry_path: String,

    /// File with TLS and users, in exporter-toolkit's format; read again when it changes
    #[arg(long = "web.config.file", value_name = "FILE", help_heading = WEB)]
    pub web_config: Option<PathBuf>,

    /// Envoy's admin interface: unix:///PATH or http://127.0.0.1:PORT
    #[arg(
        long = "envoy.admin",
        value_name = "URL",
        default_value = "unix:///run/scoretap/admin.sock",
        help_heading = ENVOY
    )]
    pub admin: String,

    /// Regular expression that matches the whole stat_prefix of the app's listener
    #[arg(long = "envoy.stat-prefix", value_name = "REGEX", default_value = "inbound.*", help_heading = ENVOY)]
    pub stat_prefix: String,

    /// Regular expression that matches the whole name of the app's cluster
    #[arg(
        long = "envoy.app-cluster",
        value_name = "REGEX",
        default_value = r"app|inbound\|.*",
        help_heading = ENVOY
    )]
    pub app_cluster: String,

    /// Names of metrics to serve: prediction, model, fastapi, mlflow, api, gen_ai, vllm,
    /// inference_objective and those of docs/dialects.md; several are separated by commas [default: prediction,
    /// without the families that a --dialect-file defines in another way]
    #[arg(long = "dialect", value_name = "NAME", value_delimiter = ',', help_heading = METRICS)]
    pub dialects: Vec<String>,

    /// File with another dialect to serve; may be repeated
    #[arg(long = "dialect-file", value_name = "FILE", help_heading = METRICS)]
    pub dialect_files: Vec<PathBuf>,

    /// File of `scoretap baseline make`, to serve as scoretap_baseline_predictions and scoretap_baseline_value_ratio
    #[arg(long = "baseline", value_name = "FILE", help_heading = METRICS)]
    pub baseline: Option<PathBuf>,

    /// Route whose series exist before its first call; may be repeated
    #[arg(long = "expect-route", value_name = "ROUTE", default_value = "score", help_heading = METRICS)]
    pub expected_routes: Vec<String>,

    /// Label of every series; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", help_heading = METRICS)]
    pub labels: Vec<String>,

    /// Add `_created` lines to OpenMetrics; Prometheus stores each as one more series unless it reads created timestamps
    #[arg(long = "openmetrics.created-samples", help_heading = METRICS)]
    pub created_samples: bool,

    /// The log.
    #[command(flatten)]
    pub log: LogArgs,

    /// Report every fault in flags, environment and files and exit: 0 without faults, 1 with faults, 2 if the flags cannot be parsed
    #[arg(long = "check-config")]
    pub check_config: bool,
}

const WEB: &str = "Serving";
const ENVOY: &str = "Envoy";
const METRICS: &str = "Metrics";

const ENVIRONMENT: &str = "\
Environment:
  MODEL_NAME, MODEL_VERSION         the model of calls that do not name one
  DEPLOYMENT_NAME, MODEL_FRAMEWORK  labels of model_info
  TENANT                            label of every series
  DIALECT_FILE                      a dialect whose families replace others of their names; if it cannot be
                                    served, the log says why, and the other dialects are served
  BASELINE_FILE                     a baseline instead of the one of --baseline; if it cannot be served, the log
                                    says why

Example:
  scoretap-exporter --dialect prediction,fastapi --expect-route score --label env=prod";
