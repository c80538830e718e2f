//! Reads a pod: which container is the app, its port, and its model.
//!
//! `policy` does the same in CEL. A test on a real API server compares the two.

use serde_json::{Map, Value};

use crate::annotations::{
    APP_PORT, APP_PORT_NAME, CONTAINERS, INJECT, INJECTED, MODEL_NAME, MODEL_VERSION, MOVE_APP,
    NEVER_THE_APP, NOT_FOR_CALLS, PORT_NAMES, PORTS, PRE_STOP, QUEUE_PROXY, TLS, VOLUMES,
};
use crate::moving::Move;
use crate::quantity::{Bound, Resource};

/// Sources of one of the exporter's variables, in this order: the annotation, the app's variable of that name, the
/// labels.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The variable.
    pub variable: &'static str,
    /// The annotation.
    pub annotation: Option<&'static str>,
    /// The labels, in order of precedence.
    pub labels: &'static [&'static str],
}

/// `MODEL_NAME`
pub const MODEL: Identity = Identity {
    variable: "MODEL_NAME",
    annotation: Some(MODEL_NAME),
    labels: &["app.kubernetes.io/name", "app"],
};
/// `MODEL_VERSION`
pub const VERSION: Identity = Identity {
    variable: "MODEL_VERSION",
    annotation: Some(MODEL_VERSION),
    labels: &["app.kubernetes.io/version", "version"],
};
/// `MODEL_FRAMEWORK`
pub const FRAMEWORK: Identity = Identity { variable: "MODEL_FRAMEWORK", annotation: None, labels: &[] };

/// The label that a ReplicaSet adds to its pods.
pub const TEMPLATE_HASH: &str = "pod-template-hash";
/// The label that names the workload if no owner does.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Kinds of owners that outlive their pods and whose names people know.
pub const NAMING_OWNERS: [&str; 3] = ["ReplicaSet", "StatefulSet", "DaemonSet"];

/// A pod with a shorter grace period gets no hook, because the hook would use up the app's time to stop. The API server
/// rejects a hook that sleeps longer than the grace period.
pub const TIME_FOR_A_HOOK: i64 = 10;

/// A pod, or the template of one.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a>(pub &'a Value);

/// The app's port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Its number, as digits. Empty if unknown.
    pub number: String,
    /// Its name. Empty if it has none.
    pub name: String,
}

