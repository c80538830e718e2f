//! `scoretap-injector policy`: the same decision as MutatingAdmissionPolicy, with nothing to run (Kubernetes 1.36+).
//!
//! A mutating policy cannot warn, so each has a ValidatingAdmissionPolicy beside it that only warns. The sidecar comes
//! from the same definition and the faults from the same tables as the webhook's. What CEL cannot do is to read the
//! filter's configuration: with a policy, the filter itself says at run time what is wrong with it.

mod literal;
mod variables;

use serde_json::{Value, json};

use crate::annotations::{HTTP_PORT_NAME, INJECT, INJECTED, TARGET_PORT};
use crate::inject::Settings;
use crate::sidecar::TEMPLATE;
use crate::{faults, service, yaml};

use variables::Variables;

const HEADER: &str = "\
# Injection without a webhook, for Kubernetes 1.36 and later. Written by `scoretap-injector policy`, from
# k8s/sidecar/sidecar.yaml and the injector's tables: change those, not this.
";

/// Namespaces that carry this label take part.
pub const NAMESPACE_LABEL: &str = "scoretap.dev/injection";

/// One subject of the policies.
struct Subject {
    name: &'static str,
    resource: &'static str,
    operations: &'static [&'static str],
    /// Which objects are mutated.
    conditions: Vec<(&'static str, String)>,
    variables: Variables,
    /// CEL that holds where the object has the fault, and the message.
    faults: Vec<(&'static str, &'static str)>,
    mutation: String,
}

/// All policies and their bindings, as YAML.
pub fn manifests(settings: &Settings) -> String {
    let mut text = HEADER.to_owned();
    for subject in [pods(settings), services()] {
        for object in subject.objects() {
            text += "---\n";
            text += &yaml::write(&object);
        }
    }
    text
}

fn pods(settings: &Settings) -> Subject {
    let taken = variables::containers_taken("object.spec");
    let untouched = format!(
        "!has(object.metadata.labels) || !('{INJECTED}' in object.metadata.labels) || \
         object.metadata.labels['{INJECTED}'] != 'true' || !({taken})"
    );
    Subject {
        name: "scoretap-pods",
        resource: "pods",
        operations: &["CREATE"],
        conditions: vec![("asks", asks()), ("has-no-sidecar", untouched)],
        variables: variables::of_pods(settings),
        faults: faults::FAULTS.iter().map(|fault| (fault.cel, fault.message)).collect(),
        mutation: add_sidecar(),
    }
}

fn services() -> Subject {
    let was_led =
        format!("has(object.metadata.annotations) && '{TARGET_PORT}' in object.metadata.annotations");
    Subject {
        name: "scoretap-services",
        resource: "services",
        operations: &["CREATE", "UPDATE"],
        conditions: vec![("asks-or-did", format!("({}) || ({was_led})", asks()))],
        variables: variables::of_services(),
        faults: service::FAULTS.iter().map(|fault| (fault.cel, fault.message)).collect(),
        mutation: lead_service(),
    }
}

fn asks() -> String {
    format!(
        "has(object.metadata.annotations) && '{INJECT}' in object.metadata.annotations && \
         object.metadata.annotations['{INJECT}'] != 'false'"
    )
}

/// Lists are made empty first and then added to: a list of objects as one patch's value makes 1.34 to 1.36 panic.
fn add_sidecar() -> String {
    let sidecar = &*TEMPLATE;
    let mut patches = Vec::new();
    for (name, value) in &sidecar.labels {
        patches.push(patch("add", &format!("/metadata/labels/{}", escaped(name)), &literal::of(value, "")));
    }
    for (list, items) in [("volumes", &sidecar.volumes), ("initContainers", &sidecar.init_containers)] {
        for item in items {
            let literal = literal::of(item, &format!("Object.spec.{list}"));
            patches.push(patch("add", &format!("/spec/{list}/-"), &literal));
        }
    }
    format!(
        "variables.faulty ? [] :\n(has(object.metadata.labels) ? [] : [{}])\n+ (has(object.spec.volumes) ? [] : [{}])\n\
         + (has(object.spec.initContainers) ? [] : [{}])\n+ (!variables.hook ? [] : {})\n+ [\n{}\n]",
        patch("add", "/metadata/labels", "{}"),
        patch("add", "/spec/volumes", "[]"),
        patch("add", "/spec/initContainers", "[]"),
        add_hook(&sidecar.pre_stop),
        patches.join(",\n"),
    )
}

