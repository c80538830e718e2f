//! Faults keep the sidecar out of a pod that asks for it. Notices only warn.
//!
//! Both are tables. Each row has its condition in Rust, for the webhook and manifests, and in CEL, for the policies. A
//! test on a real API server compares the two. Clients cut warnings after 256 characters, so each message is short and
//! says what to write.

use scoretap_core::config::{Config, Fault as ConfigFault};

use crate::annotations::{
    APP_PORT, BASELINE_CONFIG, CONFIG, DIALECT, DIALECT_CONFIG, INJECT, INSIGHT, INSIGHT_PERCENT, MODEL_NAME,
    MODEL_VERSION, MOVE_APP, PRE_STOP,
};
use crate::dialect;
use crate::moving::Move;
use crate::pod::{Pod, is_number};
use crate::quantity::{Bound, Resource};
use crate::settings::Settings;
use crate::slots::Part;

/// One reason.
#[derive(Debug)]
pub struct Fault {
    /// Whether it applies to the pod.
    pub holds: fn(Pod<'_>, &Settings) -> bool,
    /// The same condition in CEL, with the variables of `policy`.
    pub cel: &'static str,
    /// The value found, and the fix. [`PLACEHOLDERS`] stand for values of annotations.
    pub message: &'static str,
}

/// Placeholders in messages: `(placeholder, annotation, the policies' variable)`.
pub const PLACEHOLDERS: [(&str, &str, &str); 3] =
    [("{inject}", INJECT, "inject"), ("{app-port}", APP_PORT, "port"), ("{move-app}", MOVE_APP, "move")];

/// A longer configuration would not fit into the environment of a process.
pub const LONGEST_CONFIG: usize = 16_384;
/// A longer name would not fit into a label.
const LONGEST_NAME: usize = 256;
/// The length at which a warning cuts a tenant's value.
pub const LONGEST_SHOWN: usize = 60;

/// Whether this variable is neither empty nor the name of a ConfigMap.
macro_rules! names_no_config_map {
    ($variable:literal) => {
        concat!(
            $variable,
            " != '' && (size(",
            $variable,
            ") > 253 || !",
            $variable,
            ".matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))"
        )
    };
}

/// Reasons not to inject, except faults in the filter's configuration, which CEL cannot read.
pub const FAULTS: [Fault; 31] = [
    Fault {
        holds: |pod, _| !["true", "false"].contains(&pod.annotation(INJECT).unwrap_or("false")),
        cel: "!(variables.inject in ['true', 'false'])",
        message: "scoretap.dev/inject is \"{inject}\"; write \"true\" or \"false\"",
    },
    Fault {
        holds: |pod, _| pod.is_windows(),
        cel: "variables.windows",
        message: "the sidecar does not run on Windows; remove scoretap.dev/inject",
    },
    Fault {
        holds: |pod, _| pod.is_host_network(),
        cel: "variables.hostNetwork",
        message: "a hostNetwork pod would open the sidecar's ports on the node; remove hostNetwork or scoretap.dev/inject",
    },
    Fault {
        holds: |pod, _| pod.is_serverless(),
        cel: "variables.serverless",
        message: "queue-proxy calls the app on loopback, past the sidecar; remove scoretap.dev/inject, or deploy the model in \
                  KServe's raw mode (annotation serving.kserve.io/deploymentMode: RawDeployment)",
    },
    Fault {
        holds: |pod, _| pod.wanted_port().is_empty() && pod.app_port().number.is_empty(),
        cel: "variables.port == '' && variables.appNumber == ''",
        message: "the app's port is unknown; declare a containerPort in its container or write scoretap.dev/app-port: \
                  \"8080\"",
    },
    Fault {
        holds: |pod, _| {
            let port = pod.app_port().number;
            !pod.wanted_port().is_empty() && (port.is_empty() || !is_number(&port))
        },
        cel: "variables.port != '' && variables.appNumber == ''",
        message: "scoretap.dev/app-port is \"{app-port}\"; write a number from 1 to 65535, or the name of a TCP port that a \
                  container declares",
    },
    Fault {
        holds: |pod, _| pod.wanted_port().is_empty() && pod.has_several_ports(),
        cel: "variables.port == '' && variables.severalPorts",
        message: "the pod declares several TCP ports; write the name or number of the one that takes the calls as \
                  scoretap.dev/app-port",
    },
    Fault {
        holds: |pod, _| pod.speaks_tls(),
        cel: "variables.speaksTls",
        message: "the name of the app's port says TLS, and the sidecar speaks plain HTTP to the app; write a plain HTTP port as \
                  scoretap.dev/app-port, or remove scoretap.dev/inject",
    },
    Fault {
        holds: |pod, _| pod.uses_our_ports(),
        cel: "variables.portsTaken",
        message: "the sidecar uses ports 15100, 15110 and 15190 and the port names scoretap-app and scoretap-stats; choose \
                  others for the pod's own containers",
    },
    Fault {
        holds: |pod, _| pod.uses_our_containers(),
        cel: "variables.containersTaken",
        message: "the sidecar uses the container names scoretap-setup, scoretap-envoy and scoretap-exporter; rename the pod's \
                  own container",
    },
    Fault {
        holds: |pod, _| pod.uses_our_volumes(),
        cel: "variables.volumesTaken",
        message: "the sidecar uses the volume names scoretap, scoretap-no-token, scoretap-pod and scoretap-dialect; rename the \
                  pod's own volume and its mounts",
    },
    Fault {
        holds: |pod, _| pod.moves().is_none() && pod.shares_its_port_name(),
        cel: "!variables.moves && variables.nameShared",
        message: "another container declares the name of the app's port, so a Service may mean that one; rename one of the \
                  two, or write scoretap.dev/move-app, which needs no name",
    },
    Fault {
        // The API server adds a hostPort to each port of a hostNetwork pod.
        holds: |pod, _| pod.moves().is_none() && !pod.is_host_network() && pod.has_host_port(),
        cel: "!variables.moves && !variables.hostNetwork && variables.hostPort",
        message: "the app's port has a hostPort, and its callers would bypass the sidecar; remove the hostPort, or write \
                  scoretap.dev/move-app",
    },
    Fault {
        holds: |pod, _| pod.annotation(MOVE_APP).is_some() && pod.moves().is_none(),
        cel: "variables.asksToMove && !variables.moves",
        message: "scoretap.dev/move-app is \"{move-app}\"; write how the app is told its port, such as \"env PORT\", \
                  \"arg --port\" or \"arg --bind 0.0.0.0:{port}\"",
    },
    Fault {
        holds: |pod, _| moves(pod).is_some_and(|(to, app)| to.has_value_from(app)),
        cel: "variables.movesBy == 'env' && variables.moveHeld.exists(e, has(e.valueFrom))",
        message: "the variable of scoretap.dev/move-app comes from valueFrom; write its value into the pod, or name another \
                  variable or argument",
    },
    Fault {
        holds: |pod, _| moves(pod).is_some_and(|(to, app)| to.has_no_command_line(app)),
        cel: "variables.movesBy == 'arg' && size(variables.words) == 0",
        message: "scoretap.dev/move-app names an argument, and the container has no command or args, so the image's own would \
                  be lost; write the container's args, or name a variable: \"env PORT\"",
    },
    Fault {
        holds: |pod, _| moves(pod).is_some_and(|(to, app)| to.is_shell_script(app)),
        cel: "variables.movesBy == 'arg' && variables.shellScript",
        message: "scoretap.dev/move-app names an argument, and the command is a shell script; read the port from a variable \
                  in the script and write \"env PORT\"",
    },
    Fault {
        holds: |pod, _| moves(pod).is_some_and(|(to, app)| to.has_no_value(app)),
        cel: "variables.movesBy == 'arg' && variables.words.exists(i, w, w == variables.moveName && (i + 1 == \
              size(variables.words) || variables.words[i + 1].startsWith('-')))",
        message: "the argument of scoretap.dev/move-app has no value; write the port behind it in the container's args",
    },
    Fault {
        holds: |pod, _| moves(pod).is_some_and(|(to, app)| to.needs_template(app)),
        cel: "variables.moves && variables.moveTemplate == '{port}' && variables.moveReplaced.exists(v, \
              !v.matches('^[0-9]*$'))",
        message: "scoretap.dev/move-app would replace a value that is more than a port number; add its form, such as \
                  \"arg --bind 0.0.0.0:{port}\"",
    },
    Fault {
        holds: |pod, _| {
            let mut names = [MODEL_NAME, MODEL_VERSION].into_iter().filter_map(|name| pod.annotation(name));
            names.any(|name| !is_label(name))
        },
        cel: "!variables.names.all(n, n.matches('^[^\\\\x00-\\\\x1f\\\\x7f]{1,256}$'))",
        message: "scoretap.dev/model-name and scoretap.dev/model-version become labels; write 1 to 256 characters \
                  without line ends or control characters, or remove the annotation",
    },
    Fault {
        holds: |pod, _| !["true", "false"].contains(&pod.annotation(PRE_STOP).unwrap_or("true")),
        cel: "!(variables.preStop in ['true', 'false'])",
        message: "scoretap.dev/pre-stop is neither \"true\" nor \"false\"; write \"false\" to add no preStop hook to the app, \
                  or remove the annotation",
    },
    Fault {
        holds: |pod, _| !["true", "false"].contains(&pod.annotation(INSIGHT).unwrap_or("false")),
        cel: "!(variables.insight in ['true', 'false'])",
        message: "scoretap.dev/insight is neither \"true\" nor \"false\"; write \"true\" to read the bodies of calls, or remove the \
                  annotation",
    },
    Fault {
        holds: |pod, _| !dialect::are_known(pod.annotation(DIALECT).unwrap_or(dialect::DEFAULT)),
        cel: "!variables.dialectsKnown",
        message: "scoretap.dev/dialect names an unknown dialect; write names from docs/dialects.md separated by commas, such as \
                  \"prediction,fastapi\", or remove the annotation",
    },
    Fault {
        holds: |pod, _| dialect::conflict(pod.annotation(DIALECT).unwrap_or(dialect::DEFAULT)),
        cel: "variables.dialectsConflict",
        message: "scoretap.dev/dialect names two dialects that define the same metric differently; remove one of them",
    },
    Fault {
        holds: |pod, _| names_no_config_map(pod, DIALECT_CONFIG),
        cel: names_no_config_map!("variables.dialectConfig"),
        message: "scoretap.dev/dialect-config is no name of a ConfigMap; write the name of one in the pod's namespace with the key \
                  dialect.yaml, or remove the annotation",
    },
    Fault {
        holds: |pod, _| names_no_config_map(pod, BASELINE_CONFIG),
        cel: names_no_config_map!("variables.baselineConfig"),
        message: "scoretap.dev/baseline-config is no name of a ConfigMap; write the name of one in the pod's namespace with the key \
                  baseline.yaml, or remove the annotation",
    },
    Fault {
        holds: |pod, _| pod.annotation(CONFIG).is_some_and(|config| config.chars().count() > LONGEST_CONFIG),
        cel: "size(variables.config) > 16384",
        message: "scoretap.dev/config has more than 16384 characters; write a shorter configuration",
    },
    Fault {
        holds: |pod, _| !are_quantities(pod, Resource::Cpu),
        cel: "!variables.cpuValid",
        message: "scoretap.dev/cpu-request and scoretap.dev/cpu-limit take CPU: write \"100m\", \"0.5\" or \"2\"; the limit \
                  may be \"none\"",
    },
    Fault {
        holds: |pod, _| !are_quantities(pod, Resource::Memory),
        cel: "!variables.memoryValid",
        message: "scoretap.dev/memory-request and scoretap.dev/memory-limit take memory: write \"64Mi\" or \"1Gi\"; the limit \
                  may be \"none\"",
    },
    Fault {
        holds: |pod, settings| exceeds_limit(pod, settings, Resource::Cpu),
        cel: "variables.cpuValid && variables.cpuExceedsLimit",
        message: "a container of the sidecar would request more CPU than its limit; write both scoretap.dev/cpu-request and \
                  scoretap.dev/cpu-limit, the limit at least as large",
    },
    Fault {
        holds: |pod, settings| exceeds_limit(pod, settings, Resource::Memory),
        cel: "variables.memoryValid && variables.memoryExceedsLimit",
        message: "a container of the sidecar would request more memory than its limit; write both scoretap.dev/memory-request \
                  and scoretap.dev/memory-limit, the limit at least as large",
    },
];

/// Notices about an injected pod.
pub const NOTICES: [Fault; 3] = [
    Fault {
        holds: |pod, _| pod.moves().is_none() && !pod.has_port_name(),
        cel: "!variables.moves && !variables.portNamed",
        message: "the app's port has no name, so Services bypass the sidecar and calls are not measured; name the \
                  containerPort, roll out, then use the name as the Service's targetPort, or write scoretap.dev/move-app",
    },
    Fault {
        holds: |pod, _| pod.moves().is_some() && pod.has_other_ports(),
        cel: "variables.moves && variables.otherPorts",
        message: "scoretap.dev/move-app moves one port of the app; calls to its other ports bypass the sidecar and are not \
                  measured",
    },
    Fault {
        holds: |pod, _| pod.annotation(INSIGHT_PERCENT).is_some_and(|percent| !is_percent(percent)),
        cel: "!variables.insightPercent.matches('^([0-9]|[1-9][0-9]|100)$')",
        message: "scoretap.dev/insight-percent is no whole number from 0 to 100, so Envoy may ignore it and read all calls; write \
                  \"0\" to read none, or remove the annotation",
    },
];

/// Everything that keeps a pod from getting the sidecar.
pub fn find(pod: Pod<'_>, settings: &Settings) -> Vec<String> {
    let mut messages = held(&FAULTS, pod, settings);
    let config = pod.annotation(CONFIG).unwrap_or_default();
    if let Err(faults) = Config::parse(config.as_bytes()) {
        // Envoy's configuration wraps the JSON in a StringValue; an annotation does not.
        let message = |fault: &ConfigFault| fault.to_string().replace(", in a StringValue", "");
        messages.extend(faults.iter().map(|fault| format!("{CONFIG}: {}", message(fault))));
    }
    messages
}

/// Notices about a pod that gets the sidecar or has it.
pub fn notices(pod: Pod<'_>, settings: &Settings) -> Vec<String> {
    held(&NOTICES, pod, settings)
}

fn held(table: &[Fault], pod: Pod<'_>, settings: &Settings) -> Vec<String> {
    let held = table.iter().filter(|fault| (fault.holds)(pod, settings));
    held.map(|fault| filled(fault.message, pod)).collect()
}

fn filled(message: &str, pod: Pod<'_>) -> String {
    PLACEHOLDERS.iter().fold(message.to_owned(), |message, (written, annotation, _)| {
        message.replace(written, &shown(pod.annotation(annotation).unwrap_or_default()))
    })
}

/// A tenant's value, cut to fit into a warning. API servers drop a warning with a control character.
pub(crate) fn shown(value: &str) -> String {
    let visible = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    value.chars().take(LONGEST_SHOWN).map(visible).collect()
}

fn moves(pod: Pod<'_>) -> Option<(Move<'_>, &serde_json::Value)> {
    pod.moves().zip(pod.app())
}

/// Whether the text is a whole number from 0 to 100.
pub fn is_percent(text: &str) -> bool {
    text.parse::<u8>().is_ok_and(|percent| percent <= 100 && percent.to_string() == text)
}

fn is_label(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.chars().count()) && !text.chars().any(|char| char.is_ascii_control())
}

