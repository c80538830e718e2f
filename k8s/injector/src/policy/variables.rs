//! CEL for the values that `pod`, `ports` and `moving` read from a pod.

use serde_json::{Value, json};

use super::literal::{list, text, variable_name};
use super::values::Values;
use crate::annotations::{
    APP_PORT, APP_PORT_NAME, BASELINE_CONFIG, CONFIG, CONTAINERS, DIALECT, DIALECT_CONFIG, ENVOY, INJECT,
    INSIGHT, INSIGHT_PERCENT, MODEL_NAME, MODEL_VERSION, MOVE_APP, MOVED_APP, NEVER_THE_APP, NOT_FOR_CALLS,
    PORT_NAMES, PORTS, PRE_STOP, QUEUE_PROXY, TLS, VOLUMES,
};
use crate::dialect;
use crate::faults::{FAULTS, LONGEST_SHOWN, PLACEHOLDERS};
use crate::moving::{PATTERN, PLACEHOLDER, SCRIPT_FLAG, SHELL};
use crate::pod::{
    FRAMEWORK, INSTANCE, Identity, MODEL, NAMING_OWNERS, TEMPLATE_HASH, TIME_FOR_A_HOOK, VERSION,
};
use crate::quantity::{Bound, NONE, Resource};
use crate::slots::{Part, Slot};

/// Variables of a policy. Each may use earlier ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(Vec<(String, String)>);

impl Variables {
    pub(super) fn add(&mut self, name: impl Into<String>, cel: impl Into<String>) {
        self.0.push((name.into(), cel.into()));
    }

    pub(super) fn to_value(&self) -> Value {
        self.0.iter().map(|(name, cel)| json!({"name": name, "expression": cel})).collect()
    }

    pub(super) fn extend(&mut self, those: Self) {
        self.0.extend(those.0);
    }

    fn annotation(&mut self, variable: &str, annotation: &str, otherwise: &str) {
        let key = text(annotation);
        self.add(
            variable,
            format!("{key} in variables.annotations ? variables.annotations[{key}] : {}", text(otherwise)),
        );
    }

    /// The value of the first of these labels that the pod has.
    fn label(labels: &[&str]) -> String {
        labels.iter().rev().fold("''".to_owned(), |otherwise, label| {
            let key = text(label);
            format!("({key} in variables.labels ? variables.labels[{key}] : {otherwise})")
        })
    }

    fn identity(&mut self, slot: Slot, identity: &Identity) {
        let name = variable_name(slot);
        let set = format!("{name}Set");
        self.add(&set, format!("variables.environment.filter(e, e.name == '{}')", identity.variable));
        let label = Self::label(identity.labels);
        let set =
            format!("size(variables.{set}) > 0 ? variables.{set}[size(variables.{set}) - 1].value : {label}");
        let cel = match identity.annotation.map(text) {
            Some(key) => format!("{key} in variables.annotations ? variables.annotations[{key}] : ({set})"),
            None => set,
        };
        self.add(name, cel);
    }
}

/// Whether port `p` is TCP.
const TCP: &str = "(!has(p.protocol) || p.protocol == 'TCP')";
/// Whether the annotation names port `p`.
const MEANT: &str =
    "((has(p.name) && p.name == variables.port) || string(p.containerPort) == variables.port)";
/// Whether port `p` has the app's number.
const APP: &str = "string(p.containerPort) == variables.appNumber";

/// Whether port `p` may be the app's if the annotation is missing.
fn may_take_calls() -> String {
    format!("(!has(p.name) || !p.name.matches('(^|-)({})(-|$)'))", NOT_FOR_CALLS.join("|"))
}

fn dialects(variables: &mut Variables) {
    variables.annotation("dialect", DIALECT, dialect::DEFAULT);
    variables.annotation("dialectConfig", DIALECT_CONFIG, "");
    variables.annotation("baselineConfig", BASELINE_CONFIG, "");
    variables.add("dialects", "variables.dialect.split(',')");
    let names: Vec<String> = dialect::names().map(text).collect();
    variables.add("dialectsKnown", format!("variables.dialects.all(d, d in [{}])", names.join(", ")));
    let conflicts = dialect::CONFLICTS.iter().map(|(one, other)| format!("[{}, {}]", text(one), text(other)));
    let conflicts = conflicts.collect::<Vec<_>>().join(", ");
    variables.add("dialectsConflict", format!("[{conflicts}].exists(c, c.all(d, d in variables.dialects))"));
}

