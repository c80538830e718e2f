//! Port declarations and probes of the app's container.
//!
//! Kubernetes resolves a Service's named target port in each pod separately. In an injected pod, Envoy's port takes the
//! names of the app's port and is declared on the app's container. The app's own port becomes `scoretap-app`. So a
//! Service reaches Envoy in injected pods and the app in all others, and always finds a port.

use serde_json::{Value, json};

use crate::annotations::{APP_PORT_NAME, ENVOY, MOVED_APP};
use crate::pod::{Pod, is_tcp, name, number};

/// JSON pointers to the handlers of a container that can name a port.
pub const HANDLERS: [[&str; 2]; 13] = [
    ["startupProbe", "httpGet"],
    ["startupProbe", "tcpSocket"],
    ["startupProbe", "grpc"],
    ["readinessProbe", "httpGet"],
    ["readinessProbe", "tcpSocket"],
    ["readinessProbe", "grpc"],
    ["livenessProbe", "httpGet"],
    ["livenessProbe", "tcpSocket"],
    ["livenessProbe", "grpc"],
    ["lifecycle/postStart", "httpGet"],
    ["lifecycle/postStart", "tcpSocket"],
    ["lifecycle/preStop", "httpGet"],
    ["lifecycle/preStop", "tcpSocket"],
];

/// The ports of Envoy and the app, and the names that the app's handlers use for the app's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The number that the app declares.
    pub declared: String,
    /// Whether the app moves.
    pub moves: bool,
    /// Names of the app's port. Handlers that use a name get the app's number instead.
    pub names: Vec<String>,
}

impl Layout {
    /// The layout of a pod without faults.
    pub fn of(pod: Pod<'_>) -> Self {
        let names = pod.app_port_names().map(str::to_owned).collect();
        Self { declared: pod.app_port().number, moves: pod.moves().is_some(), names }
    }

    /// The port on which Envoy listens.
    pub fn envoy(&self) -> String {
        if self.moves { self.declared.clone() } else { ENVOY.to_string() }
    }

    /// The port on which the app listens.
    pub fn app(&self) -> String {
        if self.moves { MOVED_APP.to_string() } else { self.declared.clone() }
    }

    /// The port that has to be open before the sidecar is ready.
    pub fn ready(&self) -> String {
        if self.moves { MOVED_APP.to_string() } else { ENVOY.to_string() }
    }

    /// Changes the app's container. `None` if a field of it has an unexpected type.
    pub fn apply(&self, app: &mut Value) -> Option<()> {
        self.redirect_handlers(app);
        if self.moves || !self.names.is_empty() {
            self.declare(app)?;
        }
        Some(())
    }

    fn redirect_handlers(&self, app: &mut Value) {
        let Ok(target) = self.app().parse::<u16>() else { return };
        for [place, handler] in HANDLERS {
            let port = app.pointer_mut(&format!("/{place}/{handler}/port"));
            if let Some(port) = port.filter(|port| self.is_app(port)) {
                *port = target.into();
            }
        }
    }

    fn is_app(&self, port: &Value) -> bool {
        match port {
            Value::String(name) => self.names.contains(name),
            Value::Number(number) => self.moves && number.to_string() == self.declared,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        }
    }

    /// Declarations are information only: Kubernetes uses them to resolve port names and for nothing else.
    fn declare(&self, app: &mut Value) -> Option<()> {
        let own = self.app().parse::<u16>().ok()?;
        let ports = crate::sidecar::entry(app, "ports", json!([]))?.as_array_mut()?;
        let named = |port: &&mut Value| is_tcp(port) && name(port).is_some() && number(port) == self.declared;
        if !self.moves {
            for port in ports.iter_mut().filter(named) {
                port["containerPort"] = ENVOY.into();
            }
        }
        ports.push(json!({"name": APP_PORT_NAME, "containerPort": own, "protocol": "TCP"}));
        Some(())
    }
}
