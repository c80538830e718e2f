//! The subjects of the checks: each workload with its pods, and each pod whose workload was not seen.

use std::borrow::Cow;
use std::collections::BTreeMap;

use scoretap_injector::annotations::{CONTAINERS, INJECT};
use scoretap_injector::inject::{Decision, decide};
use scoretap_injector::pod::Pod;
use scoretap_injector::settings::Settings;
use serde_json::{Value, json};

use super::object::{annotation, is_alive, kind, label, name, namespace, owner, text, text_at};
use super::snapshot::{Focus, Kind, Snapshot};
use crate::text::{word, words};

/// A workload or a pod.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'a> {
    /// The workload, or the pod.
    pub(crate) object: &'a Value,
    /// The pod, or the template for new pods.
    pub(crate) template: Cow<'a, Value>,
    /// Its existing pods.
    pub(crate) pods: Vec<&'a Value>,
    /// The injector's decision on a new pod.
    pub(crate) decision: Decision,
    /// The settings of the installation.
    settings: &'a Settings,
}

/// Every workload and pod of a snapshot that may ask for the sidecar.
pub(crate) fn subjects(snapshot: &Snapshot) -> Vec<Subject<'_>> {
    let workloads = snapshot.list(Kind::Workloads);
    let settings = &snapshot.settings;
    let mut subjects: Vec<_> =
        workloads.iter().map(|workload| Subject::of_workload(workload, settings)).collect();
    for pod in snapshot.list(Kind::Pods).iter().filter(|pod| is_alive(pod)) {
        match subjects.iter_mut().find(|subject| subject.owns(pod)) {
            Some(subject) => subject.pods.push(pod),
            None => subjects.push(Subject { pods: vec![pod], ..Subject::new(pod, pod, settings) }),
        }
    }
    if let Some(focus) = &snapshot.focus {
        subjects = subjects.into_iter().filter(|s| s.is(focus)).map(Subject::asking).collect();
    }
    subjects.into_iter().map(Subject::decided).collect()
}

/// Kind and name of the workload that recreates a pod from a template.
fn workload(pod: &Value) -> Option<(String, String)> {
    let owner = owner(pod)?;
    let (kind, name) = (text(owner, "kind")?, text(owner, "name")?);
    match (kind, label(pod, "pod-template-hash")) {
        ("ReplicaSet", Some(hash)) => {
            let name = name.strip_suffix(hash).and_then(|name| name.strip_suffix('-')).unwrap_or(name);
            Some(("deployment".to_owned(), name.to_owned()))
        }
        ("StatefulSet" | "DaemonSet", _) => Some((kind.to_ascii_lowercase(), name.to_owned())),
        _ => None,
    }
}

impl<'a> Subject<'a> {
    fn new(object: &'a Value, template: &'a Value, settings: &'a Settings) -> Self {
        let (template, decision) = (Cow::Borrowed(template), Decision::NotAsked);
        Self { object, template, pods: Vec::new(), decision, settings }
    }

    fn of_workload(object: &'a Value, settings: &'a Settings) -> Self {
        Self::new(object, object.pointer("/spec/template").unwrap_or(&super::object::NULL), settings)
    }

    fn owns(&self, pod: &Value) -> bool {
        let is_mine = |(kind, name): (String, String)| kind == self.kind() && name == self.name();
        namespace(pod) == self.namespace() && !self.is_pod() && workload(pod).is_some_and(is_mine)
    }

    fn is(&self, focus: &Focus) -> bool {
        self.namespace() == focus.namespace && self.kind() == focus.kind && self.name() == focus.name
    }

    /// The same subject, as if it asked for the sidecar.
    fn asking(mut self) -> Self {
        if annotation(&self.template, INJECT).is_none() {
            self.template = Cow::Owned(self.template_with(&[(INJECT, Some("true".to_owned()))]));
        }
        self
    }

    fn decided(mut self) -> Self {
        self.decision = self.decide(&self.template);
        self
    }

    /// The injector's decision on a pod from this template.
    pub(crate) fn decide(&self, template: &Value) -> Decision {
        let workload = if self.is_pod() { None } else { Some(self.name()) };
        decide(template, workload, self.settings)
    }

    pub(crate) fn namespace(&self) -> &str {
        namespace(self.object)
    }

    pub(crate) fn name(&self) -> &str {
        name(self.object)
    }

    pub(crate) fn kind(&self) -> String {
        // Items of a List may lack their kind; only pods do in practice.
        let kind = kind(self.object);
        if kind.is_empty() { "pod".to_owned() } else { kind }
    }

    fn is_pod(&self) -> bool {
        self.kind() == "pod"
    }

    /// `NAMESPACE/KIND/NAME`
    pub(crate) fn place(&self) -> String {
        format!("{}/{}/{}", self.namespace(), self.kind(), self.name())
    }

