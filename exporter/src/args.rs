//! The flags as they were given. What they mean, and whether they are right, is for `config` to say.

use clap::Parser;

/// Serves the metrics that the Scoretap filter counts in Envoy to Prometheus.
#[derive(Clone, Debug, Parser)]
#[command(name = "scoretap-exporter", version, after_help = ENVIRONMENT)]
pub struct Args {
    /// Address to serve on; `:PORT` is every address of the pod
    #[arg(long = "web.listen-address", value_name = "IP:PORT", default_value = "0.0.0.0:9464")]
    pub listen_address: String,

    /// Path under which the metrics are
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics")]
    pub telemetry_path: String,

    /// Envoy's admin interface: unix:///PATH or http://127.0.0.1:PORT
    #[arg(long = "envoy.admin", value_name = "URL", default_value = "unix:///run/scoretap/admin.sock")]
    pub admin: String,

    /// Which stat_prefix is that of the app's listener, as a regular expression for the whole of it
    #[arg(long = "envoy.stat-prefix", value_name = "REGEX", default_value = "inbound.*")]
    pub stat_prefix: String,

    /// Which cluster is the app, as a regular expression for the whole name
    #[arg(long = "envoy.app-cluster", value_name = "REGEX", default_value = r"app|inbound\|.*")]
    pub app_cluster: String,

    /// Names of metrics to serve; several are separated by commas
    #[arg(long = "dialect", value_name = "NAME", value_delimiter = ',', default_value = "prediction")]
    pub dialects: Vec<String>,

    /// Route whose series exist before its first call; may be repeated
    #[arg(long = "expect-route", value_name = "ROUTE", default_value = "score")]
    pub expected_routes: Vec<String>,

    /// Label of every series; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,

    /// Say what is wrong with the flags and the environment, and end
    #[arg(long = "check-config")]
    pub check_config: bool,
}

const ENVIRONMENT: &str = "\
Environment:
  MODEL_NAME, MODEL_VERSION         the model of calls that do not name one
  DEPLOYMENT_NAME, MODEL_FRAMEWORK  labels of model_info
  TENANT                            label of every series";
