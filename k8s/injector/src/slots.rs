//! What differs from pod to pod: the `${NAME}` of the sidecar's definition.

use std::collections::BTreeMap;

use serde_json::Value;

/// One `${NAME}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The image of Envoy.
    EnvoyImage,
    /// The image that holds the exporter, the module and `scoretap-sidecar`.
    ExporterImage,
    /// The number of the app's port.
    AppPort,
    /// The name of that port, where it has one.
    AppPortName,
    /// The filter's configuration.
    Config,
    /// The pod's model.
    ModelName,
    /// Its version.
    ModelVersion,
    /// What it was made with.
    ModelFramework,
    /// The workload that the pod belongs to.
    Deployment,
}

impl Slot {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::EnvoyImage,
        Self::ExporterImage,
        Self::AppPort,
        Self::AppPortName,
        Self::Config,
        Self::ModelName,
        Self::ModelVersion,
        Self::ModelFramework,
        Self::Deployment,
    ];

    /// As the definition writes it, between `${` and `}`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EnvoyImage => "envoy-image",
            Self::ExporterImage => "exporter-image",
            Self::AppPort => "app-port",
            Self::AppPortName => "app-port-name",
            Self::Config => "config",
            Self::ModelName => "model-name",
            Self::ModelVersion => "model-version",
            Self::ModelFramework => "model-framework",
            Self::Deployment => "deployment",
        }
    }

    /// The slot that a text is. A slot is a whole value, never a part of one.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("${")?.strip_suffix('}')?;
        Self::ALL.into_iter().find(|slot| slot.as_str() == name)
    }

    /// Whether the value comes from the pod, and so from a tenant.
    pub const fn is_of_the_pod(self) -> bool {
        match self {
            Self::EnvoyImage | Self::ExporterImage => false,
            Self::AppPort
            | Self::AppPortName
            | Self::Config
            | Self::ModelName
            | Self::ModelVersion
            | Self::ModelFramework
            | Self::Deployment => true,
        }
    }
}

/// A value for each slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots(BTreeMap<Slot, String>);

impl Slots {
    /// Sets a value, as it is to arrive.
    pub fn set(&mut self, slot: Slot, value: impl Into<String>) {
        self.0.insert(slot, value.into());
    }

    /// The value of a slot, empty where there is none.
    pub fn get(&self, slot: Slot) -> &str {
        self.0.get(&slot).map_or("", String::as_str)
    }

    /// Fills every slot below `value`.
    pub fn fill(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(slot) = Slot::parse(text) {
                    *text = self.written(slot);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.fill(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The kubelet replaces `$(NAME)` in the values of variables and reads `$$` as `$`.
    fn written(&self, slot: Slot) -> String {
        let value = self.get(slot);
        if slot.is_of_the_pod() { value.replace('$', "$$") } else { value.to_owned() }
    }
}