/// Whether a ConfigMap can have this name. The API server rejects a pod with an impossible one.
fn is_config_map(name: &str) -> bool {
    const LONGEST: usize = 253;
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_part = |part: &str| {
        !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(is_inner)
    };
    name.len() <= LONGEST && name.split('.').all(is_part)
}

fn names_no_config_map(pod: Pod<'_>, annotation: &str) -> bool {
    pod.annotation(annotation).is_some_and(|name| !name.is_empty() && !is_config_map(name))
}

fn are_quantities(pod: Pod<'_>, resource: Resource) -> bool {
    let accepts = |bound: Bound| {
        let text = pod.annotation(bound.annotation(resource));
        text.is_none_or(|text| bound.accepts(resource, text))
    };
    Bound::ALL.into_iter().all(accepts)
}

/// The API server would reject such a container, and with it the pod.
fn exceeds_limit(pod: Pod<'_>, settings: &Settings, resource: Resource) -> bool {
    are_quantities(pod, resource)
        && Part::ALL.into_iter().any(|part| {
            let [request, limit] = Bound::ALL.map(|bound| {
                resource.parse(pod.quantity(resource, bound, settings.quantity(part, resource, bound)))
            });
            request.zip(limit).is_some_and(|(request, limit)| request > limit)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_config_maps_are_domain_names() {
        assert!(["churn", "churn-2.v1", "0"].into_iter().all(is_config_map));
        for name in ["", "-churn", "churn-", "a..b", "Churn", "a_b", "a/b", "ä", &"a".repeat(254)] {
            assert!(!is_config_map(name), "{name}");
        }
    }

    #[test]
    fn warnings_fit_in_256_characters() {
        let long = "x".repeat(1000);
        let annotations = json!({INJECT: long, APP_PORT: long, MOVE_APP: long});
        let pod = json!({"metadata": {"annotations": annotations}});
        for fault in FAULTS.iter().chain(&NOTICES) {
            let message = filled(fault.message, Pod(&pod));
            assert!(message.chars().count() <= 256, "{} characters: {message}", message.chars().count());
        }
    }
}
