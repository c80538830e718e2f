//! What `pod` and `service` read from an object, in CEL.

use serde_json::{Value, json};

use super::literal::{list, text, variable_name};
use crate::annotations::{
    APP_PORT, CONFIG, CONTAINERS, HTTP_PORT_NAME, INJECT, METRICS_PORT_NAME, MODEL_NAME, MODEL_VERSION,
    NEVER_THE_APP, NOT_FOR_CALLS, PORTS, PRE_STOP, TARGET_PORT, TLS, VOLUME,
};
use crate::inject::Settings;
use crate::pod::{
    FRAMEWORK, INSTANCE, Identity, MODEL, NAMING_OWNERS, TEMPLATE_HASH, TIME_FOR_A_HOOK, VERSION,
};
use crate::slots::Slot;

/// Variables of a policy, each of which may use those before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(Vec<(String, String)>);

impl Variables {
    pub(super) fn add(&mut self, name: impl Into<String>, cel: impl Into<String>) {
        self.0.push((name.into(), cel.into()));
    }

    pub(super) fn to_value(&self) -> Value {
        self.0.iter().map(|(name, cel)| json!({"name": name, "expression": cel})).collect()
    }

    /// These and then those.
    pub(super) fn and(&self, those: &Self) -> Self {
        Self(self.0.iter().chain(&those.0).cloned().collect())
    }

    fn annotation(&mut self, variable: &str, annotation: &str, otherwise: &str) {
        let key = text(annotation);
        self.add(
            variable,
            format!("{key} in variables.annotations ? variables.annotations[{key}] : {}", text(otherwise)),
        );
    }

    /// The value of the first of these labels that is there.
    fn label(labels: &[&str]) -> String {
        labels.iter().rev().fold("''".to_owned(), |otherwise, label| {
            let key = text(label);
            format!("({key} in variables.labels ? variables.labels[{key}] : {otherwise})")
        })
    }

    fn identity(&mut self, slot: Slot, identity: &Identity) {
        let name = variable_name(slot);
        let said = format!("{name}Said");
        self.add(&said, format!("variables.environment.filter(e, e.name == '{}')", identity.variable));
        let label = Self::label(identity.labels);
        let said = format!(
            "size(variables.{said}) > 0 ? variables.{said}[size(variables.{said}) - 1].value : {label}"
        );
        let cel = match identity.annotation.map(text) {
            Some(key) => format!("{key} in variables.annotations ? variables.annotations[{key}] : ({said})"),
            None => said,
        };
        self.add(name, cel);
    }
}

/// For a port `p` of a container.
const TCP: &str = "(!has(p.protocol) || p.protocol == 'TCP')";
/// That it is the one that the annotation means.
const MEANT: &str =
    "((has(p.name) && p.name == variables.port) || string(p.containerPort) == variables.port)";

/// That it may be the app's where the annotation is missing.
fn may_take_calls() -> String {
    format!("(!has(p.name) || !p.name.matches('(^|-)({})(-|$)'))", NOT_FOR_CALLS.join("|"))
}

/// What the faults of a pod are told by, for the pod at `root`.
pub(super) fn judging_pods(root: &str) -> Variables {
    let mut variables = Variables::default();
    metadata(&mut variables, root);
    variables.add("spec", format!("{root}.spec"));
    variables.annotation("config", CONFIG, "");
    variables.add(
        "names",
        [MODEL_NAME, MODEL_VERSION]
            .map(|name| {
                format!("('{name}' in variables.annotations ? [variables.annotations['{name}']] : [])")
            })
            .join(" + "),
    );
    variables.add(
        "windows",
        "(has(variables.spec.os) && variables.spec.os.name == 'windows') || (has(variables.spec.nodeSelector) && \
         'kubernetes.io/os' in variables.spec.nodeSelector && variables.spec.nodeSelector['kubernetes.io/os'] == 'windows')",
    );
    port(&mut variables);
    variables.annotation("preStop", PRE_STOP, "true");
    taken(&mut variables);
    variables
}

/// What a pod's sidecar is made of besides.
pub(super) fn making_sidecars(settings: &Settings) -> Variables {
    let mut variables = Variables::default();
    for (slot, image) in
        [(Slot::EnvoyImage, &settings.envoy_image), (Slot::ExporterImage, &settings.exporter_image)]
    {
        variables.add(variable_name(slot), text(image));
    }
    hook(&mut variables);
    variables.add(
        "environment",
        "has(variables.app.env) ? variables.app.env.filter(e, has(e.value) && e.value != '' && !e.value.contains('$')) \
         : []",
    );
    variables.identity(Slot::ModelName, &MODEL);
    variables.identity(Slot::ModelVersion, &VERSION);
    variables.identity(Slot::ModelFramework, &FRAMEWORK);
    deployment(&mut variables);
    variables
}

fn metadata(variables: &mut Variables, root: &str) {
    for map in ["annotations", "labels"] {
        let field = format!("{root}.metadata.{map}");
        variables.add(map, format!("has({field}) ? {field} : {{}}"));
    }
    variables.annotation("inject", INJECT, "false");
    variables.annotation("port", APP_PORT, "");
}

