//! Leads a Service to the sidecar, and back when it asks no longer.
//!
//! A Service's *named* target port is looked up in each pod, in restartable init containers too: `scoretap-http` is
//! Envoy where it was injected. No packet is redirected, so nothing needs a privilege. Where the port led before is
//! kept in an annotation.

use serde_json::{Value, json};

use crate::annotations::{APP_PORT, HTTP_PORT_NAME, INJECT, TARGET_PORT};
use crate::faults::shown;
use crate::pod::{Pod, list, name};

/// Why a Service that asks cannot be led to the sidecar: in Rust, in CEL, in words.
#[derive(Debug)]
pub struct Fault {
    /// Whether the Service has it.
    pub holds: fn(&Value) -> bool,
    /// The same, in the variables of `policy`.
    pub cel: &'static str,
    /// What was found, and what to write.
    pub message: &'static str,
}

/// All of them.
pub const FAULTS: [Fault; 5] = [
    Fault {
        holds: |service| !["true", "false"].contains(&Pod(service).annotation(INJECT).unwrap_or("false")),
        cel: "!(variables.inject in ['true', 'false'])",
        message: "scoretap.dev/inject is \"{inject}\"; write \"true\" or \"false\"",
    },
    Fault {
        holds: |service| !has_pods_behind_a_port(service),
        cel: "!variables.balanced",
        message: "a Service that is headless, external or without a selector cannot choose a port for its callers; have \
                  them call port 15100 and remove scoretap.dev/inject",
    },
    Fault {
        holds: |service| wanted_port(service).is_none() && chosen(service).is_none(),
        cel: "!('scoretap.dev/app-port' in variables.annotations) && size(variables.chosen) != 1",
        message: "which of the Service's TCP ports leads to the app is not clear; write its name or number as \
                  scoretap.dev/app-port",
    },
    Fault {
        holds: |service| wanted_port(service).is_some() && chosen(service).is_none(),
        cel: "'scoretap.dev/app-port' in variables.annotations && size(variables.chosen) != 1",
        message: "scoretap.dev/app-port is \"{port}\"; write the name or the number of one of the Service's TCP ports",
    },
    Fault {
        holds: another_is_led,
        cel: "size(variables.chosen) == 1 && variables.ports.exists(p, p.port != variables.chosen[0].port && \
              has(p.targetPort) && string(p.targetPort) == 'scoretap-http')",
        message: "another of the Service's ports leads to the sidecar already, and a pod has one app; lead that one back \
                  first: remove scoretap.dev/inject, apply, and add it again",
    },
];

/// What becomes of a Service.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It does not ask, or is as it should be.
    Unchanged,
    /// It asks, and cannot be led to the sidecar, for these reasons.
    Refused(Vec<String>),
    /// The Service as it should be.
    Changed(Box<Value>),
}

/// Decides on a Service.
pub fn decide(service: &Value) -> Decision {
    let asks = Pod(service).annotation(INJECT);
    if asks.is_none_or(|value| value == "false") {
        return restored(service);
    }
    let found = FAULTS.iter().filter(|fault| (fault.holds)(service));
    let (inject, port) = (shown(asks.unwrap_or_default()), shown(wanted_port(service).unwrap_or_default()));
    let filled = |message: &str| message.replace("{inject}", &inject).replace("{port}", &port);
    let faults: Vec<_> = found.map(|fault| filled(fault.message)).collect();
    if !faults.is_empty() {
        return Decision::Refused(faults);
    }
    led(service).map_or(Decision::Unchanged, |service| Decision::Changed(Box::new(service)))
}

fn has_pods_behind_a_port(service: &Value) -> bool {
    let spec = |field: &str| service.get("spec").and_then(|spec| spec.get(field));
    let selects = spec("selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    let external = spec("type").is_some_and(|kind| kind == "ExternalName");
    selects && !external && spec("clusterIP").is_none_or(|address| address != "None")
}

fn wanted_port(service: &Value) -> Option<&str> {
    Pod(service).annotation(APP_PORT)
}

/// The position of the one TCP port that the annotation means, or that there is.
fn chosen(service: &Value) -> Option<usize> {
    let wanted = wanted_port(service);
    let ports = list(service.pointer("/spec/ports")).enumerate();
    let tcp = ports.filter(|(_, port)| port.get("protocol").is_none_or(|protocol| protocol == "TCP"));
    let mut meant = tcp.filter(|(_, port)| wanted.is_none_or(|wanted| is(port, wanted)));
    match (meant.next(), meant.next()) {
        (Some((position, _)), None) => Some(position),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

fn is(port: &Value, wanted: &str) -> bool {
    name(port) == Some(wanted) || port.get("port").map(ToString::to_string).as_deref() == Some(wanted)
}

fn another_is_led(service: &Value) -> bool {
    let ports: Vec<_> = list(service.pointer("/spec/ports")).collect();
    let chosen = chosen(service).and_then(|position| ports.get(position));
    let is_another = |port: &Value| chosen.is_some_and(|chosen| port.get("port") != chosen.get("port"));
    let is_led = |port: &Value| port.get("targetPort").is_some_and(|target| target == HTTP_PORT_NAME);
    ports.iter().any(|port| is_another(port) && is_led(port))
}

fn led(service: &Value) -> Option<Value> {
    let mut led = service.clone();
    let port = led.pointer_mut(&format!("/spec/ports/{}", chosen(service)?))?.as_object_mut()?;
    // The API server's own default, which a manifest need not spell out.
    let before = port.get("targetPort").or_else(|| port.get("port")).cloned()?;
    if before == HTTP_PORT_NAME {
        return None;
    }
    port.insert("targetPort".into(), HTTP_PORT_NAME.into());
    let before = before.as_str().map_or_else(|| before.to_string(), str::to_owned);
    let annotations = led.pointer_mut("/metadata/annotations")?.as_object_mut()?;
    annotations.insert(TARGET_PORT.into(), before.into());
    Some(led)
}

fn restored(service: &Value) -> Decision {
    let Some(before) = Pod(service).annotation(TARGET_PORT) else { return Decision::Unchanged };
    let before = before.parse::<u16>().map_or_else(|_| json!(before), |number| json!(number));
    let mut restored = service.clone();
    let ports = restored.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter(|port| port["targetPort"] == HTTP_PORT_NAME) {
        port["targetPort"] = before.clone();
    }
    if let Some(annotations) = restored.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(TARGET_PORT);
    }
    Decision::Changed(Box::new(restored))
}
