//! `scoretap-injector policy`: the same decision as MutatingAdmissionPolicy, with nothing to run (Kubernetes 1.36+).
//!
//! A mutating policy cannot warn, so each has a ValidatingAdmissionPolicy beside it that only warns. The sidecar comes
//! from the same definition and the faults from the same tables as the webhook's. The warnings of pods reach no person but
//! who makes one by hand, so workloads have such a policy each. What CEL cannot do is to read the filter's configuration:
//! with a policy, the filter itself says at run time what is wrong with it.

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

/// What is wrong with the objects of some kinds that ask, as warnings.
struct Advice {
    name: &'static str,
    /// API groups, and of which kinds.
    resources: Vec<(&'static str, &'static [&'static str])>,
    operations: &'static [&'static str],
    /// Which objects are looked at.
    conditions: Vec<(&'static str, String)>,
    variables: Variables,
    /// CEL that holds where the object has the fault, and the message.
    faults: Vec<(&'static str, &'static str)>,
}

/// What becomes of those that have no fault.
struct Change {
    name: &'static str,
    conditions: Vec<(&'static str, String)>,
    /// Beside those of the advice.
    variables: Variables,
    mutation: String,
}

/// All policies and their bindings, as YAML.
pub fn manifests(settings: &Settings) -> String {
    let (pods, services) = (pods(), services());
    let mut objects = sidecars(settings).objects(&pods);
    objects.extend(pods.objects());
    objects.extend(workloads().objects());
    objects.extend(cron_jobs().objects());
    objects.extend(led_services().objects(&services));
    objects.extend(services.objects());
    let mut text = HEADER.to_owned();
    for object in objects {
        text += "---\n";
        text += &yaml::write(&object);
    }
    text
}

fn pods() -> Advice {
    of_pods("scoretap-pods-advice", vec![("", &["pods"])], &["CREATE"], "object")
}

fn workloads() -> Advice {
    let resources: Vec<(_, &[_])> =
        vec![("apps", &["deployments", "statefulsets", "daemonsets"]), ("batch", &["jobs"])];
    of_pods("scoretap-workloads-advice", resources, &["CREATE", "UPDATE"], "object.spec.template")
}

fn cron_jobs() -> Advice {
    let root = "object.spec.jobTemplate.spec.template";
    of_pods("scoretap-cronjobs-advice", vec![("batch", &["cronjobs"])], &["CREATE", "UPDATE"], root)
}

/// On objects in which the pod, or the template of one, is at `root`.
fn of_pods(
    name: &'static str,
    resources: Vec<(&'static str, &'static [&'static str])>,
    operations: &'static [&'static str],
    root: &str,
) -> Advice {
    let taken = variables::containers_taken(&format!("{root}.spec"));
    let labels = format!("{root}.metadata.labels");
    // What is already injected was right when it was.
    let untouched = format!(
        "!has({labels}) || !('{INJECTED}' in {labels}) || {labels}['{INJECTED}'] != 'true' || !({taken})"
    );
    Advice {
        name,
        resources,
        operations,
        conditions: vec![("asks", asks(root)), ("has-no-sidecar", untouched)],
        variables: variables::judging_pods(root),
        faults: faults::FAULTS.iter().map(|fault| (fault.cel, fault.message)).collect(),
    }
}

fn services() -> Advice {
    Advice {
        name: "scoretap-services-advice",
        resources: vec![("", &["services"])],
        operations: &["CREATE", "UPDATE"],
        conditions: vec![("asks", asks("object"))],
        variables: variables::judging_services(),
        faults: service::FAULTS.iter().map(|fault| (fault.cel, fault.message)).collect(),
    }
}

fn sidecars(settings: &Settings) -> Change {
    Change {
        name: "scoretap-pods",
        conditions: pods().conditions,
        variables: variables::making_sidecars(settings),
        mutation: add_sidecar(),
    }
}

fn led_services() -> Change {
    let was_led =
        format!("has(object.metadata.annotations) && '{TARGET_PORT}' in object.metadata.annotations");
    Change {
        name: "scoretap-services",
        conditions: vec![("asks-or-did", format!("({}) || ({was_led})", asks("object")))],
        variables: variables::leading_services(),
        mutation: lead_service(),
    }
}

/// A template may be without metadata.
fn asks(root: &str) -> String {
    let annotations = format!("{root}.metadata.annotations");
    format!(
        "has({root}.metadata) && has({annotations}) && '{INJECT}' in {annotations} && {annotations}['{INJECT}'] != 'false'"
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

impl Advice {
    fn objects(&self) -> [Value; 2] {
        let policy = json!({
            "failurePolicy": "Ignore",
            "matchConstraints": self.matches(),
            "matchConditions": named(&self.conditions),
            "variables": self.variables.to_value(),
            "validations": self.faults.iter().map(|(cel, message)| json!({
                "expression": format!("!({cel})"),
                "messageExpression": message_cel(message),
            })).collect::<Value>(),
        });
        let binding = json!({
            "policyName": self.name,
            "validationActions": ["Warn"],
            "matchResources": selected(),
        });
        [
            object("ValidatingAdmissionPolicy", self.name, &policy),
            object("ValidatingAdmissionPolicyBinding", self.name, &binding),
        ]
    }

    fn matches(&self) -> Value {
        let rules = self.resources.iter().map(|(group, resources)| {
            json!({
                "apiGroups": [group],
                "apiVersions": ["v1"],
                "operations": self.operations,
                "resources": resources,
            })
        });
        json!({"resourceRules": rules.collect::<Value>()})
    }
}

impl Change {
    fn objects(&self, advice: &Advice) -> Vec<Value> {
        let faulty: Vec<_> = advice.faults.iter().map(|(cel, _)| format!("({cel})")).collect();
        let mut variables = advice.variables.and(&self.variables);
        variables.add("faulty", faulty.join(" ||\n"));
        let policy = json!({
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": advice.matches(),
            "matchConditions": named(&self.conditions),
            "variables": variables.to_value(),
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": self.mutation}}],
        });
        let binding = json!({"policyName": self.name, "matchResources": selected()});
        vec![
            object("MutatingAdmissionPolicy", self.name, &policy),
            object("MutatingAdmissionPolicyBinding", self.name, &binding),
        ]
    }
}

fn named(conditions: &[(&str, String)]) -> Value {
    conditions.iter().map(|(name, cel)| json!({"name": name, "expression": cel})).collect()
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
