//! `scoretap inject`: adds the sidecar to manifests, for pipelines.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use scoretap_injector::manifest;
use scoretap_injector::settings::{Settings, check_image};

use crate::{Status, console, usage};

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Kinds: {}; others are printed as they are", manifest::kinds()))]
pub(crate) struct Args {
    /// File with manifests; `-` is standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    filename: PathBuf,
    /// Images, user and resources of the sidecar, YAML; the injector's own settings
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Image of Envoy
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    envoy_image: Option<String>,
    /// Image of the exporter, the module and scoretap-sidecar
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    exporter_image: Option<String>,
}

fn image(text: &str) -> Result<String, String> {
    check_image(text).map(|()| text.to_owned())
}

impl Args {
    fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::default();
        if let Some(file) = &self.settings {
            let text = read(file)?;
            settings = Settings::parse(&text)
                .map_err(|faults| usage(format!("{}: {}", file.display(), faults.join("; "))))?;
        }
        settings.envoy_image = self.envoy_image.clone().unwrap_or(settings.envoy_image);
        settings.exporter_image = self.exporter_image.clone().unwrap_or(settings.exporter_image);
        Ok(settings)
    }
}

/// Prints the manifests. Faults and warnings go to standard error. Any fault makes the exit status 1.
pub(crate) fn run(args: &Args) -> Result<Status> {
    let place = args.filename.display();
    let text = read(&args.filename)?;
    let injected = manifest::inject(&text, &args.settings()?)
        .map_err(|error| usage(format!("{place}: {error:#}; write manifests as kubectl takes them")))?;
    console::print(&manifest::write(&injected.documents))?;
    for warning in &injected.warnings {
        console::note(&format!("warning: {place}: {warning}"));
    }
    for fault in &injected.faults {
        console::note(&format!("error: {place}: {fault}"));
    }
    Ok(if injected.faults.is_empty() { Status::Well } else { Status::Findings })
}

fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
