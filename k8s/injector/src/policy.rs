//! The same decision as a MutatingAdmissionPolicy, which needs no pods (Kubernetes 1.36 and later).
//!
//! A mutating policy cannot warn, so a ValidatingAdmissionPolicy beside it does, and does nothing else. Workloads have
//! such a policy too, because warnings about pods reach only users who create a pod by hand. The sidecar comes from the
//! same definition as the webhook's, and the faults from the same tables. CEL cannot read the filter's configuration,
//! so in policy mode the filter reports its faults at run time.

mod literal;
mod patches;
mod values;
mod variables;

use serde_json::{Value, json};

use crate::annotations::{INJECT, INJECTED};
use crate::faults::{FAULTS, NOTICES, PLACEHOLDERS};
use crate::settings::Settings;
use crate::yaml;

use values::Values;

/// The label of namespaces with injection.
pub const NAMESPACE_LABEL: &str = "scoretap.dev/injection";

/// A policy that warns about faults of objects that ask for the sidecar.
struct Advice {
    name: &'static str,
    /// API groups and their resources.
    resources: Vec<(&'static str, &'static [&'static str])>,
    operations: &'static [&'static str],
    /// The path of the pod or pod template in the object.
    root: &'static str,
}

/// The policies and their bindings, as YAML.
pub fn manifests(settings: &Settings) -> String {
    written(Values::Of(settings))
}

/// The same as a template of the chart, with Helm expressions for the settings.
pub fn template() -> String {
    let manifests = written(Values::Helm);
    format!("{{{{- if eq (include \"scoretap.mode\" .) \"policy\" }}}}\n{manifests}{{{{- end }}}}\n")
}

fn written(values: Values<'_>) -> String {
    let mut objects = mutating(values);
    objects.extend([pods(), workloads(), cron_jobs()].iter().flat_map(|advice| advice.objects(values)));
    objects.iter().map(yaml::write).collect::<Vec<_>>().join("---\n")
}

fn pods() -> Advice {
    Advice {
        name: "scoretap-pods-advice",
        resources: vec![("", &["pods"])],
        operations: &["CREATE"],
        root: "object",
    }
}

fn workloads() -> Advice {
    Advice {
        name: "scoretap-workloads-advice",
        resources: vec![("apps", &["deployments", "statefulsets", "daemonsets"]), ("batch", &["jobs"])],
        operations: &["CREATE", "UPDATE"],
        root: "object.spec.template",
    }
}

fn cron_jobs() -> Advice {
    Advice {
        name: "scoretap-cronjobs-advice",
        resources: vec![("batch", &["cronjobs"])],
        operations: &["CREATE", "UPDATE"],
        root: "object.spec.jobTemplate.spec.template",
    }
}

/// Conditions for a pod, or a pod template, at `root`. A template may lack metadata.
fn asks(root: &str) -> (&'static str, String) {
    let annotations = format!("{root}.metadata.annotations");
    let asks = format!(
        "has({root}.metadata) && has({annotations}) && '{INJECT}' in {annotations} && {annotations}['{INJECT}'] != 'false'"
    );
    ("asks", asks)
}

/// Whether the pod at `root` has the sidecar already. It was checked before injection.
fn has_sidecar(root: &str) -> String {
    let labels = format!("{root}.metadata.labels");
    let taken = variables::containers_taken(&format!("{root}.spec"));
    format!("has({labels}) && '{INJECTED}' in {labels} && {labels}['{INJECTED}'] == 'true' && ({taken})")
}

impl Advice {
    fn objects(&self, values: Values<'_>) -> [Value; 2] {
        let mut variables = variables::judging(self.root, values);
        variables.add("injected", has_sidecar(self.root));
        let faults = FAULTS.iter().map(|fault| (format!("variables.injected || !({})", fault.cel), fault));
        // A pod with a fault gets no sidecar, so notices do not apply.
        let notices = NOTICES.iter().map(|notice| {
            (format!("(!variables.injected && variables.faulty) || !({})", notice.cel), notice)
        });
        let policy = json!({
            "failurePolicy": "Ignore",
            "matchConstraints": self.matches(),
            "matchConditions": named(&[asks(self.root)]),
            "variables": variables.to_value(),
            "validations": faults.chain(notices).map(|(cel, fault)| json!({
                "expression": cel,
                "messageExpression": message_cel(fault.message),
            })).collect::<Value>(),
        });
        let binding = json!({
            "policyName": self.name,
            "validationActions": ["Warn"],
            "matchResources": selected(values),
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

fn mutating(values: Values<'_>) -> Vec<Value> {
    const NAME: &str = "scoretap-pods";
    let pods = pods();
    let mut variables = variables::judging(pods.root, values);
    variables.extend(variables::making(values));
    let conditions = [asks(pods.root), ("has-no-sidecar", format!("!({})", has_sidecar(pods.root)))];
    let policy = json!({
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": pods.matches(),
        "matchConditions": named(&conditions),
        "variables": variables.to_value(),
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patches::mutation(values)}}],
    });
    let binding = json!({"policyName": NAME, "matchResources": selected(values)});
    vec![
        object("MutatingAdmissionPolicy", NAME, &policy),
        object("MutatingAdmissionPolicyBinding", NAME, &binding),
    ]
}

fn named(conditions: &[(&str, String)]) -> Value {
    conditions.iter().map(|(name, cel)| json!({"name": name, "expression": cel})).collect()
}

/// Selects the same namespaces as the webhook.
fn selected(values: Values<'_>) -> Value {
    json!({"namespaceSelector": {
        "matchLabels": {NAMESPACE_LABEL: "enabled"},
        "matchExpressions": [{
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["kube-system", values.namespace()],
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

/// A message from the tables as CEL, with variables for placeholders.
fn message_cel(message: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = message;
    let next = |rest: &str| {
        let found = PLACEHOLDERS.iter().filter_map(|(written, _, variable)| {
            rest.find(written).map(|index| (index, *written, *variable))
        });
        found.min()
    };
    while let Some((index, written, variable)) = next(rest) {
        let (before, after) = rest.split_at(index);
        parts.extend([literal::text(before), format!("variables.{variable}Shown")]);
        rest = after.strip_prefix(written).unwrap_or_default();
    }
    parts.push(literal::text(rest));
    parts.join(" + ")
}
