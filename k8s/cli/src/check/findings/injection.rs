//! Injection: why a pod that asks for the sidecar does not have it.

use scoretap_injector::annotations::{
    APP_PORT, CONFIG, DIALECT, INJECT, INSIGHT, MODEL_NAME, MODEL_VERSION, NEVER_THE_APP, PRE_STOP,
};
use scoretap_injector::inject::Decision;
use scoretap_injector::pod::{Pod, is_tcp, may_take_calls};
use serde_json::Value;

use super::View;
use super::cluster::injects;
use crate::check::finding::Finding;
use crate::check::object::{
    annotation, at, has_container, kubectl, label, name, seconds, statuses, text, text_at,
};
use crate::check::snapshot::Kind;
use crate::check::subject::{Subject, is_injected, sidecar_images};
use crate::check::traffic::{App, MOVE_APP};
use crate::text::{clean, word};

/// The label by which a namespace takes part.
const OPT_IN: &str = "scoretap.dev/injection";

/// `scoretap.dev/inject` on a Deployment instead of its pod template.
pub(super) fn annotation_on_workload(view: &View<'_>) -> Vec<Finding> {
    let misplaced = view.subjects.iter().filter(|subject| {
        subject.object.pointer("/spec/template").is_some()
            && annotation(subject.object, INJECT).is_some_and(|value| value != "false")
            && annotation(&subject.template, INJECT).is_none()
    });
    misplaced
        .map(|subject| {
            let why = format!(
                "{INJECT} is on the {} itself, where nothing reads it; it belongs on the template of its pods",
                subject.kind()
            );
            Finding::new(subject.place(), why, subject.annotate(&[(INJECT, Some("true".to_owned()))]))
        })
        .collect()
}

fn is_labelled(view: &View<'_>, namespace: &str) -> bool {
    let labels = view.snapshot.namespace_labels(namespace);
    // Assume the label if the caller may not see the namespace.
    labels.is_null() && !knows(view, namespace) || text(labels, OPT_IN) == Some("enabled")
}

fn knows(view: &View<'_>, namespace: &str) -> bool {
    view.snapshot.list(Kind::Namespaces).iter().any(|found| name(found) == namespace)
}

/// Subjects that ask for the sidecar and do not bring it themselves.
fn waiting<'v>(view: &'v View<'_>) -> impl Iterator<Item = &'v Subject<'v>> {
    view.subjects.iter().filter(|subject| subject.asks() && !subject.is_injected())
}

/// Pods ask for the sidecar in a namespace without the label.
pub(super) fn namespace_not_labelled(view: &View<'_>) -> Vec<Finding> {
    let unlabelled = waiting(view).filter(|subject| !is_labelled(view, subject.namespace()));
    unlabelled
        .map(|subject| {
            let namespace = subject.namespace();
            let why = format!(
                "the namespace {namespace} has no label {OPT_IN}=enabled, so its pods get no sidecar; label it, then \
                 restart the pods"
            );
            let command = format!("kubectl label namespace {} {OPT_IN}=enabled --overwrite", word(namespace));
            Finding::new(subject.place(), why, command)
        })
        .collect()
}

/// The injector leaves the pod unchanged.
pub(super) fn refused(view: &View<'_>) -> Vec<Finding> {
    let refused = waiting(view).filter(|subject| !is_serverless(&subject.template));
    refused
        .filter_map(|subject| {
            let Decision::Refused(reasons) = &subject.decision else { return None };
            let why = format!("the sidecar is not added: {}", reasons.join("; "));
            Some(Finding::new(subject.place(), why, cure(subject, view)))
        })
        .collect()
}