impl<'a> Pod<'a> {
    /// The value of an annotation.
    pub fn annotation(self, name: &str) -> Option<&'a str> {
        text(self.0.pointer("/metadata/annotations"), name)
    }

    /// The value of a label.
    pub fn label(self, name: &str) -> Option<&'a str> {
        text(self.0.pointer("/metadata/labels"), name)
    }

    /// Whether the pod has the annotation with any value but `false`.
    pub fn asks(self) -> bool {
        self.annotation(INJECT).is_some_and(|value| value != "false")
    }

    /// Whether the pod has the sidecar already: a container with one of its names, and the injector's label.
    pub fn is_injected(self) -> bool {
        self.label(INJECTED) == Some("true") && self.uses_our_containers()
    }

    /// Whether a container has one of the sidecar's names.
    pub fn uses_our_containers(self) -> bool {
        let containers = self.containers().chain(list(self.spec("initContainers")));
        containers.filter_map(name).any(|name| CONTAINERS.contains(&name))
    }

    /// A field of the pod's specification.
    pub fn spec(self, field: &str) -> Option<&'a Value> {
        self.0.get("spec")?.get(field)
    }

    /// The containers that are not init containers.
    pub fn containers(self) -> impl Iterator<Item = &'a Value> {
        list(self.spec("containers"))
    }

    /// The value of `scoretap.dev/app-port`, or an empty string.
    pub fn wanted_port(self) -> &'a str {
        self.annotation(APP_PORT).unwrap_or_default()
    }

    /// The containers that may be the app.
    fn apps(self) -> Vec<&'a Value> {
        let is_app = |container: &&Value| name(container).is_none_or(|name| !NEVER_THE_APP.contains(&name));
        let apps: Vec<_> = self.containers().filter(is_app).collect();
        if apps.is_empty() { self.containers().collect() } else { apps }
    }

    /// Whether several TCP ports could be the app's. Names do not decide: `http` may be a web page.
    pub fn has_several_ports(self) -> bool {
        self.apps().into_iter().flat_map(declared).filter(may_take_calls).nth(1).is_some()
    }

    /// The container that takes the calls: the first that declares the annotated port, or without an annotation the
    /// first.
    pub fn app(self) -> Option<&'a Value> {
        let apps = self.apps();
        let wanted = self.wanted_port();
        let declares = |container: &&&Value| declared(container).any(|port| is(port, wanted));
        let holder = if wanted.is_empty() { None } else { apps.iter().find(declares) };
        holder.or(apps.first()).copied()
    }

    /// The position of [`Self::app`] among the containers.
    pub fn app_index(self) -> Option<usize> {
        let app = self.app()?;
        self.containers().position(|container| std::ptr::eq(container, app))
    }

    /// Whether the app gets a `preStop` hook: it has none, and the grace period is long enough.
    pub fn needs_hook(self) -> bool {
        let hook = self.app().and_then(|app| app.pointer("/lifecycle/preStop"));
        let time = self.spec("terminationGracePeriodSeconds").and_then(Value::as_i64);
        let wanted = self.annotation(PRE_STOP) != Some("false");
        wanted && hook.is_none_or(Value::is_null) && time.is_none_or(|time| time >= TIME_FOR_A_HOOK)
    }

    /// How the app moves, if the annotation is there and valid.
    pub fn moves(self) -> Option<Move<'a>> {
        self.annotation(MOVE_APP).and_then(Move::parse)
    }

    /// The names that the app's container declares for the app's port.
    pub fn app_port_names(self) -> impl Iterator<Item = &'a str> {
        let app_port = self.app_port().number;
        let ports = self.app().into_iter().flat_map(declared);
        ports.filter(move |port| number(port) == app_port).filter_map(name)
    }

    /// Whether another container declares a name of the app's port. Calls by that name may be meant for that container.
    pub fn shares_its_port_name(self) -> bool {
        let app = self.app_index();
        let others = self.containers().enumerate().filter(|(index, _)| Some(*index) != app);
        let sidecars = list(self.spec("initContainers"))
            .filter(|container| container.get("restartPolicy").is_some_and(|policy| policy == "Always"));
        let mut ports = others.map(|(_, container)| container).chain(sidecars).flat_map(declared);
        ports.any(|port| name(port).is_some_and(|name| self.app_port_names().any(|own| own == name)))
    }

    /// Whether the pod shares the node's network.
    pub fn is_host_network(self) -> bool {
        self.spec("hostNetwork").is_some_and(|value| value == true)
    }

    /// Whether the app's port has a `hostPort`.
    pub fn has_host_port(self) -> bool {
        let app_port = self.app_port().number;
        let mut ports = self.app().into_iter().flat_map(declared).filter(|port| number(port) == app_port);
        ports.any(|port| port.get("hostPort").and_then(Value::as_u64).is_some_and(|number| number > 0))
    }

    /// Whether the app's container declares other ports that may take calls.
    pub fn has_other_ports(self) -> bool {
        let app_port = self.app_port().number;
        let mut ports = self.app().into_iter().flat_map(declared).filter(may_take_calls);
        ports.any(|port| number(port) != app_port && name(port) != Some(APP_PORT_NAME))
    }

    /// Whether the app's port has a name, before injection or after.
    pub fn has_port_name(self) -> bool {
        let mut declared = self.app().into_iter().flat_map(declared);
        self.app_port_names().next().is_some() || declared.any(|port| name(port) == Some(APP_PORT_NAME))
    }

    /// Whether Knative's proxy is in the pod, which calls the app on loopback.
    pub fn is_serverless(self) -> bool {
        self.containers().any(|container| name(container) == Some(QUEUE_PROXY))
    }

    /// The request or limit of a sidecar container. In a pod with pod-level resources, all containers share those.
    pub fn quantity(self, resource: Resource, bound: Bound, setting: &'a str) -> &'a str {
        let shared = self.spec("resources").filter(|resources| !resources.is_null());
        let otherwise = if shared.is_some() { crate::quantity::NONE } else { setting };
        self.annotation(bound.annotation(resource)).unwrap_or(otherwise)
    }

    /// The app's port. It has no number if the annotation names a port that no container declares, or if there is
    /// neither an annotation nor a declaration.
    pub fn app_port(self) -> Port {
        let wanted = self.wanted_port();
        let is_meant =
            |port: &&Value| if wanted.is_empty() { may_take_calls(port) } else { is(port, wanted) };
        let declared = self.app().and_then(|app| declared(app).find(is_meant));
        match declared {
            Some(port) => Port { number: number(port), name: name(port).unwrap_or_default().to_owned() },
            None if is_number(wanted) => Port { number: wanted.to_owned(), name: String::new() },
            None => Port::default(),
        }
    }

    /// Whether the name of the app's port says that the app itself terminates TLS.
    pub fn speaks_tls(self) -> bool {
        let name = self.app_port().name;
        TLS.iter().any(|protocol| name.starts_with(protocol))
    }

    /// The value of one of the exporter's variables. Empty if no source has it.
    pub fn identity(self, identity: &Identity) -> &'a str {
        let annotation = identity.annotation.and_then(|name| self.annotation(name));
        let environment = || self.app().and_then(|app| variable(app, identity.variable));
        let label = || identity.labels.iter().find_map(|name| self.label(name));
        annotation.or_else(environment).or_else(label).unwrap_or_default()
    }

    /// The workload that the pod belongs to. Empty if unknown.
    pub fn deployment(self) -> &'a str {
        let owner = list(self.0.pointer("/metadata/ownerReferences")).next();
        let kind = owner.and_then(|owner| owner.get("kind")).and_then(Value::as_str).unwrap_or_default();
        if !NAMING_OWNERS.contains(&kind) {
            return self.label(INSTANCE).unwrap_or_default();
        }
        let owner = owner.and_then(name).unwrap_or_default();
        let hash = self.label(TEMPLATE_HASH).filter(|_| kind == "ReplicaSet");
        let without = hash.and_then(|hash| owner.strip_suffix(hash)?.strip_suffix('-'));
        without.unwrap_or(owner)
    }

    /// Whether the pod is for Windows nodes.
    pub fn is_windows(self) -> bool {
        let os = self.spec("os").and_then(name);
        os == Some("windows") || text(self.spec("nodeSelector"), "kubernetes.io/os") == Some("windows")
    }

    /// Whether the pod uses a port of the sidecar, by number or by name.
    pub fn uses_our_ports(self) -> bool {
        let is_ours = |port: &Value| {
            let number = port.get("containerPort").and_then(Value::as_u64);
            number.is_some_and(|number| PORTS.iter().any(|ours| u64::from(*ours) == number))
                || name(port).is_some_and(|name| PORT_NAMES.contains(&name))
        };
        let declared = self.containers().flat_map(|container| list(container.get("ports"))).any(is_ours);
        declared || PORTS.iter().any(|port| self.app_port().number == port.to_string())
    }

    /// Whether the pod has a volume with one of the sidecar's names, or mounts such a volume without having it.
    /// Injection would add the missing volume, and the app could open Envoy's admin socket.
    pub fn uses_our_volumes(self) -> bool {
        let containers = self.containers().chain(list(self.spec("initContainers")));
        let mounts = containers.flat_map(|container| list(container.get("volumeMounts")));
        list(self.spec("volumes")).chain(mounts).filter_map(name).any(|name| VOLUMES.contains(&name))
    }
}