fn add_hook(hook: &Value) -> String {
    const LIFECYCLE: &str = "Object.spec.containers.lifecycle";
    let hook = literal::of(hook, &format!("{LIFECYCLE}.preStop"));
    let add = |field: &str, value: &str| {
        format!(
            "[JSONPatch{{op: 'add', path: '/spec/containers/' + string(variables.index) + '{field}', value: {value}}}]"
        )
    };
    format!(
        "has(variables.app.lifecycle) ? {} : {}",
        add("/lifecycle/preStop", &hook),
        add("/lifecycle", &format!("{LIFECYCLE}{{preStop: {hook}}}")),
    )
}

fn lead_service() -> String {
    let annotation = format!("/metadata/annotations/{}", escaped(TARGET_PORT));
    let target = |index: &str, value: &str| {
        format!(
            "JSONPatch{{op: 'add', path: '/spec/ports/' + string({index}) + '/targetPort', value: {value}}}"
        )
    };
    let restore = format!(
        "variables.ports.filter(p, has(p.targetPort) && string(p.targetPort) == '{HTTP_PORT_NAME}')\
         .map(p, {})",
        target(
            "variables.keys.indexOf(string(p.port) + (has(p.protocol) ? p.protocol : 'TCP'))",
            "variables.before"
        )
    );
    format!(
        "variables.inject == 'false' ?\n('{TARGET_PORT}' in variables.annotations ?\n{restore}\n+ [JSONPatch{{op: 'remove', \
         path: '{annotation}'}}] : []) :\nvariables.faulty || variables.target == '{HTTP_PORT_NAME}' ? [] : [\n{},\n{}\n]",
        target("variables.index", &format!("'{HTTP_PORT_NAME}'")),
        patch("add", &annotation, "variables.target"),
    )
}

fn patch(op: &str, path: &str, value: &str) -> String {
    format!("JSONPatch{{op: '{op}', path: '{path}', value: {value}}}")
}

/// As a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Subject {
    fn objects(&self) -> [Value; 4] {
        let conditions = |conditions: &[(&str, String)]| -> Value {
            conditions.iter().map(|(name, cel)| json!({"name": name, "expression": cel})).collect()
        };
        let mut variables = self.variables.clone();
        let faulty: Vec<_> = self.faults.iter().map(|(cel, _)| format!("({cel})")).collect();
        let advice = json!({
            "failurePolicy": "Ignore",
            "matchConstraints": self.matches(),
            // What is already injected was right when it was.
            "matchConditions": conditions(&self.advised()),
            "variables": variables.to_value(),
            "validations": self.faults.iter().map(|(cel, message)| json!({
                "expression": format!("!({cel})"),
                "messageExpression": message_cel(message),
            })).collect::<Value>(),
        });
        variables.add("faulty", faulty.join(" ||\n"));
        let mutation = json!({
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": self.matches(),
            "matchConditions": conditions(&self.conditions),
            "variables": variables.to_value(),
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": self.mutation}}],
        });
        let advice_name = format!("{}-advice", self.name);
        [
            object("MutatingAdmissionPolicy", self.name, &mutation),
            object(
                "MutatingAdmissionPolicyBinding",
                self.name,
                &json!({
                    "policyName": self.name,
                    "matchResources": selected(),
                }),
            ),
            object("ValidatingAdmissionPolicy", &advice_name, &advice),
            object(
                "ValidatingAdmissionPolicyBinding",
                &advice_name,
                &json!({
                    "policyName": advice_name,
                    "validationActions": ["Warn"],
                    "matchResources": selected(),
                }),
            ),
        ]
    }

    fn advised(&self) -> Vec<(&'static str, String)> {
        let mut conditions = self.conditions.clone();
        if let Some(first) = conditions.first_mut() {
            *first = ("asks", asks());
        }
        conditions
    }

    fn matches(&self) -> Value {
        json!({"resourceRules": [{
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": self.operations,
            "resources": [self.resource],
        }]})
    }
}

/// The same namespaces as the webhook's.
fn selected() -> Value {
    json!({"namespaceSelector": {
        "matchLabels": {NAMESPACE_LABEL: "enabled"},
        "matchExpressions": [{
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["kube-system", "scoretap-system"],
        }],
    }})
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "scoretap"}},
        "spec": spec,
    })
}

/// A message of the tables as CEL: `{inject}` and `{port}` are variables.
fn message_cel(message: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        parts.extend([literal::text(before), format!("variables.{name}")]);
        rest = after;
    }
    parts.push(literal::text(rest));
    parts.join(" + ")
}
