//! The `${NAME}` placeholders in the sidecar's definition, for values that differ from pod to pod.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity::{Bound, Resource};

/// A container of the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `scoretap-setup`
    Setup,
    /// `scoretap-envoy`
    Envoy,
    /// `scoretap-exporter`
    Exporter,
}

impl Part {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 3] = [Self::Setup, Self::Envoy, Self::Exporter];

    /// The name in slots and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Envoy => "envoy",
            Self::Exporter => "exporter",
        }
    }
}

/// One `${NAME}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The image of Envoy.
    EnvoyImage,
    /// The image with the exporter, the module and `scoretap-sidecar`.
    ExporterImage,
    /// The pull policy of these images.
    ImagePullPolicy,
    /// The user and group of the sidecar's containers.
    RunAsUser,
    /// The port on which Envoy listens.
    EnvoyPort,
    /// The port that has to be open before the sidecar is ready.
    ReadyPort,
    /// The port on which the app listens.
    AppPort,
    /// The name of the app's port.
    AppPortName,
    /// The filter's configuration.
    Config,
    /// Whether bodies are read: `true` or `false`.
    Insight,
    /// The dialects of the exporter.
    Dialect,
    /// The ConfigMap with the tenant's own dialect.
    DialectConfig,
    /// The ConfigMap with the tenant's baseline.
    BaselineConfig,
    /// The pod's model.
    ModelName,
    /// The version of that model.
    ModelVersion,
    /// The framework of that model.
    ModelFramework,
    /// The workload that the pod belongs to.
    Deployment,
    /// The request or limit of a sidecar container.
    Quantity(Part, Resource, Bound),
}

impl Slot {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::EnvoyImage,
            Self::ExporterImage,
            Self::ImagePullPolicy,
            Self::RunAsUser,
            Self::EnvoyPort,
            Self::ReadyPort,
            Self::AppPort,
            Self::AppPortName,
            Self::Config,
            Self::Insight,
            Self::Dialect,
            Self::DialectConfig,
            Self::BaselineConfig,
            Self::ModelName,
            Self::ModelVersion,
            Self::ModelFramework,
            Self::Deployment,
        ];
        all.extend(Self::quantities());
        all
    }

    /// The requests and limits of all containers.
    pub fn quantities() -> impl Iterator<Item = Self> {
        let bounds = |part| Resource::ALL.map(|resource| Bound::ALL.map(|bound| (part, resource, bound)));
        let all = Part::ALL.into_iter().flat_map(bounds).flatten();
        all.map(|(part, resource, bound)| Self::Quantity(part, resource, bound))
    }

    /// The name in the definition, between `${` and `}`.
    pub fn name(self) -> String {
        let name = match self {
            Self::EnvoyImage => "envoy-image",
            Self::ExporterImage => "exporter-image",
            Self::ImagePullPolicy => "image-pull-policy",
            Self::RunAsUser => "run-as-user",
            Self::EnvoyPort => "envoy-port",
            Self::ReadyPort => "ready-port",
            Self::AppPort => "app-port",
            Self::AppPortName => "app-port-name",
            Self::Config => "config",
            Self::Insight => "insight",
            Self::Dialect => "dialect",
            Self::DialectConfig => "dialect-config",
            Self::BaselineConfig => "baseline-config",
            Self::ModelName => "model-name",
            Self::ModelVersion => "model-version",
            Self::ModelFramework => "model-framework",
            Self::Deployment => "deployment",
            Self::Quantity(part, resource, bound) => {
                return format!("{}-{}-{}", part.as_str(), resource.as_str(), bound.as_str());
            }
        };
        name.to_owned()
    }

    /// Whether the value is the tenant's text. The kubelet must not expand `$(NAME)` in it.
    pub const fn is_tenant_text(self) -> bool {
        match self {
            Self::AppPortName
            | Self::Config
            | Self::ModelName
            | Self::ModelVersion
            | Self::ModelFramework
            | Self::Deployment => true,
            Self::EnvoyImage
            | Self::ExporterImage
            | Self::ImagePullPolicy
            | Self::RunAsUser
            | Self::EnvoyPort
            | Self::ReadyPort
            | Self::AppPort
            | Self::Insight
            | Self::Dialect
            | Self::DialectConfig
            | Self::BaselineConfig
            | Self::Quantity(..) => false,
        }
    }
}

/// A slot in the definition. It is a whole value, never part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The slot.
    pub slot: Slot,
    /// Whether the value is a number: `${NAME:number}`.
    pub is_number: bool,
}

impl Reference {
    /// Reads `${NAME}` or `${NAME:number}`.
    pub fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix("${")?.strip_suffix('}')?;
        let number = inner.strip_suffix(":number");
        let slot = Slot::all().into_iter().find(|slot| slot.name() == number.unwrap_or(inner))?;
        Some(Self { slot, is_number: number.is_some() })
    }
}

/// Removes the condition `when: ${NAME}` of a list's item.
pub fn condition(item: &mut Value) -> Option<Slot> {
    let condition = item.as_object_mut()?.remove("when")?;
    condition.as_str().and_then(Reference::parse).map(|reference| reference.slot)
}

/// A value for each slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots(BTreeMap<Slot, String>);

impl Slots {
    /// Sets a value.
    pub fn set(&mut self, slot: Slot, value: impl Into<String>) {
        self.0.insert(slot, value.into());
    }

    /// Fills every slot below `value`. Removes fields and items whose slot has no value.
    pub fn fill(&self, value: &mut Value) {
        match value {
            Value::Array(items) => self.fill_items(items),
            Value::Object(fields) => fields.retain(|_, field| self.fill_part(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Fills the items of a list. Removes those whose condition has no value.
    pub fn fill_items(&self, items: &mut Vec<Value>) {
        items.retain_mut(|item| {
            condition(item).is_none_or(|slot| self.0.contains_key(&slot)) && self.fill_part(item)
        });
    }

    /// Fills a part. Returns whether it stays.
    fn fill_part(&self, part: &mut Value) -> bool {
        let Some(reference) = part.as_str().and_then(Reference::parse) else {
            self.fill(part);
            return true;
        };
        self.filled(reference).map(|filled| *part = filled).is_some()
    }

    fn filled(&self, reference: Reference) -> Option<Value> {
        let value = self.0.get(&reference.slot)?;
        if reference.is_number {
            return value.parse::<i64>().ok().map(Value::from);
        }
        // The kubelet replaces `$(NAME)` in variables and reads `$$` as `$`.
        let escaped = if reference.slot.is_tenant_text() { value.replace('$', "$$") } else { value.clone() };
        Some(escaped.into())
    }
}
