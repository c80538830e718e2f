//! Why a pod that asks for the sidecar cannot have it: one table, with each condition in Rust for the webhook and in
//! CEL for the policies. A test holds the two against each other.
//!
//! A fault is told in a warning. Clients cut one after 256 characters: say at once what to write.

use scoretap_core::config::{Config, Fault as ConfigFault};

use crate::annotations::{CONFIG, INJECT, MODEL_NAME, MODEL_VERSION, PRE_STOP};
use crate::pod::{Pod, is_number};

/// One reason.
#[derive(Debug)]
pub struct Fault {
    /// Whether the pod has it.
    pub holds: fn(Pod<'_>) -> bool,
    /// The same, in the variables of `policy`.
    pub cel: &'static str,
    /// What was found, and what to write. `{inject}` and `{port}` stand for the annotations' values.
    pub message: &'static str,
}

/// Longer ones would not fit the environment of a process.
pub const LONGEST_CONFIG: usize = 16_384;
/// Longer ones would be no label.
const LONGEST_NAME: usize = 256;

/// All of them but those of the configuration's content, which CEL cannot read.
pub const FAULTS: [Fault; 13] = [
    Fault {
        holds: |pod| !["true", "false"].contains(&pod.annotation(INJECT).unwrap_or("false")),
        cel: "!(variables.inject in ['true', 'false'])",
        message: "scoretap.dev/inject is \"{inject}\"; write \"true\" or \"false\"",
    },
    Fault {
        holds: |pod| pod.is_windows(),
        cel: "variables.windows",
        message: "the pod is for Windows, where the sidecar does not run; remove scoretap.dev/inject",
    },
    Fault {
        holds: |pod| pod.spec("hostNetwork").is_some_and(|value| value == true),
        cel: "has(variables.spec.hostNetwork) && variables.spec.hostNetwork",
        message: "hostNetwork pods share their ports with the node, and the sidecar's would be open there; remove \
                  hostNetwork or scoretap.dev/inject",
    },
    Fault {
        holds: |pod| pod.wanted_port().is_empty() && pod.app_port().number.is_empty(),
        cel: "variables.port == '' && variables.appPort == ''",
        message: "no port of the app is known; declare a containerPort in its container or write \
                  scoretap.dev/app-port: \"8080\"",
    },
    Fault {
        holds: |pod| {
            let port = pod.app_port().number;
            !pod.wanted_port().is_empty() && (port.is_empty() || !is_number(&port))
        },
        cel: "variables.port != '' && variables.appPort == ''",
        message: "scoretap.dev/app-port is \"{port}\"; write a number from 1 to 65535, or the name of a TCP port that a \
                  container declares",
    },
    Fault {
        holds: |pod| pod.wanted_port().is_empty() && pod.has_several_ports(),
        cel: "variables.port == '' && variables.severalPorts",
        message: "the pod declares several TCP ports, and which of them takes the calls is not clear; write its name or \
                  number as scoretap.dev/app-port",
    },
    Fault {
        holds: |pod| pod.speaks_tls(),
        cel: "variables.speaksTls",
        message: "the app's port is named as one of TLS, and the sidecar speaks plain HTTP to the app; write a port of plain \
                  HTTP as scoretap.dev/app-port, or remove scoretap.dev/inject",
    },
    Fault {
        holds: |pod| pod.uses_our_ports(),
        cel: "variables.portsTaken",
        message: "ports 15100 and 15190 and the names scoretap-http and scoretap-stats are the sidecar's; use others in \
                  the pod's own containers",
    },
    Fault {
        holds: |pod| pod.uses_our_containers(),
        cel: "variables.containersTaken",
        message: "the container names scoretap-setup, scoretap-envoy and scoretap-exporter are the sidecar's; give the \
                  pod's own container another",
    },
    Fault {
        holds: |pod| pod.uses_our_volume(),
        cel: "variables.volumeTaken",
        message: "the volume name scoretap is the sidecar's; give the pod's own volume, and its mounts, another",
    },
    Fault {
        holds: |pod| {
            let names = [MODEL_NAME, MODEL_VERSION].into_iter().filter_map(|name| pod.annotation(name));
            names.into_iter().any(|name| !is_label(name))
        },
        cel: "!variables.names.all(n, n.matches('^[^\\\\x00-\\\\x1f\\\\x7f]{1,256}$'))",
        message: "scoretap.dev/model-name and scoretap.dev/model-version become labels; write 1 to 256 characters \
                  without line ends or control characters, or remove the annotation",
    },
    Fault {
        holds: |pod| !["true", "false"].contains(&pod.annotation(PRE_STOP).unwrap_or("true")),
        cel: "!(variables.preStop in ['true', 'false'])",
        message: "scoretap.dev/pre-stop is neither \"true\" nor \"false\"; write \"false\" to have no preStop hook added to the \
                  app, or remove the annotation",
    },
    Fault {
        holds: |pod| pod.annotation(CONFIG).is_some_and(|config| config.chars().count() > LONGEST_CONFIG),
        cel: "size(variables.config) > 16384",
        message: "scoretap.dev/config has more than 16384 characters; write a shorter configuration",
    },
];

/// Everything that is wrong with a pod that asks for the sidecar.
pub fn find(pod: Pod<'_>) -> Vec<String> {
    let found = FAULTS.iter().filter(|fault| (fault.holds)(pod));
    let mut messages: Vec<_> = found.map(|fault| filled(fault.message, pod)).collect();
    let config = pod.annotation(CONFIG).unwrap_or_default();
    if let Err(faults) = Config::parse(config.as_bytes()) {
        // In Envoy's configuration JSON stands in a StringValue, in an annotation it stands as it is.
        let message = |fault: &ConfigFault| fault.to_string().replace(", in a StringValue", "");
        messages.extend(faults.iter().map(|fault| format!("{CONFIG}: {}", message(fault))));
    }
    messages
}

fn filled(message: &str, pod: Pod<'_>) -> String {
    let inject = pod.annotation(INJECT).unwrap_or_default();
    message.replace("{inject}", &shown(inject)).replace("{port}", &shown(pod.wanted_port()))
}

/// A tenant's value, as far as it fits a warning: API servers drop one with a control character.
pub(crate) fn shown(value: &str) -> String {
    let visible = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    value.chars().take(60).map(visible).collect()
}

fn is_label(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.chars().count()) && !text.chars().any(|char| char.is_ascii_control())
}