type Annotations = Vec<(&'static str, Option<String>)>;

/// The command for the first change of annotations with which the injector accepts the pod. If none works, the command
/// removes the request. If the app has to move, it sets `move-app` or shows more.
fn cure(subject: &Subject<'_>, view: &View<'_>) -> String {
    if must_move(subject) {
        let moves = App::of(subject).and_then(|app| super::ports::moves(subject, &app));
        return match moves {
            Some((_, line)) => subject.annotate(&[(MOVE_APP, Some(line))]),
            None => kubectl("describe", subject.object),
        };
    }
    let takes = |annotations: &Annotations| {
        let template = subject.template_with(annotations);
        matches!(subject.decide(&template), Decision::Injected(..))
    };
    let cures = cures(subject, view);
    subject.annotate(&cures.into_iter().find(takes).unwrap_or_else(|| vec![(INJECT, None)]))
}

/// Whether callers could bypass Envoy unless the app moves: its port has a hostPort, or another container has a port of
/// the same name. Another port of the pod would be measured in place of the app's.
fn must_move(subject: &Subject<'_>) -> bool {
    let pod = Pod(&subject.template);
    let is_port_known = !pod.wanted_port().is_empty() || !pod.has_several_ports();
    let is_bypassed = pod.has_host_port() && !pod.is_host_network() || pod.shares_its_port_name();
    is_port_known && is_bypassed && pod.moves().is_none()
}

fn cures(subject: &Subject<'_>, view: &View<'_>) -> Vec<Annotations> {
    let without = |names: &[&'static str]| names.iter().map(|name| (*name, None)).collect::<Annotations>();
    let mut cures = vec![vec![(INJECT, Some("true".to_owned()))]];
    cures.extend(ports(subject, view).into_iter().map(|port| vec![(APP_PORT, Some(port))]));
    let others = subject.template.pointer("/metadata/annotations").and_then(Value::as_object);
    let known = [APP_PORT, CONFIG, INSIGHT, DIALECT, PRE_STOP, MOVE_APP];
    cures.extend(known.iter().filter(|name| has(others, name)).map(|name| without(&[name])));
    cures.push(without(&[MODEL_NAME, MODEL_VERSION]));
    cures.push(without(&crate::check::resources::ANNOTATIONS));
    // The app declares no port: the user has to replace 8080.
    cures.push(vec![(APP_PORT, Some("8080".to_owned()))]);
    cures
}

fn has(annotations: Option<&serde_json::Map<String, Value>>, name: &str) -> bool {
    annotations.is_some_and(|annotations| annotations.contains_key(name))
}

/// Ports that may be the app's, by the injector's own rule or because a Service targets them. The latter come first.
fn ports(subject: &Subject<'_>, view: &View<'_>) -> Vec<String> {
    let targets = super::ports::targets(subject, view.snapshot);
    let number = |port: &Value| port.get("containerPort").map(ToString::to_string).unwrap_or_default();
    let is_called = |port: &Value| {
        targets.iter().any(|target| *target == number(port) || Some(target.as_str()) == text(port, "name"))
    };
    let is_app = |container: &&Value| !NEVER_THE_APP.contains(&text(container, "name").unwrap_or_default());
    let mut ports: Vec<_> = at(&subject.template, "/spec/containers")
        .filter(is_app)
        .flat_map(|container| at(container, "/ports"))
        .filter(|port| is_tcp(port) && (may_take_calls(port) || is_called(port)))
        .collect();
    ports.sort_by_key(|port| !is_called(port));
    ports.into_iter().map(number).collect()
}

/// KServe's serverless mode and Knative: queue-proxy calls the app on loopback, past Envoy.
fn is_serverless(template: &Value) -> bool {
    has_container(template, "queue-proxy") || label(template, "serving.knative.dev/revision").is_some()
}

/// A Knative pod asks for the sidecar.
pub(super) fn serverless(view: &View<'_>) -> Vec<Finding> {
    let serverless = waiting(view).filter(|subject| is_serverless(&subject.template));
    serverless
        .map(|subject| {
            let why = "Knative's queue-proxy calls the app inside the pod, past Envoy, so no call would be measured; KServe \
                       in raw deployment mode works with scoretap.dev/move-app";
            Finding::new(subject.place(), why, subject.annotate(&[(INJECT, None)]))
        })
        .collect()
}

/// Pods that run without the sidecar although a new pod would get it.
pub(super) fn pod_without_sidecar(view: &View<'_>) -> Vec<Finding> {
    if view.snapshot.focus.is_some()
        || !injects(view.snapshot)
        || !super::cluster::injector_down(view).is_empty()
    {
        return Vec::new();
    }
    let ready = waiting(view)
        .filter(|subject| subject.injected().is_some() && is_labelled(view, subject.namespace()))
        .filter(|subject| !is_serverless(&subject.template));
    ready
        .flat_map(|subject| {
            let bare = subject.pods.iter().filter(|pod| !is_injected(pod));
            bare.map(move |pod| {
                let why = "it runs without the sidecar: it is older than its annotation, or was made while injection was \
                           down";
                Finding::new(place_of_pod(pod), why, subject.restart())
            })
        })
        .collect()
}

/// Pods whose sidecar has other images than a new pod would get, for example after an upgrade.
pub(super) fn sidecar_outdated(view: &View<'_>) -> Vec<Finding> {
    let installed =
        view.snapshot.trial.as_ref().map(|trial| &trial.images).filter(|images| !images.is_empty());
    let Some(installed) = installed else { return Vec::new() };
    // A pipeline put the sidecar into the template.
    let subjects = view.subjects.iter().filter(|subject| subject.asks() && !subject.is_injected());
    let pods = subjects.flat_map(|subject| subject.pods.iter().map(move |pod| (subject, pod)));
    pods.filter(|(_, pod)| is_injected(pod) && sidecar_images(pod) != *installed)
        .map(|(subject, pod)| {
            let why = "its sidecar has other images than the installed ones; it keeps working until the pod is recreated";
            Finding::new(place_of_pod(pod), why, subject.restart())
        })
        .collect()
}

fn place_of_pod(pod: &Value) -> String {
    format!("{}/pod/{}", text_at(pod, "/metadata/namespace"), name(pod))
}

/// Seconds for which an event counts if nothing shows whether its cause is gone.
const RECENT: i64 = 600;

/// A controller could not create an injected pod.
pub(super) fn failed_create(view: &View<'_>) -> Vec<Finding> {
    let events = view.snapshot.list(Kind::Events).iter();
    let mut seen = Vec::new();
    events
        .filter_map(|event| {
            let object = event.get("involvedObject")?;
            let subject = view.subjects.iter().find(|subject| made(view, object, subject))?;
            let concerns = (subject.asks() || subject.is_injected()) && lasts(view, object, event);
            let message = clean(text_at(event, "/message"));
            let key = (text_at(object, "/uid").to_owned(), message.clone());
            if !concerns || seen.contains(&key) {
                return None;
            }
            seen.push(key);
            let why = format!("its pods cannot be made: {message}");
            let kind = text_at(object, "/kind").to_ascii_lowercase();
            let place = format!("{}/{kind}/{}", subject.namespace(), text_at(object, "/name"));
            Some(Finding::new(place, why, cure_of_refusal(subject, view)))
        })
        .collect()
}

/// The command that sets annotations to fit the namespace's limits, if these are the cause. Otherwise a command that
/// shows more.
fn cure_of_refusal(subject: &Subject<'_>, view: &View<'_>) -> String {
    let fitting = crate::check::resources::fitting(subject, view.snapshot);
    match fitting {
        Some(annotations) if !annotations.is_empty() => subject.annotate(&annotations),
        _ => kubectl("describe", subject.object),
    }
}

/// Whether this object creates the pods of a subject: it is the workload or one of its ReplicaSets.
fn made(view: &View<'_>, object: &Value, subject: &Subject<'_>) -> bool {
    if text_at(object, "/namespace") != subject.namespace() {
        return false;
    }
    let (kind, name_of) = (text_at(object, "/kind"), text_at(object, "/name"));
    let own = kind.eq_ignore_ascii_case(&subject.kind()) && name_of == subject.name();
    let set =
        || view.snapshot.within(Kind::ReplicaSets, subject.namespace()).find(|set| name(set) == name_of);
    let owned = || {
        set()
            .and_then(crate::check::object::owner)
            .is_some_and(|owner| text(owner, "name") == Some(subject.name()))
    };
    own || kind == "ReplicaSet" && owned()
}

/// Whether the pods are still missing.
fn lasts(view: &View<'_>, object: &Value, event: &Value) -> bool {
    let sets = view.snapshot.within(Kind::ReplicaSets, text_at(object, "/namespace"));
    let set = sets
        .into_iter()
        .find(|set| text_at(object, "/kind") == "ReplicaSet" && name(set) == text_at(object, "/name"));
    let number =
        |set: &Value, pointer: &str| set.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    match set {
        Some(set) => number(set, "/status/replicas") < number(set, "/spec/replicas"),
        None => {
            let times =
                ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"];
            let last = times.iter().find_map(|pointer| seconds(text_at(event, pointer)));
            last.is_some_and(|last| view.snapshot.now - last < RECENT)
        }
    }
}

/// Why a container of the sidecar does not stay up. `None` if it does.
pub(super) fn crash(pod: &Value) -> Option<(&str, &str)> {
    let reasons = ["/state/terminated/reason", "/lastState/terminated/reason", "/state/waiting/reason"];
    statuses(pod)
        .filter(|status| text(status, "name").is_some_and(|name| name.starts_with("scoretap-")))
        .find_map(|status| {
            let found = reasons.iter().map(|pointer| text_at(status, pointer));
            let reason =
                found.into_iter().find(|reason| ["OOMKilled", "CrashLoopBackOff"].contains(reason))?;
            Some((text(status, "name")?, reason))
        })
}

/// A container of the sidecar crashes or is killed at its memory limit.
pub(super) fn sidecar_crashes(view: &View<'_>) -> Vec<Finding> {
    let pods = view.subjects.iter().flat_map(|subject| subject.pods.iter().map(move |pod| (subject, pod)));
    pods.filter(|(_, pod)| is_injected(pod))
        .filter_map(|(subject, pod)| {
            let (container, reason) = crash(pod)?;
            let place = place_of_pod(pod);
            if reason == "OOMKilled" {
                let why = format!("{container} was killed for its memory; give the sidecar more");
                let more = [(crate::check::resources::MEMORY_LIMIT, Some("512Mi".to_owned()))];
                return Some(Finding::new(place, why, subject.annotate(&more)));
            }
            let why = format!("{container} crashes again and again; calls to the pod fail while Envoy is down; its log says why");
            let (pod, namespace) = (word(name(pod)), word(text_at(pod, "/metadata/namespace")));
            Some(Finding::new(place, why, format!("kubectl logs {pod} -n {namespace} -c {container} --previous")))
        })
        .collect()
}

/// An app has this many seconds to listen on its new port.
const START: i64 = 120;

/// The app should have moved to another port but does not listen there.
pub(super) fn moved_app_silent(view: &View<'_>) -> Vec<Finding> {
    let moved = view.subjects.iter().filter(|subject| annotation(&subject.template, MOVE_APP).is_some());
    let silent = |pod: &Value| {
        let ready = at(pod, "/status/conditions").find(|condition| text(condition, "type") == Some("Ready"));
        let is_waiting = ready.is_some_and(|ready| text(ready, "status") == Some("False"));
        let started = seconds(text_at(pod, "/status/startTime"));
        is_injected(pod)
            && is_waiting
            && crash(pod).is_none()
            && unpulled(pod).is_none()
            && text_at(pod, "/status/phase") == "Running"
            && started.is_some_and(|started| view.snapshot.now - started > START)
    };
    moved
        .filter_map(|subject| {
            let pod = subject.pods.iter().find(|pod| silent(pod))?;
            let line = clean(annotation(&subject.template, MOVE_APP).unwrap_or_default());
            let why = format!(
                "it is not ready: the app may ignore {MOVE_APP}: \"{line}\" and listen on its old port; pods of the earlier \
                 revision go on serving. Take the line back, or write the variable or flag that the app reads"
            );
            Some(Finding::new(place_of_pod(pod), why, subject.annotate(&[(MOVE_APP, None)])))
        })
        .collect()
}

/// The sidecar container whose image cannot be pulled.
pub(super) fn unpulled(pod: &Value) -> Option<&Value> {
    statuses(pod).find(|status| {
        let reason = text_at(status, "/state/waiting/reason");
        text(status, "name").is_some_and(|name| name.starts_with("scoretap-"))
            && ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"].contains(&reason)
    })
}

/// The sidecar's image cannot be pulled, so the app does not start.
pub(super) fn image_not_pulled(view: &View<'_>) -> Vec<Finding> {
    let pods = view.subjects.iter().flat_map(|subject| subject.pods.iter().filter(|pod| is_injected(pod)));
    pods.filter_map(|pod| {
        let status = unpulled(pod)?;
        let why = format!(
            "the sidecar's image {} cannot be pulled, so the app does not start; install with a registry that the nodes \
             reach (--set registry=…), or add a pull secret; this shows the error",
            text_at(status, "/image")
        );
        let command = format!(
            "kubectl describe pod {} -n {}",
            word(name(pod)),
            word(text_at(pod, "/metadata/namespace"))
        );
        Some(Finding::new(place_of_pod(pod), why, command))
    })
    .collect()
}
