//! The command line: flags in, exit code out.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use scoretap_injector::inject::Settings;
use scoretap_injector::review::Exempt;
use scoretap_injector::server::{self, Serving};
use scoretap_injector::tls::Files;
use scoretap_injector::{manifest, policy};

/// Puts the Scoretap sidecar into pods that ask for it with `scoretap.dev/inject: "true"`.
#[derive(Debug, Parser)]
#[command(name = "scoretap-injector", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print manifests with the sidecar in them. What is wrong is said on standard error, and ends in exit code 1
    #[command(after_help = format!("Kinds: {}; every other is printed as it is", manifest::kinds()))]
    Inject {
        /// File with manifests; `-` is standard input
        #[arg(short, long = "filename", value_name = "FILE")]
        filename: PathBuf,
        #[command(flatten)]
        settings: Settings,
    },
    /// Print the admission policies that do the same without a webhook (Kubernetes 1.36 or later)
    Policy {
        #[command(flatten)]
        settings: Settings,
    },
    /// Serve as an admission webhook
    Serve {
        /// Address of the webhook
        #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8443")]
        listen_address: SocketAddr,
        /// Address of /metrics, /-/healthy and /-/ready
        #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8080")]
        metrics_address: SocketAddr,
        /// Certificate, PEM; read again when it changes
        #[arg(long, value_name = "FILE", default_value = "/tls/tls.crt")]
        tls_cert: PathBuf,
        /// Key, PEM; read again when it changes
        #[arg(long, value_name = "FILE", default_value = "/tls/tls.key")]
        tls_key: PathBuf,
        /// Namespace of the injector, in which it changes nothing
        #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
        namespace: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Inject { filename, settings } => inject(&filename, &settings),
        Command::Policy { settings } => {
            std::io::stdout().write_all(policy::manifests(&settings).as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve { listen_address, metrics_address, tls_cert, tls_key, namespace, settings } => {
            serve(Serving {
                listen: listen_address,
                metrics: metrics_address,
                files: Files { certificate: tls_cert, key: tls_key },
                settings,
                exempt: Exempt::with_own(namespace),
            })
        }
    }
}

fn inject(filename: &PathBuf, settings: &Settings) -> Result<ExitCode> {
    let mut text = String::new();
    if filename.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(filename)
            .with_context(|| format!("cannot read {}", filename.display()))?;
    }
    let injected = manifest::inject(&text, settings).with_context(|| format!("in {}", filename.display()))?;
    std::io::stdout().write_all(manifest::write(&injected.documents).as_bytes())?;
    for warning in &injected.warnings {
        eprintln!("warning: {}: {warning}", filename.display());
    }
    for fault in &injected.faults {
        eprintln!("error: {}: {fault}", filename.display());
    }
    Ok(if injected.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn serve(serving: Serving) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(server::run(serving))?;
    Ok(ExitCode::SUCCESS)
}
