//! The command line of the webhook.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand};
use scoretap_injector::serve::review::Exempt;
use scoretap_injector::serve::server::{self, Serving};
use scoretap_injector::settings::Settings;
use scoretap_web::listen::Listen;
use scoretap_web::log::{self as logging, LogArgs};

/// Adds the Scoretap sidecar to pods that ask for it with `scoretap.dev/inject: "true"`.
#[derive(Debug, Parser)]
#[command(name = "scoretap-injector", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve as an admission webhook
    Serve {
        /// Address of the webhook
        #[arg(long, value_name = "HOST:PORT", default_value = ":8443")]
        listen_address: Listen,
        /// Address of /metrics, /-/healthy and /-/ready
        #[arg(long, value_name = "HOST:PORT", default_value = ":8080")]
        metrics_address: Listen,
        /// Certificate, PEM; read again when it changes
        #[arg(long, value_name = "FILE", default_value = "/tls/tls.crt")]
        tls_cert: PathBuf,
        /// Key, PEM; read again when it changes
        #[arg(long, value_name = "FILE", default_value = "/tls/tls.key")]
        tls_key: PathBuf,
        /// TLS and users of metrics and health, as exporter-toolkit reads it; read again when it changes
        #[arg(long = "web.config.file", value_name = "FILE")]
        web_config: Option<PathBuf>,
        /// Namespace of the injector, in which it changes nothing
        #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
        namespace: Option<String>,
        /// Images, user and resources of the sidecar, YAML; defaults are built in
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let Cli { command, log } = Cli::parse();
    logging::init(log);
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let Command::Serve {
        listen_address,
        metrics_address,
        tls_cert,
        tls_key,
        web_config,
        namespace,
        settings,
    } = command;
    let serving = Serving {
        listen: listen_address,
        metrics: metrics_address,
        certificate: tls_cert,
        key: tls_key,
        web_config,
        settings: settings.as_deref().map_or_else(|| Ok(Settings::default()), read)?,
        exempt: Exempt::with_own(namespace),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(server::run(serving))
}

fn read(file: &Path) -> Result<Settings> {
    let place = || format!("in {}", file.display());
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Settings::parse(&text).map_err(|faults| anyhow!(faults.join("\n"))).with_context(place)
}
