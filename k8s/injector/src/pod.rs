//! A pod as the injector reads it: which container is the app, on which port, and what model it serves.
//!
//! `policy` says the same in CEL; a test holds the two against each other.

use serde_json::{Map, Value};

use crate::annotations::{
    APP_PORT, CONTAINERS, INJECT, INJECTED, MODEL_NAME, MODEL_VERSION, NEVER_THE_APP, NOT_FOR_CALLS,
    PRE_STOP, TLS, VOLUME,
};

/// Where a variable of the exporter comes from, the first of them that says something.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The variable, by which the app's own environment is asked too.
    pub variable: &'static str,
    /// The annotation, which comes first.
    pub annotation: Option<&'static str>,
    /// The labels, which come last.
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

/// The label by which a ReplicaSet tells its pods from those of other revisions.
pub const TEMPLATE_HASH: &str = "pod-template-hash";
/// The label that names the workload where no owner does.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Owners that outlive their pods and bear the name that people know.
pub const NAMING_OWNERS: [&str; 3] = ["ReplicaSet", "StatefulSet", "DaemonSet"];

/// A pod that is given less time to end keeps it for itself: it would be gone before its hook is over, or just after.
/// An API server refuses a hook that sleeps for longer than there is time.
pub const TIME_FOR_A_HOOK: i64 = 10;

/// A pod, or the template of one.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a>(pub &'a Value);

/// The app's port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Its number, as digits. Empty where there is none.
    pub number: String,
    /// Its name. Empty where it has none.
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

    /// Whether the pod says anything of injection but no.
    pub fn asks(self) -> bool {
        self.annotation(INJECT).is_some_and(|value| value != "false")
    }

    /// Whether a part of the sidecar is there, and the label by which it is not the pod's own.
    pub fn is_injected(self) -> bool {
        self.label(INJECTED) == Some("true") && self.uses_our_containers()
    }

    /// Whether a container has a name of the sidecar's.
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

    /// What `scoretap.dev/app-port` says, else nothing.
    pub fn wanted_port(self) -> &'a str {
        self.annotation(APP_PORT).unwrap_or_default()
    }

    /// The containers that may be the app.
    fn apps(self) -> Vec<&'a Value> {
        let is_app = |container: &&Value| name(container).is_none_or(|name| !NEVER_THE_APP.contains(&name));
        let apps: Vec<_> = self.containers().filter(is_app).collect();
        if apps.is_empty() { self.containers().collect() } else { apps }
    }

    /// Whether more than one of their TCP ports could be the app's. No name tells for sure which of them is: `http` may be
    /// a page for people.
    pub fn has_several_ports(self) -> bool {
        self.apps().into_iter().flat_map(declared).filter(may_take_calls).nth(1).is_some()
    }

    /// The container that takes the calls.
    ///
    /// Without an annotation the first; with one the first that declares the port, if any does.
    fn app(self) -> Option<&'a Value> {
        let apps = self.apps();
        let wanted = self.wanted_port();
        let declares = |container: &&&Value| declared(container).any(|port| is(port, wanted));
        let holder = if wanted.is_empty() { None } else { apps.iter().find(declares) };
        holder.or(apps.first()).copied()
    }

    /// Which of the containers is the app, if it is to get a `preStop` hook: it has none, and the pod's time allows for
    /// one.
    pub fn app_without_hook(self) -> Option<usize> {
        let app = self.app()?;
        let has_hook = app.pointer("/lifecycle/preStop").is_some_and(|hook| !hook.is_null());
        let time = self.spec("terminationGracePeriodSeconds").and_then(Value::as_i64);
        let wanted = self.annotation(PRE_STOP) != Some("false");
        let index = self.containers().position(|container| std::ptr::eq(container, app));
        index.filter(|_| wanted && !has_hook && time.is_none_or(|time| time >= TIME_FOR_A_HOOK))
    }

    /// The app's port. Where a name is wanted that nobody declares, or nothing is wanted or declared, it has no number.
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

    /// Whether the app's port is named as one behind which the app speaks TLS itself.
    pub fn speaks_tls(self) -> bool {
        let name = self.app_port().name;
        TLS.iter().any(|protocol| name.starts_with(protocol))
    }

    /// Who the pod is in one respect. Empty where nothing says.
    pub fn identity(self, identity: &Identity) -> &'a str {
        let annotation = identity.annotation.and_then(|name| self.annotation(name));
        let environment = || self.app().and_then(|app| variable(app, identity.variable));
        let label = || identity.labels.iter().find_map(|name| self.label(name));
        annotation.or_else(environment).or_else(label).unwrap_or_default()
    }

    /// The workload that the pod belongs to. Empty where nothing says.
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

    /// Whether it is for Windows nodes, as far as it says.
    pub fn is_windows(self) -> bool {
        let os = self.spec("os").and_then(name);
        os == Some("windows") || text(self.spec("nodeSelector"), "kubernetes.io/os") == Some("windows")
    }

    /// Whether a port of the sidecar's is already declared, by number or by name.
    pub fn uses_our_ports(self) -> bool {
        use crate::annotations::{HTTP_PORT_NAME, METRICS_PORT_NAME, PORTS};
        let ours = |port: &Value| {
            port.get("containerPort").and_then(Value::as_u64).is_some_and(|number| PORTS.contains(&number))
                || name(port).is_some_and(|name| [HTTP_PORT_NAME, METRICS_PORT_NAME].contains(&name))
        };
        let declared = self.containers().flat_map(|container| list(container.get("ports"))).any(ours);
        declared || PORTS.iter().any(|port| self.app_port().number == port.to_string())
    }

    /// Whether the pod has a volume of the sidecar's name, or mounts one that it does not have: injected, it would have
    /// it, and the app could open Envoy's admin socket.
    pub fn uses_our_volume(self) -> bool {
        let containers = self.containers().chain(list(self.spec("initContainers")));
        let mounts = containers.flat_map(|container| list(container.get("volumeMounts")));
        list(self.spec("volumes")).chain(mounts).any(|named| name(named) == Some(VOLUME))
    }
}

/// The elements of a list, none where it is missing.
pub fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// What an object says under `name`.
pub fn name(value: &Value) -> Option<&str> {
    value.get("name")?.as_str()
}

/// A port's number as it is written: digits that are no more than a port can be.
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
    let tcp = |port: &&Value| port.get("protocol").is_none_or(|protocol| protocol == "TCP");
    list(container.get("ports")).filter(tcp)
}

fn may_take_calls(port: &&Value) -> bool {
    !name(port).is_some_and(|name| name.split('-').any(|word| NOT_FOR_CALLS.contains(&word)))
}

fn is(port: &Value, wanted: &str) -> bool {
    name(port) == Some(wanted) || number(port) == wanted
}

fn number(port: &Value) -> String {
    port.get("containerPort").map(ToString::to_string).unwrap_or_default()
}

/// The value of a variable, where it stands there as it is: what refers to another variable or to a Secret is not for
/// a label. Of two of one name the kubelet takes the last.
fn variable<'a>(container: &'a Value, variable: &str) -> Option<&'a str> {
    let found = list(container.get("env")).filter(|entry| name(entry) == Some(variable));
    let plain = found.filter_map(|entry| entry.get("value")?.as_str());
    plain.filter(|value| !value.is_empty() && !value.contains('$')).last()
}
