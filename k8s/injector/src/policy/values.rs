//! The operator's settings in a policy: the values themselves, or Helm expressions for them.

use crate::quantity::NONE;
use crate::settings::Settings;
use crate::slots::Slot;

use super::literal::text;

/// Where a policy's settings come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Values<'a> {
    /// These settings.
    Of(&'a Settings),
    /// The chart's values, when Helm renders it.
    Helm,
}

impl Values<'_> {
    /// The namespace of the installation.
    pub(super) fn namespace(self) -> &'static str {
        match self {
            Self::Of(_) => "scoretap-system",
            Self::Helm => "{{ .Release.Namespace }}",
        }
    }

    /// A string in CEL. Strings of Helm's expressions stand in backquotes, which YAML leaves alone.
    pub(super) fn string(self, slot: Slot) -> String {
        match self {
            Self::Of(settings) => text(&slot.setting(settings).unwrap_or_else(|| NONE.to_owned())),
            Self::Helm => format!("'{{{{ {} }}}}'", expression(slot)),
        }
    }

    /// A field of an object in CEL with a separator after it, or nothing if the setting has no value.
    pub(super) fn field(self, name: &str, slot: Slot, is_number: bool) -> String {
        let written = |value: &str| {
            let value = if is_number { value.to_owned() } else { format!("'{value}'") };
            format!("{name}: {value}, ")
        };
        match self {
            Self::Of(settings) => slot.setting(settings).map(|value| written(&value)).unwrap_or_default(),
            Self::Helm => {
                // Helm reads numbers as floating point.
                let value = written(if is_number { "{{ int64 . }}" } else { "{{ . }}" });
                format!("{{{{ with {} }}}}{value}{{{{ end }}}}", expression(slot))
            }
        }
    }
}

fn expression(slot: Slot) -> String {
    match slot {
        Slot::EnvoyImage => "include `scoretap.envoyImage` .".into(),
        Slot::ExporterImage => "include `scoretap.exporterImage` .".into(),
        Slot::ImagePullPolicy => ".Values.imagePullPolicy".into(),
        Slot::RunAsUser => ".Values.sidecar.runAsUser".into(),
        Slot::Quantity(part, resource, bound) => format!(
            ".Values.sidecar.resources.{}.{}.{} | default `{NONE}`",
            part.as_str(),
            bound.field(),
            resource.as_str()
        ),
        Slot::EnvoyPort
        | Slot::ReadyPort
        | Slot::AppPort
        | Slot::AppPortName
        | Slot::Config
        | Slot::Insight
        | Slot::Dialect
        | Slot::DialectConfig
        | Slot::BaselineConfig
        | Slot::ModelName
        | Slot::ModelVersion
        | Slot::ModelFramework
        | Slot::Deployment => String::new(),
    }
}