/// The variables of the faults and notices, for the pod at `root`.
pub(super) fn judging(root: &str, values: Values<'_>) -> Variables {
    let mut variables = Variables::default();
    metadata(&mut variables, root);
    variables.add("spec", format!("{root}.spec"));
    variables.annotation("config", CONFIG, "");
    variables.annotation("insight", INSIGHT, "false");
    variables.annotation("insightPercent", INSIGHT_PERCENT, "100");
    dialects(&mut variables);
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
    variables.add("hostNetwork", "has(variables.spec.hostNetwork) && variables.spec.hostNetwork");
    variables.add("serverless", format!("variables.spec.containers.exists(c, c.name == '{QUEUE_PROXY}')"));
    port(&mut variables);
    moving(&mut variables);
    declarations(&mut variables);
    quantities(&mut variables, values);
    variables.annotation("preStop", PRE_STOP, "true");
    taken(&mut variables);
    let faults: Vec<_> = FAULTS.iter().map(|fault| format!("({})", fault.cel)).collect();
    variables.add("faulty", faults.join(" ||\n"));
    shown(&mut variables);
    variables
}

/// The additional variables of the mutation.
pub(super) fn making(values: Values<'_>) -> Variables {
    let mut variables = Variables::default();
    for slot in [Slot::EnvoyImage, Slot::ExporterImage] {
        variables.add(variable_name(slot), values.string(slot));
    }
    variables.add("index", "variables.spec.containers.map(c, c.name).indexOf(variables.app.name)");
    variables.add("path", "'/spec/containers/' + string(variables.index)");
    hook(&mut variables);
    layout(&mut variables);
    variables.add(
        "environment",
        "variables.env.filter(e, has(e.value) && e.value != '' && !e.value.contains('$'))",
    );
    variables.identity(Slot::ModelName, &MODEL);
    variables.identity(Slot::ModelVersion, &VERSION);
    variables.identity(Slot::ModelFramework, &FRAMEWORK);
    deployment(&mut variables);
    variables
}

/// Values of annotations, cut to fit into a warning. The API server drops a warning with a control character.
fn shown(variables: &mut Variables) {
    for (_, _, variable) in PLACEHOLDERS {
        let cut = format!(
            "size(variables.{variable}) > {LONGEST_SHOWN} ? variables.{variable}.substring(0, {LONGEST_SHOWN}) : \
             variables.{variable}"
        );
        variables.add(format!("{variable}Shown"), cut);
    }
}