    /// Whether a new pod asks for the sidecar.
    pub(crate) fn asks(&self) -> bool {
        Pod(&self.template).asks()
    }

    /// Whether the template already contains the sidecar, as after `scoretap inject`.
    pub(crate) fn is_injected(&self) -> bool {
        is_injected(&self.template)
    }

    /// Whether calls to its pods pass through Envoy, or would after injection.
    pub(crate) fn is_measured(&self) -> bool {
        self.is_injected() || self.injected().is_some()
    }

    /// Whether the injector leaves its pods unchanged.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.decision, Decision::Refused(_))
    }

    /// A new pod with the sidecar. `None` if it does not get one.
    pub(crate) fn injected(&self) -> Option<&Value> {
        match &self.decision {
            Decision::Injected(pod) => Some(pod),
            Decision::NotAsked | Decision::Already | Decision::Refused(_) => None,
        }
    }

    /// The template with annotations set (`None` removes one).
    pub(crate) fn template_with(&self, annotations: &[(&str, Option<String>)]) -> Value {
        let mut template = self.template.clone().into_owned();
        if template["metadata"]["annotations"].is_null() {
            template["metadata"]["annotations"] = json!({});
        }
        for (name, value) in annotations {
            template["metadata"]["annotations"][*name] = json!(value);
        }
        template
    }

    /// The labels of its pods after injection.
    pub(crate) fn labels_when_injected(&self) -> Value {
        let mut labels = super::object::labels(&self.template).clone();
        if labels.is_null() {
            labels = json!({});
        }
        labels[scoretap_injector::annotations::INJECTED] = "true".into();
        labels
    }

    /// The command that recreates its pods.
    pub(crate) fn restart(&self) -> String {
        if !self.is_pod() {
            return format!("kubectl rollout restart {} {}{}", self.kind(), word(self.name()), self.at());
        }
        if owner(self.object).is_some() {
            return format!("kubectl delete pod {}{}", word(self.name()), self.at());
        }
        format!("kubectl get pod {}{} -o yaml | kubectl replace --force -f -", word(self.name()), self.at())
    }

    /// The command that sets annotations (`None` removes one) in its pod template.
    pub(crate) fn annotate(&self, annotations: &[(&str, Option<String>)]) -> String {
        if !self.is_pod() {
            let values: serde_json::Map<_, _> =
                annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            return self.patch(&json!({"metadata": {"annotations": values}}));
        }
        if let Some(owner) = owner(self.object) {
            return self.edit(owner);
        }
        let changes: Vec<_> = annotations
            .iter()
            .map(|(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => format!("{name}-"),
            })
            .collect();
        let changes = words(changes.iter().map(String::as_str));
        self.recreate(&format!("annotate --local -f - --overwrite -o yaml {changes}"))
    }

    /// The command that changes the pod template by a strategic merge patch, which merges containers by name.
    pub(crate) fn patch(&self, template: &Value) -> String {
        if !self.is_pod() {
            let patch = word(&json!({"spec": {"template": template}}).to_string());
            return format!("kubectl patch {} {}{} -p {patch}", self.kind(), word(self.name()), self.at());
        }
        match owner(self.object) {
            Some(owner) => self.edit(owner),
            None => self.recreate(&format!("patch --local -f - -o yaml -p {}", word(&template.to_string()))),
        }
    }

    /// Only its owner knows the template of a pod.
    fn edit(&self, owner: &Value) -> String {
        let kind = text_at(owner, "/kind").to_ascii_lowercase();
        format!("kubectl edit {}{}", words([kind.as_str(), text_at(owner, "/name")]), self.at())
    }

    /// Replaces a pod without an owner by one that a local kubectl command changed: most fields of a pod are immutable.
    fn recreate(&self, change: &str) -> String {
        let (name, at) = (word(self.name()), self.at());
        format!("kubectl get pod {name}{at} -o yaml | kubectl {change} | kubectl replace --force -f -")
    }

    fn at(&self) -> String {
        super::object::in_namespace(self.namespace())
    }
}

/// The images of the sidecar's containers in a pod.
pub(crate) fn sidecar_images(pod: &Value) -> BTreeMap<String, String> {
    let all = super::object::containers(pod)
        .filter_map(|container| Some((text(container, "name")?, text(container, "image")?)));
    let ours = all.filter(|(name, _)| CONTAINERS.contains(name));
    ours.map(|(name, image)| (name.to_owned(), image.to_owned())).collect()
}

/// Whether a pod has our sidecar. Istio's pods have only the exporter, and a tenant's own container may have its name.
pub(crate) fn is_injected(pod: &Value) -> bool {
    let [setup, _, exporter] = CONTAINERS;
    super::object::has_container(pod, exporter)
        && (label(pod, scoretap_injector::annotations::INJECTED) == Some("true")
            || super::object::has_container(pod, setup))
}
