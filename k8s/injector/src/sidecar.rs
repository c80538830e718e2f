//! The sidecar's definition, read and filled in.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::slots::Slots;

/// The definition's text.
pub const DEFINITION: &str = include_str!("../../sidecar/sidecar.yaml");

/// What is added to a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Sidecar {
    /// Labels of the pod.
    pub labels: Map<String, Value>,
    /// The hook of the app's container, where it has none. Null for [`Kind::Ordinary`]: these clusters do not know it.
    pub pre_stop: Value,
    /// Volumes.
    pub volumes: Vec<Value>,
    /// At the end of the pod's own.
    pub init_containers: Vec<Value>,
    /// At the end of the pod's own. Empty but for [`Kind::Ordinary`].
    #[serde(default)]
    pub containers: Vec<Value>,
}

/// How the two containers that stay are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Restartable init containers: they start before the app, end after it, and let a Job end. Kubernetes 1.29 or
    /// later
    #[default]
    Native,
    /// Containers beside the app's, for clusters before 1.29
    Ordinary,
}

/// The definition with its slots still open. A fault in it is a fault of the build; tests read it.
pub static TEMPLATE: LazyLock<Sidecar> =
    LazyLock::new(|| serde_norway::from_str(DEFINITION).unwrap_or_default());

impl Sidecar {
    /// The definition for one pod.
    pub fn render(slots: &Slots, kind: Kind) -> Self {
        let mut sidecar = TEMPLATE.clone();
        let lists = [&mut sidecar.volumes, &mut sidecar.init_containers];
        lists.into_iter().flatten().for_each(|item| slots.fill(item));
        match kind {
            Kind::Native => sidecar,
            Kind::Ordinary => sidecar.ordinary(),
        }
    }

    fn ordinary(mut self) -> Self {
        let restartable = |container: &Value| container.get("restartPolicy").is_some();
        let (mut lasting, setup): (Vec<_>, Vec<_>) = self.init_containers.into_iter().partition(restartable);
        for container in lasting.iter_mut().filter_map(Value::as_object_mut) {
            container.remove("restartPolicy");
        }
        self.init_containers = setup;
        self.containers = lasting;
        self.pre_stop = Value::Null;
        self
    }

    /// Adds it to a pod, or to a part of it and says what of the pod has no place for the rest.
    pub fn add_to(self, pod: &mut Value, app: Option<usize>) -> Result<(), String> {
        let Self { labels, pre_stop, volumes, init_containers, containers } = self;
        let app = app.and_then(|index| pod.pointer_mut(&format!("/spec/containers/{index}")));
        if let Some(app) = app.filter(|_| !pre_stop.is_null()) {
            let lifecycle = entry(app, "lifecycle", json!({}));
            let hook = lifecycle.and_then(|lifecycle| entry(lifecycle, "preStop", pre_stop));
            hook.ok_or("lifecycle of the app's container is no map")?;
        }
        let map = entry(pod, "metadata", json!({})).and_then(|metadata| entry(metadata, "labels", json!({})));
        map.and_then(Value::as_object_mut).ok_or("metadata.labels is no map")?.extend(labels);
        let lists = [("volumes", volumes), ("initContainers", init_containers), ("containers", containers)];
        for (name, more) in lists.into_iter().filter(|(_, more)| !more.is_empty()) {
            let list = entry(pod, "spec", json!({})).and_then(|spec| entry(spec, name, json!([])));
            let list = list.and_then(Value::as_array_mut);
            list.ok_or_else(|| format!("spec.{name} is no list"))?.extend(more);
        }
        Ok(())
    }
}

/// The field, made where it is missing or null. None where `value` is no object.
fn entry<'a>(value: &'a mut Value, field: &str, otherwise: Value) -> Option<&'a mut Value> {
    let field = value.as_object_mut()?.entry(field).or_insert(Value::Null);
    if field.is_null() {
        *field = otherwise;
    }
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotations::{CONTAINERS, HTTP_PORT_NAME, INJECTED, METRICS_PORT_NAME, PORTS, VOLUME};

    fn definition() -> Sidecar {
        serde_norway::from_str(DEFINITION).unwrap()
    }

    #[test]
    fn the_definition_uses_the_names_that_the_code_knows() {
        let sidecar = definition();
        let names: Vec<_> = sidecar.init_containers.iter().map(|container| &container["name"]).collect();
        assert_eq!(names, CONTAINERS);
        assert_eq!(sidecar.labels[INJECTED], "true");
        assert_eq!(sidecar.volumes[0]["name"], VOLUME);
        let ports = sidecar.init_containers.iter().filter_map(|container| container["ports"].as_array());
        let ports: Vec<_> = ports.flatten().map(|port| (&port["name"], &port["containerPort"])).collect();
        assert_eq!(
            ports,
            [(&json!(HTTP_PORT_NAME), &json!(PORTS[0])), (&json!(METRICS_PORT_NAME), &json!(PORTS[1]))]
        );
    }

    #[test]
    fn every_slot_is_used_and_every_dollar_is_a_slot() {
        for slot in crate::slots::Slot::ALL {
            assert!(DEFINITION.contains(&format!("${{{}}}", slot.as_str())), "{slot:?}");
        }
        let sidecar = definition();
        let mut rendered = json!([sidecar.volumes, sidecar.init_containers]);
        Slots::default().fill(&mut rendered);
        assert!(!rendered.to_string().contains('$'), "{rendered}");
    }

    #[test]
    fn ordinary_containers_are_the_same_ones_elsewhere() {
        let native = Sidecar::render(&Slots::default(), Kind::Native);
        let ordinary = Sidecar::render(&Slots::default(), Kind::Ordinary);
        assert_eq!(ordinary.init_containers, native.init_containers[..1]);
        assert_eq!(ordinary.containers.len(), 2);
        for (mut before, after) in native.init_containers[1..].iter().cloned().zip(&ordinary.containers) {
            before.as_object_mut().unwrap().remove("restartPolicy");
            assert_eq!(&before, after);
        }
    }

    #[test]
    fn a_dollar_of_the_tenants_is_no_reference_for_the_kubelet() {
        let mut slots = Slots::default();
        slots.set(crate::slots::Slot::Config, "$(KUBERNETES_SERVICE_HOST) $$");
        let sidecar = Sidecar::render(&slots, Kind::Native);
        assert_eq!(sidecar.init_containers[0]["env"][2]["value"], "$$(KUBERNETES_SERVICE_HOST) $$$$");
    }
}
