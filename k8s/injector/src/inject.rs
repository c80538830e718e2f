//! Decides what becomes of a pod.

use serde_json::Value;

use crate::annotations::CONFIG;
use crate::faults;
use crate::pod::{FRAMEWORK, MODEL, Pod, VERSION};
use crate::sidecar::{Kind, Sidecar};
use crate::slots::{Slot, Slots};

/// What the operator decides, for all pods. A tenant has no say in images.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Image of Envoy, with its digest
    #[arg(
        long,
        env = "ENVOY_IMAGE",
        value_name = "IMAGE",
        value_parser = |text: &str| image(text, "ENVOY_IMAGE"),
        default_value = "docker.io/envoyproxy/envoy:distroless-v1.40.0"
    )]
    pub envoy_image: String,
    /// Image of the exporter, the module and scoretap-sidecar, with its digest
    #[arg(
        long,
        env = "EXPORTER_IMAGE",
        value_name = "IMAGE",
        value_parser = |text: &str| image(text, "EXPORTER_IMAGE"),
        default_value = "scoretap-exporter:0.1.0"
    )]
    pub exporter_image: String,
    /// How the sidecar's containers are run
    #[arg(long, env = "SIDECAR", value_enum, default_value_t)]
    pub sidecar: Kind,
}

/// An image as a container runtime takes it. Any other would keep every pod that asks from starting.
fn image(text: &str, variable: &str) -> Result<String, String> {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let is_part = |part: &str| {
        part.starts_with(|char: char| char.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte))
    };
    let is_digest = |digest: &str| {
        let hex = digest.split_once(':').map_or("", |(_, hex)| hex);
        is_part(digest) && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if name.split('/').all(is_part) && digest.is_none_or(is_digest) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "this is no image; write NAME:TAG or NAME@sha256:DIGEST, such as registry.example/scoretap-exporter:0.1.0, as \
         the flag or as {variable}"
    ))
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It does not ask for the sidecar.
    NotAsked,
    /// It has it.
    Already,
    /// It asks, and cannot have it, for these reasons. It stays as it is.
    Refused(Vec<String>),
    /// The pod with the sidecar.
    Injected(Box<Value>),
}

impl Decision {
    /// For a metric.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Already => "already",
            Self::Refused(_) => "refused",
            Self::Injected(_) => "injected",
        }
    }
}

/// Decides on a pod, or on the template of one, for which the workload's name is known.
pub fn decide(value: &Value, workload: Option<&str>, settings: &Settings) -> Decision {
    let pod = Pod(value);
    if !pod.asks() {
        return Decision::NotAsked;
    }
    if pod.is_injected() {
        return Decision::Already;
    }
    let mut faults = faults::find(pod);
    // A container that does not end would keep a Job's pod from ending.
    let ends = pod.spec("restartPolicy").is_some_and(|policy| policy != "Always");
    if ends && settings.sidecar == Kind::Ordinary {
        faults.push(
            "before Kubernetes 1.29 a pod that ends cannot have the sidecar; remove scoretap.dev/inject"
                .into(),
        );
    }
    if !faults.is_empty() {
        return Decision::Refused(faults);
    }
    let mut injected = value.clone();
    let sidecar = Sidecar::render(&slots(pod, workload, settings), settings.sidecar);
    // An API server has no such pods; a manifest may.
    if let Err(place) = sidecar.add_to(&mut injected, pod.app_without_hook()) {
        return Decision::Refused(vec![format!("{place}; write one, or remove scoretap.dev/inject")]);
    }
    Decision::Injected(Box::new(injected))
}

fn slots(pod: Pod<'_>, workload: Option<&str>, settings: &Settings) -> Slots {
    let port = pod.app_port();
    let mut slots = Slots::default();
    slots.set(Slot::EnvoyImage, &settings.envoy_image);
    slots.set(Slot::ExporterImage, &settings.exporter_image);
    slots.set(Slot::AppPort, port.number);
    slots.set(Slot::AppPortName, port.name);
    slots.set(Slot::Config, pod.annotation(CONFIG).unwrap_or_default());
    slots.set(Slot::ModelName, pod.identity(&MODEL));
    slots.set(Slot::ModelVersion, pod.identity(&VERSION));
    slots.set(Slot::ModelFramework, pod.identity(&FRAMEWORK));
    slots.set(Slot::Deployment, workload.unwrap_or_else(|| pod.deployment()));
    slots
}
