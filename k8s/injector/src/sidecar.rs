//! Reads the sidecar's definition and fills it in.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::slots::Slots;

/// The definition's text.
pub const DEFINITION: &str = include_str!("../sidecar.yaml");

/// The additions to a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Sidecar {
    /// Labels of the pod.
    pub labels: Map<String, Value>,
    /// The hook for an app container that has none.
    pub pre_stop: Value,
    /// Volumes.
    pub volumes: Vec<Value>,
    /// Init containers, appended to the pod's own.
    pub init_containers: Vec<Value>,
}

/// The definition with its slots still open. A unit test reads it, so a syntax error fails the build.
pub static TEMPLATE: LazyLock<Sidecar> =
    LazyLock::new(|| serde_norway::from_str(DEFINITION).unwrap_or_default());

impl Sidecar {
    /// The definition for one pod.
    pub fn render(slots: &Slots) -> Self {
        let mut sidecar = TEMPLATE.clone();
        slots.fill_items(&mut sidecar.volumes);
        slots.fill_items(&mut sidecar.init_containers);
        sidecar
    }

    /// Adds the sidecar to a pod, with the hook in container `app`. An error names the part of the pod that prevents
    /// it.
    pub fn add_to(self, pod: &mut Value, app: Option<usize>) -> Result<(), String> {
        let Self { labels, pre_stop, volumes, init_containers } = self;
        if let Some(app) = app.and_then(|index| pod.pointer_mut(&format!("/spec/containers/{index}"))) {
            let lifecycle = entry(app, "lifecycle", json!({}));
            let hook = lifecycle.and_then(|lifecycle| entry(lifecycle, "preStop", pre_stop));
            hook.ok_or("lifecycle of the app's container is not a map")?;
        }
        let map = entry(pod, "metadata", json!({})).and_then(|metadata| entry(metadata, "labels", json!({})));
        map.and_then(Value::as_object_mut).ok_or("metadata.labels is not a map")?.extend(labels);
        for (name, more) in [("volumes", volumes), ("initContainers", init_containers)] {
            let list = entry(pod, "spec", json!({})).and_then(|spec| entry(spec, name, json!([])));
            let list = list.and_then(Value::as_array_mut);
            list.ok_or_else(|| format!("spec.{name} is not a list"))?.extend(more);
        }
        Ok(())
    }
}

/// The field, created if it is missing or null. `None` if `value` is not an object.
pub(crate) fn entry<'a>(value: &'a mut Value, field: &str, otherwise: Value) -> Option<&'a mut Value> {
    let field = value.as_object_mut()?.entry(field).or_insert(Value::Null);
    if field.is_null() {
        *field = otherwise;
    }
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotations::{
        CONTAINERS, EXPORTER, INJECTED, INSIGHT_PERCENT, PORT_NAMES, STATS_PORT_NAME, VOLUMES,
    };
    use crate::slots::Slot;

    fn definition() -> Sidecar {
        serde_norway::from_str(DEFINITION).unwrap()
    }

    #[test]
    fn definition_uses_the_names_of_the_code() {
        let sidecar = definition();
        let names = |list: &[Value]| -> Vec<_> { list.iter().map(|item| item["name"].clone()).collect() };
        assert_eq!(names(&sidecar.init_containers), CONTAINERS);
        assert_eq!(names(&sidecar.volumes), VOLUMES);
        let field = &sidecar.volumes[2]["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"];
        assert_eq!(*field, format!("metadata.annotations['{INSIGHT_PERCENT}']"));
        assert_eq!(sidecar.labels[INJECTED], "true");
        let ports = sidecar.init_containers.iter().filter_map(|container| container["ports"].as_array());
        let ports: Vec<_> = ports.flatten().map(|port| (&port["name"], &port["containerPort"])).collect();
        assert_eq!(ports, [(&json!(STATS_PORT_NAME), &json!(EXPORTER))]);
    }

    /// The API server rejects a longer name, and with it the pod.
    #[test]
    fn port_names_have_at_most_15_characters() {
        for name in PORT_NAMES {
            assert!(name.len() <= 15, "{name}");
        }
    }

    #[test]
    fn definition_uses_every_slot_and_no_other() {
        for slot in Slot::all() {
            let name = slot.name();
            let written = [format!("${{{name}}}"), format!("${{{name}:number}}")];
            assert!(written.iter().any(|written| DEFINITION.contains(written)), "{name}");
        }
        let rendered = Sidecar::render(&Slots::default());
        let rendered = json!([rendered.volumes, rendered.init_containers]).to_string();
        assert!(!rendered.contains('$'), "{rendered}");
    }

    #[test]
    fn slot_without_a_value_removes_the_field() {
        let mut slots = Slots::default();
        slots.set(Slot::EnvoyPort, "80");
        let envoy = Sidecar::render(&slots).init_containers.remove(1);
        assert_eq!(envoy["startupProbe"]["tcpSocket"], json!({"port": 80}));
        assert_eq!(envoy["readinessProbe"]["tcpSocket"], json!({}));
        assert_eq!(envoy["securityContext"].get("runAsUser"), None);
    }

    #[test]
    fn files_are_mounted_in_the_exporter_only() {
        let mut slots = Slots::default();
        let volumes =
            |sidecar: &Sidecar| sidecar.volumes.iter().map(|volume| volume["name"].clone()).collect();
        let without = Sidecar::render(&slots);
        let names: Vec<Value> = volumes(&without);
        assert_eq!(names, &VOLUMES[..3]);
        for (slot, file) in [(Slot::DialectConfig, "dialect"), (Slot::BaselineConfig, "baseline")] {
            assert!(!json!(without.init_containers).to_string().contains(&format!("{file}.yaml")));
            slots.set(slot, format!("churn-{file}"));
            let with = Sidecar::render(&slots);
            let name = format!("scoretap-{file}");
            let config =
                json!({"name": name, "configMap": {"name": format!("churn-{file}"), "optional": true}});
            assert_eq!(with.volumes.last(), Some(&config));
            let has = |index: usize| with.init_containers[index].to_string().contains(&name);
            assert_eq!([has(0), has(1), has(2)], [false, false, true]);
        }
    }

    #[test]
    fn dollar_in_tenant_text_is_escaped() {
        let mut slots = Slots::default();
        slots.set(Slot::Config, "$(KUBERNETES_SERVICE_HOST) $$");
        let setup = Sidecar::render(&slots).init_containers.remove(0);
        let config = setup["env"].as_array().unwrap().iter().find(|entry| entry["name"] == "SCORETAP_CONFIG");
        assert_eq!(config.unwrap()["value"], "$$(KUBERNETES_SERVICE_HOST) $$$$");
    }
}
