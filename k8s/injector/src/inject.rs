//! Decides whether a pod gets the sidecar.

use serde_json::Value;

use crate::annotations::{BASELINE_CONFIG, CONFIG, DIALECT, DIALECT_CONFIG, INSIGHT};
use crate::dialect;
use crate::faults;
use crate::moving::open_low_ports;
use crate::pod::{FRAMEWORK, MODEL, Pod, VERSION};
use crate::ports::Layout;
use crate::settings::Settings;
use crate::sidecar::Sidecar;
use crate::slots::{Slot, Slots};

/// The decision on a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The pod does not ask for the sidecar.
    NotAsked,
    /// The pod has the sidecar.
    Already,
    /// The pod asks for the sidecar but stays unchanged, for these reasons.
    Refused(Vec<String>),
    /// The pod with the sidecar.
    Injected(Box<Value>),
}

impl Decision {
    /// The decision's name in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Already => "already",
            Self::Refused(_) => "refused",
            Self::Injected(_) => "injected",
        }
    }
}

/// Decides on a pod, or on a template of a workload with this name.
pub fn decide(value: &Value, workload: Option<&str>, settings: &Settings) -> Decision {
    let pod = Pod(value);
    if !pod.asks() {
        return Decision::NotAsked;
    }
    if pod.is_injected() {
        return Decision::Already;
    }
    let faults = faults::find(pod, settings);
    if !faults.is_empty() {
        return Decision::Refused(faults);
    }
    match injected(pod, workload, settings) {
        Ok(injected) => Decision::Injected(Box::new(injected)),
        // Only a manifest can contain such a pod, because the API server rejects it.
        Err(place) => Decision::Refused(vec![format!("{place}; write one, or remove scoretap.dev/inject")]),
    }
}

/// Notices about a pod that has the sidecar or gets it, such as that its app's port has no name.
pub fn notices(value: &Value, decision: &Decision, settings: &Settings) -> Vec<String> {
    match decision {
        Decision::Already | Decision::Injected(_) => faults::notices(Pod(value), settings),
        Decision::NotAsked | Decision::Refused(_) => Vec::new(),
    }
}

fn injected(pod: Pod<'_>, workload: Option<&str>, settings: &Settings) -> Result<Value, String> {
    let layout = Layout::of(pod);
    let mut injected = pod.0.clone();
    let app = pod.app_index();
    let container = app.and_then(|index| injected.pointer_mut(&format!("/spec/containers/{index}")));
    let container = container.ok_or("the app's container is missing")?;
    layout.apply(container).ok_or("ports of the app's container is not a list")?;
    if let Some(to) = pod.moves() {
        to.apply(container).ok_or("env or args of the app's container is not a list")?;
        let low = layout.declared.parse().map_or(Some(()), |port| open_low_ports(&mut injected, port));
        low.ok_or("spec.securityContext is not a map with a list of sysctls")?;
    }
    let sidecar = Sidecar::render(&slots(pod, &layout, workload, settings));
    sidecar.add_to(&mut injected, app.filter(|_| pod.needs_hook()))?;
    Ok(injected)
}

fn slots(pod: Pod<'_>, layout: &Layout, workload: Option<&str>, settings: &Settings) -> Slots {
    let mut slots = Slots::default();
    for slot in Slot::all() {
        if let Some(value) = value(slot, pod, layout, workload, settings) {
            slots.set(slot, value);
        }
    }
    slots
}

/// The name in this annotation.
fn config_map(pod: Pod<'_>, annotation: &str) -> Option<String> {
    pod.annotation(annotation).filter(|name| !name.is_empty()).map(str::to_owned)
}

fn value(
    slot: Slot,
    pod: Pod<'_>,
    layout: &Layout,
    workload: Option<&str>,
    settings: &Settings,
) -> Option<String> {
    Some(match slot {
        Slot::EnvoyImage | Slot::ExporterImage | Slot::ImagePullPolicy | Slot::RunAsUser => {
            return slot.setting(settings);
        }
        Slot::EnvoyPort => layout.envoy(),
        Slot::ReadyPort => layout.ready(),
        Slot::AppPort => layout.app(),
        Slot::AppPortName => pod.app_port().name,
        Slot::Insight => pod.annotation(INSIGHT).unwrap_or("false").to_owned(),
        Slot::Dialect => pod.annotation(DIALECT).unwrap_or(dialect::DEFAULT).to_owned(),
        Slot::DialectConfig => return config_map(pod, DIALECT_CONFIG),
        Slot::BaselineConfig => return config_map(pod, BASELINE_CONFIG),
        Slot::Config => pod.annotation(CONFIG).unwrap_or_default().to_owned(),
        Slot::ModelName => pod.identity(&MODEL).to_owned(),
        Slot::ModelVersion => pod.identity(&VERSION).to_owned(),
        Slot::ModelFramework => pod.identity(&FRAMEWORK).to_owned(),
        Slot::Deployment => workload.unwrap_or_else(|| pod.deployment()).to_owned(),
        Slot::Quantity(part, resource, bound) => {
            let quantity = pod.quantity(resource, bound, settings.quantity(part, resource, bound));
            return Some(quantity.to_owned()).filter(|quantity| quantity != crate::quantity::NONE);
        }
    })
}
