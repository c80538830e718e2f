//! How calls reach the app of a subject, with and without the sidecar.

use scoretap_injector::pod::Pod;
use serde_json::Value;

use super::object::{annotation, at, containers, text, text_at};
use super::snapshot::{Kind, Snapshot};
use super::subject::Subject;

/// Envoy's own port.
pub(crate) const ENVOY: u64 = 15_100;
/// Gives the app another port, so that Envoy can take its number.
pub(crate) const MOVE_APP: &str = "scoretap.dev/move-app";

/// The app's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct App {
    /// The container that declares the port.
    pub(crate) container: String,
    pub(crate) number: u64,
    /// Names of that port. Envoy takes them.
    pub(crate) names: Vec<String>,
    /// Whether Envoy takes the number.
    pub(crate) moved: bool,
}

/// A port of a Service that targets the app, or would after injection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route<'a> {
    pub(crate) service: &'a Value,
    /// Position in `spec.ports`.
    pub(crate) index: usize,
    pub(crate) way: Way,
}

/// How a Service names the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the port name, which Envoy takes: calls are measured.
    Name,
    /// By number: calls bypass Envoy unless the app moved.
    Number,
    /// The Service has no address of its own: callers connect to the pods.
    Headless,
}

impl App {
    /// The app of a subject that has the sidecar, or would get it.
    pub(crate) fn of(subject: &Subject<'_>) -> Option<Self> {
        let template = &*subject.template;
        let moved = annotation(template, MOVE_APP).is_some_and(|value| !value.is_empty());
        if subject.is_injected() {
            return Self::of_injected(template, moved);
        }
        let number = Pod(template).app_port().number.parse().ok()?;
        let container = container(template, number)?;
        let names = names(container, number);
        Some(Self { container: text(container, "name")?.to_owned(), number, names, moved })
    }

    fn of_injected(pod: &Value, moved: bool) -> Option<Self> {
        let setup = containers(pod).find(|container| text(container, "name") == Some("scoretap-setup"))?;
        let variable = at(setup, "/env").find(|entry| text(entry, "name") == Some("SCORETAP_APP_PORT"))?;
        let number = text(variable, "value")?.parse().ok()?;
        let app = at(pod, "/spec/containers").find(|container| !names(container, ENVOY).is_empty());
        let app = app.or_else(|| container(pod, number))?;
        Some(Self { container: text(app, "name")?.to_owned(), number, names: names(app, ENVOY), moved })
    }

    /// The routes from a subject's Services to this app.
    pub(crate) fn routes<'a>(&self, subject: &Subject<'_>, snapshot: &'a Snapshot) -> Vec<Route<'a>> {
        let services = services(subject, snapshot).into_iter();
        services
            .flat_map(|service| {
                let ports = at(service, "/spec/ports").enumerate();
                ports.filter_map(move |(index, port)| Some((service, index, self.way(service, port)?)))
            })
            .map(|(service, index, way)| Route { service, index, way })
            .collect()
    }

    /// `None` for a port with another target.
    fn way(&self, service: &Value, port: &Value) -> Option<Way> {
        if text(port, "protocol").is_some_and(|protocol| protocol != "TCP") {
            return None;
        }
        let target = target(port);
        let by_name = self.names.contains(&target);
        let by_number = target == self.number.to_string() || target == "scoretap-app";
        match (by_name || by_number, text_at(service, "/spec/clusterIP") == "None") {
            (false, _) => None,
            (true, true) => Some(Way::Headless),
            (true, false) => Some(if by_name { Way::Name } else { Way::Number }),
        }
    }
}

/// The container that declares a TCP port, or the first container.
fn container(pod: &Value, number: u64) -> Option<&Value> {
    let declares = |container: &&Value| {
        at(container, "/ports").any(|port| port.get("containerPort").and_then(Value::as_u64) == Some(number))
    };
    at(pod, "/spec/containers").find(declares).or_else(|| at(pod, "/spec/containers").next())
}

fn names(container: &Value, number: u64) -> Vec<String> {
    let ports = at(container, "/ports")
        .filter(|port| port.get("containerPort").and_then(Value::as_u64) == Some(number))
        .filter(|port| text(port, "protocol").is_none_or(|protocol| protocol == "TCP"));
    ports.filter_map(|port| text(port, "name")).map(str::to_owned).collect()
}

/// The Services that select a subject's pods.
pub(crate) fn services<'a>(subject: &Subject<'_>, snapshot: &'a Snapshot) -> Vec<&'a Value> {
    let labels = super::object::labels(&subject.template);
    let selects = |service: &&Value| {
        let selector = service.pointer("/spec/selector").unwrap_or(&super::object::NULL);
        super::object::namespace(service) == subject.namespace()
            && text_at(service, "/spec/type") != "ExternalName"
            && super::selector::service_selects(selector, labels)
    };
    snapshot.list(Kind::Services).iter().filter(selects).collect()
}

/// A Service port's target as text, or the port itself if it has no target.
pub(crate) fn target(port: &Value) -> String {
    let target = port.get("targetPort").or_else(|| port.get("port"));
    target.map(|target| target.as_str().map_or_else(|| target.to_string(), str::to_owned)).unwrap_or_default()
}