/// The elements of a list; none if it is missing.
pub fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// The field `name` of an object.
pub fn name(value: &Value) -> Option<&str> {
    value.get("name")?.as_str()
}

/// Whether a text is a port's number, 1 to 65535 without leading zeros.
pub fn is_number(text: &str) -> bool {
    (1..=5).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0')
        && text.parse::<u16>().is_ok()
}

fn text<'a>(map: Option<&'a Value>, key: &str) -> Option<&'a str> {
    map.and_then(Value::as_object).and_then(|map: &Map<String, Value>| map.get(key))?.as_str()
}

/// The TCP ports that a container declares.
fn declared(container: &Value) -> impl Iterator<Item = &Value> {
    list(container.get("ports")).filter(|port| is_tcp(port))
}

/// Whether a declared port is TCP, the default.
pub fn is_tcp(port: &Value) -> bool {
    port.get("protocol").is_none_or(|protocol| protocol == "TCP")
}

/// Whether a declared port may be the app's, going by its name.
pub fn may_take_calls(port: &&Value) -> bool {
    !name(port).is_some_and(|name| name.split('-').any(|word| NOT_FOR_CALLS.contains(&word)))
}

fn is(port: &Value, wanted: &str) -> bool {
    name(port) == Some(wanted) || number(port) == wanted
}

/// The number of a declared port, as digits.
pub(crate) fn number(port: &Value) -> String {
    port.get("containerPort").map(ToString::to_string).unwrap_or_default()
}

/// The literal value of a variable. References to another variable or to a Secret do not belong in a label. If a name
/// is repeated, the kubelet takes the last one.
fn variable<'a>(container: &'a Value, variable: &str) -> Option<&'a str> {
    let found = list(container.get("env")).filter(|entry| name(entry) == Some(variable));
    let plain = found.filter_map(|entry| entry.get("value")?.as_str());
    plain.filter(|value| !value.is_empty() && !value.contains('$')).last()
}