fn metadata(variables: &mut Variables, root: &str) {
    for map in ["annotations", "labels"] {
        let field = format!("{root}.metadata.{map}");
        variables.add(map, format!("has({field}) ? {field} : {{}}"));
    }
    variables.annotation("inject", INJECT, "false");
    variables.annotation("port", APP_PORT, "");
    variables.annotation("move", MOVE_APP, "");
    variables.add("asksToMove", format!("'{MOVE_APP}' in variables.annotations"));
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
        "appNumber",
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

/// `pod::Pod::moves` and the conditions of `moving::Move` for faults.
fn moving(variables: &mut Variables) {
    variables.add("moves", format!("variables.move.matches({})", text(PATTERN)));
    variables.add("moveWords", "variables.move.split(' ')");
    variables.add("movesBy", "variables.moves ? variables.moveWords[0] : ''");
    variables.add("moveName", "variables.moves ? variables.moveWords[1] : ''");
    variables.add(
        "moveTemplate",
        format!(
            "size(variables.moveWords) > 2 ? variables.move.substring(size(variables.moveWords[0]) + \
             size(variables.moveWords[1]) + 2) : '{PLACEHOLDER}'"
        ),
    );
    variables.add("env", "has(variables.app.env) ? variables.app.env : []");
    variables.add("moveHeld", "variables.env.filter(e, e.name == variables.moveName)");
    variables.add("command", "has(variables.app.command) ? variables.app.command : []");
    variables.add("words", "variables.command + (has(variables.app.args) ? variables.app.args : [])");
    let (shell, flag) = (text(SHELL), text(SCRIPT_FLAG));
    variables.add(
        "shellScript",
        format!(
            "(variables.words.exists(w, w.matches({shell})) && variables.words.exists(w, w.matches({flag}))) || \
             (size(variables.command) == 0 && size(variables.words) > 1 && variables.words[0].matches({flag}) && \
             variables.words[1].contains(' '))"
        ),
    );
    variables.add(
        "moveReplaced",
        "variables.movesBy == 'env' ? variables.moveHeld.filter(e, has(e.value)).map(e, e.value) : \
         variables.words.filter(w, w.startsWith(variables.moveName + '=')).map(w, \
         w.substring(size(variables.moveName) + 1)) + variables.words.transformList(i, w, i > 0 && \
         variables.words[i - 1] == variables.moveName, w)",
    );
}

/// The pod's declarations of the app's port.
fn declarations(variables: &mut Variables) {
    variables
        .add("declared", format!("has(variables.app.ports) ? variables.app.ports.filter(p, {TCP}) : []"));
    variables.add("portNames", format!("variables.declared.filter(p, has(p.name) && {APP}).map(p, p.name)"));
    let shared =
        format!("has(c.ports) && c.ports.exists(p, {TCP} && has(p.name) && p.name in variables.portNames)");
    variables.add(
        "nameShared",
        format!(
            "variables.spec.containers.exists(c, c.name != variables.app.name && {shared}) || \
             (has(variables.spec.initContainers) && variables.spec.initContainers.exists(c, has(c.restartPolicy) && \
             c.restartPolicy == 'Always' && {shared}))"
        ),
    );
    variables
        .add("hostPort", format!("variables.declared.exists(p, {APP} && has(p.hostPort) && p.hostPort > 0)"));
    let is_app = format!("has(p.name) && p.name == '{APP_PORT_NAME}'");
    variables
        .add("portNamed", format!("size(variables.portNames) > 0 || variables.declared.exists(p, {is_app})"));
    variables.add(
        "otherPorts",
        format!("variables.declared.exists(p, {} && !({APP}) && !({is_app}))", may_take_calls()),
    );
}

/// Requests and limits of the sidecar's containers.
fn quantities(variables: &mut Variables, values: Values<'_>) {
    for slot in Slot::quantities() {
        let Slot::Quantity(_, resource, bound) = slot else { continue };
        let key = text(bound.annotation(resource));
        variables.add(
            variable_name(slot),
            format!(
                "{key} in variables.annotations ? variables.annotations[{key}] : has(variables.spec.resources) ? '{NONE}' : {}",
                values.string(slot)
            ),
        );
    }
    for resource in Resource::ALL {
        let name = resource.as_str();
        let valid = Bound::ALL.map(|bound| {
            let key = text(bound.annotation(resource));
            let none = if bound == Bound::Limit { format!("|{NONE}") } else { String::new() };
            format!(
                "(!({key} in variables.annotations) || variables.annotations[{key}].matches('^({}{none})$'))",
                resource.pattern()
            )
        });
        variables.add(format!("{name}Valid"), valid.join(" && "));
        let exceeds = Part::ALL.map(|part| {
            let [request, limit] = Bound::ALL
                .map(|bound| format!("variables.{}", variable_name(Slot::Quantity(part, resource, bound))));
            format!(
                "({request} != '{NONE}' && {limit} != '{NONE}' && \
                 quantity({request}).compareTo(quantity({limit})) > 0)"
            )
        });
        variables.add(format!("{name}ExceedsLimit"), exceeds.join(" || "));
    }
}

/// `ports::Layout`
fn layout(variables: &mut Variables) {
    let envoy = format!("variables.moves ? variables.appNumber : '{ENVOY}'");
    let ready = format!("variables.moves ? '{MOVED_APP}' : '{ENVOY}'");
    variables.add(variable_name(Slot::EnvoyPort), envoy);
    variables.add(variable_name(Slot::ReadyPort), ready);
    variables
        .add(variable_name(Slot::AppPort), format!("variables.moves ? '{MOVED_APP}' : variables.appNumber"));
    variables.add("handlerPorts", "variables.portNames + (variables.moves ? [variables.appNumber] : [])");
    variables.add("moveValue", format!("variables.moveTemplate.replace('{PLACEHOLDER}', '{MOVED_APP}')"));
    variables.add(
        "sysctls",
        "has(object.spec.securityContext) && has(object.spec.securityContext.sysctls) ? \
         object.spec.securityContext.sysctls : []",
    );
}

/// Whether the app gets a `preStop` hook.
fn hook(variables: &mut Variables) {
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
    let numbers = PORTS.map(|port| port.to_string());
    let (names, volumes) = (list(&PORT_NAMES), list(&VOLUMES));
    let mounts = format!("exists(c, has(c.volumeMounts) && c.volumeMounts.exists(m, m.name in {volumes}))");
    variables.add(
        "portsTaken",
        format!(
            "variables.spec.containers.exists(c, has(c.ports) && c.ports.exists(p, p.containerPort in [{}] || \
             (has(p.name) && p.name in {names}))) || variables.appNumber in {}",
            numbers.join(", "),
            list(&numbers.each_ref().map(String::as_str)),
        ),
    );
    variables.add("containersTaken", containers_taken("variables.spec"));
    variables.add(
        "volumesTaken",
        format!(
            "(has(variables.spec.volumes) && variables.spec.volumes.exists(v, v.name in {volumes})) || \
             variables.spec.containers.{mounts} || \
             (has(variables.spec.initContainers) && variables.spec.initContainers.{mounts})"
        ),
    );
}

/// Whether a container of this specification has one of the sidecar's names.
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