fn port(variables: &mut Variables) {
    let others = list(&NEVER_THE_APP);
    variables.add("others", format!("variables.spec.containers.filter(c, !(c.name in {others}))"));
    variables.add("apps", "size(variables.others) > 0 ? variables.others : variables.spec.containers");
    variables.add(
        "holders",
        format!("variables.apps.filter(c, has(c.ports) && c.ports.exists(p, {TCP} && {MEANT}))"),
    );
    variables.add(
        "app",
        "variables.port != '' && size(variables.holders) > 0 ? variables.holders[0] : variables.apps[0]",
    );
    variables.add(
        "ports",
        format!(
            "has(variables.app.ports) ? variables.app.ports.filter(p, {TCP} && (variables.port == '' ? {} : {MEANT})) : []",
            may_take_calls()
        ),
    );
    variables.add(
        variable_name(Slot::AppPort),
        "size(variables.ports) > 0 ? string(variables.ports[0].containerPort) : \
         (variables.port.matches('^[1-9][0-9]{0,4}$') && int(variables.port) <= 65535 ? variables.port : '')",
    );
    variables.add(
        variable_name(Slot::AppPortName),
        "size(variables.ports) > 0 && has(variables.ports[0].name) ? variables.ports[0].name : ''",
    );
    let callable = may_take_calls();
    variables.add(
        "severalPorts",
        format!(
            "size(variables.apps.filter(c, has(c.ports) && c.ports.exists(p, {TCP} && {callable}))) > 1 || \
             variables.apps.exists(c, has(c.ports) && size(c.ports.filter(p, {TCP} && {callable})) > 1)"
        ),
    );
    variables.add("speaksTls", format!("{}.exists(t, variables.appPortName.startsWith(t))", list(&TLS)));
}

/// Whether the app gets a `preStop` hook, and which container it is.
fn hook(variables: &mut Variables) {
    variables.add("index", "variables.spec.containers.map(c, c.name).indexOf(variables.app.name)");
    variables.add(
        "hook",
        format!(
            "variables.preStop != 'false' && (!has(variables.app.lifecycle) || !has(variables.app.lifecycle.preStop)) && \
             (!has(variables.spec.terminationGracePeriodSeconds) || variables.spec.terminationGracePeriodSeconds >= \
             {TIME_FOR_A_HOOK})"
        ),
    );
}

fn taken(variables: &mut Variables) {
    let [http, metrics] = PORTS;
    let mounts = format!("exists(c, has(c.volumeMounts) && c.volumeMounts.exists(m, m.name == '{VOLUME}'))");
    let names = list(&[HTTP_PORT_NAME, METRICS_PORT_NAME]);
    variables.add(
        "portsTaken",
        format!(
            "variables.spec.containers.exists(c, has(c.ports) && c.ports.exists(p, p.containerPort in [{http}, {metrics}] \
             || (has(p.name) && p.name in {names}))) || variables.appPort in ['{http}', '{metrics}']"
        ),
    );
    variables.add("containersTaken", containers_taken("variables.spec"));
    variables.add(
        "volumeTaken",
        format!(
            "(has(variables.spec.volumes) && variables.spec.volumes.exists(v, v.name == '{VOLUME}')) || \
             variables.spec.containers.{mounts} || \
             (has(variables.spec.initContainers) && variables.spec.initContainers.{mounts})"
        ),
    );
}

/// Whether a container of this specification has a name of the sidecar's.
pub(super) fn containers_taken(spec: &str) -> String {
    let exists = format!("exists(c, c.name in {})", list(&CONTAINERS));
    format!("{spec}.containers.{exists} || (has({spec}.initContainers) && {spec}.initContainers.{exists})")
}

fn deployment(variables: &mut Variables) {
    variables.add(
        "owner",
        "has(object.metadata.ownerReferences) && size(object.metadata.ownerReferences) > 0 ? \
         object.metadata.ownerReferences[0] : {'kind': '', 'name': ''}",
    );
    let hash = text(TEMPLATE_HASH);
    variables.add("hash", format!("{hash} in variables.labels ? '-' + variables.labels[{hash}] : '-'"));
    let owners = list(&NAMING_OWNERS);
    variables.add(
        variable_name(Slot::Deployment),
        format!(
            "!(variables.owner.kind in {owners}) ? {} : (variables.owner.kind == 'ReplicaSet' && variables.hash != '-' && \
             variables.owner.name.endsWith(variables.hash) ? variables.owner.name.substring(0, \
             size(variables.owner.name) - size(variables.hash)) : variables.owner.name)",
            Variables::label(&[INSTANCE])
        ),
    );
}

/// What the faults of a Service are told by.
pub(super) fn judging_services() -> Variables {
    let mut variables = Variables::default();
    metadata(&mut variables, "object");
    variables.add(
        "balanced",
        "has(object.spec.selector) && size(object.spec.selector) > 0 && (!has(object.spec.type) || object.spec.type != \
         'ExternalName') && (!has(object.spec.clusterIP) || object.spec.clusterIP != 'None')",
    );
    variables.add("ports", "has(object.spec.ports) ? object.spec.ports : []");
    variables.add(
        "chosen",
        format!(
            "variables.ports.filter(p, {TCP} && (!('{APP_PORT}' in variables.annotations) || (has(p.name) && p.name == \
             variables.port) || string(p.port) == variables.port))"
        ),
    );
    variables
}

/// Where a Service led and is to lead.
pub(super) fn leading_services() -> Variables {
    let mut variables = Variables::default();
    variables.add("keys", "variables.ports.map(p, string(p.port) + (has(p.protocol) ? p.protocol : 'TCP'))");
    variables.add("index", "variables.keys.indexOf(string(variables.chosen[0].port) + 'TCP')");
    variables.add(
        "target",
        "has(variables.chosen[0].targetPort) ? string(variables.chosen[0].targetPort) : string(variables.chosen[0].port)",
    );
    variables.annotation("kept", TARGET_PORT, "");
    variables.add(
        "before",
        "variables.kept.matches('^[0-9]{1,5}$') ? dyn(int(variables.kept)) : dyn(variables.kept)",
    );
    variables
}
