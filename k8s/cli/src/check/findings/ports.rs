//! Services that bypass Envoy. Their calls are answered but not measured.

use serde_json::{Value, json};

use super::View;
use crate::check::finding::Finding;
use crate::check::object::{at, containers, name, patch_step, place};
use crate::check::snapshot::Snapshot;
use crate::check::subject::Subject;
use crate::check::traffic::{App, MOVE_APP, Route, Way, services, target};
use crate::servers;
use crate::text::clean;

/// Subjects that have the sidecar or would get it, and whose app keeps its port.
fn measured<'v>(view: &'v View<'_>) -> impl Iterator<Item = (&'v Subject<'v>, App)> {
    let measured = view.subjects.iter().filter(|subject| subject.is_measured());
    measured.filter_map(|subject| Some((subject, App::of(subject)?))).filter(|(_, app)| !app.moved)
}

/// The targets of all Services that select a subject.
pub(super) fn targets(subject: &Subject<'_>, snapshot: &Snapshot) -> Vec<String> {
    let services = services(subject, snapshot).into_iter();
    services.flat_map(|service| at(service, "/spec/ports").map(target)).collect()
}

/// The server's name and the annotation that moves it, if the server is known and the injector accepts the annotation.
pub(super) fn moves(subject: &Subject<'_>, app: &App) -> Option<(&'static str, String)> {
    let container = at(&subject.template, "/spec/containers")
        .find(|container| crate::check::object::text(container, "name") == Some(&app.container))?;
    let accepts = |line: &str| {
        let template = subject.template_with(&[(MOVE_APP, Some(line.to_owned()))]);
        matches!(subject.decide(&template), scoretap_injector::inject::Decision::Injected(_))
    };
    servers::lines(container).into_iter().find(|(_, line)| accepts(line))
}

/// Whether all running pods declare this name for the app's port, so that a Service can use it immediately.
fn pods_have_name(subject: &Subject<'_>, wanted: &str) -> bool {
    subject.pods.iter().all(|pod| {
        at(pod, "/spec/containers")
            .flat_map(|container| at(container, "/ports"))
            .any(|port| crate::check::object::text(port, "name") == Some(wanted))
    })
}

/// The app's port has no name that Envoy could take.
pub(super) fn port_without_name(view: &View<'_>) -> Vec<Finding> {
    let unnamed = measured(view).filter(|(_, app)| app.names.is_empty());
    unnamed
        .map(|(subject, app)| {
            let number = app.number;
            let why = format!(
                "the app's port {number} has no name, so no Service can lead to Envoy by name and calls go past it; name \
                 it, roll the pods out, and only then use the name in the Service"
            );
            match moves(subject, &app) {
                Some((server, line)) => {
                    let why = format!(
                        "{why}. {server} can move to another port instead, as this command does: then nothing else changes"
                    );
                    Finding::new(subject.place(), why, subject.annotate(&[(MOVE_APP, Some(line))]))
                }
                None => {
                    let name = free_name(subject);
                    let ports = json!([{"containerPort": number, "name": name, "protocol": "TCP"}]);
                    let containers = json!([{"name": app.container, "ports": ports}]);
                    Finding::new(subject.place(), why, subject.patch(&json!({"spec": {"containers": containers}})))
                }
            }
        })
        .collect()
}

/// A port name that no container of the pod declares. Istio takes the protocol from what precedes the hyphen.
fn free_name(subject: &Subject<'_>) -> String {
    let taken: Vec<_> = containers(&subject.template)
        .flat_map(|container| at(container, "/ports"))
        .filter_map(|port| crate::check::object::text(port, "name"))
        .collect();
    let mut names = std::iter::once("http".to_owned()).chain((2..).map(|number| format!("http-{number}")));
    names.find(|name| !taken.contains(&name.as_str())).unwrap_or_default()
}

/// A Service that targets the number of the app's port.
pub(super) fn service_by_number(view: &View<'_>) -> Vec<Finding> {
    let named = measured(view).filter(|(_, app)| !app.names.is_empty());
    named.flat_map(|(subject, app)| by_number(subject, &app, view.snapshot)).collect()
}

fn by_number(subject: &Subject<'_>, app: &App, snapshot: &Snapshot) -> Vec<Finding> {
    let routes = app.routes(subject, snapshot).into_iter().filter(|route| route.way == Way::Number);
    routes
        .map(|route| {
            let name = &app.names[0];
            let mut why = format!(
                "its target port is the number {}, so its calls go past Envoy: they are answered, and not measured",
                app.number
            );
            if let Some((server, line)) = moves(subject, app) {
                why = format!(
                    "{why}. Use the name, as this command does, or move {server} to another port with {MOVE_APP}: \
                     \"{line}\" on the pods"
                );
            }
            let command = if pods_have_name(subject, name) {
                let path = format!("/spec/ports/{}/targetPort", route.index);
                patch_step(route.service, "replace", &path, &json!(name))
            } else {
                // The Service would lose the pods that do not declare the name yet.
                why = format!("{why}. Some pods do not declare the port {name} yet: roll them out first");
                subject.restart()
            };
            Finding::new(place(route.service), why, command)
        })
        .collect()
}

/// Callers of a headless Service reach the app's port directly.
pub(super) fn headless_service(view: &View<'_>) -> Vec<Finding> {
    let all = measured(view).filter_map(|(subject, app)| {
        let routes = app.routes(subject, view.snapshot);
        // A StatefulSet's governing Service is headless. If another Service takes the calls, it only names the pods.
        let is_only = routes.iter().all(|route| route.way == Way::Headless);
        let route = routes.into_iter().next().filter(|_| is_only)?;
        Some(headless(subject, &app, &route))
    });
    all.collect()
}

fn headless(subject: &Subject<'_>, app: &App, route: &Route<'_>) -> Finding {
    let number = app.number;
    let why = format!(
        "it is headless: callers reach the pods themselves at port {number}, past Envoy. Move the app to another port, so \
         that Envoy takes {number}"
    );
    let (why, line) = match moves(subject, app) {
        Some((server, line)) => (format!("{why}; {server} takes its port so"), line),
        None => (
            format!(
                "{why}; in place of PORT write the variable from which the app takes its port, or \"arg --FLAG\""
            ),
            "env PORT".to_owned(),
        ),
    };
    Finding::new(place(route.service), why, subject.annotate(&[(MOVE_APP, Some(line))]))
}

/// For `check KIND/NAME`: one line for each Service on what happens to its calls after injection.
pub(crate) fn describe(subject: &Subject<'_>, snapshot: &Snapshot) -> Vec<String> {
    let Some(app) = App::of(subject) else { return Vec::new() };
    let by = |service: &Value, way: Way| {
        let measured = app.moved || way == Way::Name;
        let how = match way {
            Way::Name => "by name",
            Way::Number => "by number",
            Way::Headless => "at the pods' own addresses",
        };
        let result = if measured { "measured" } else { "answered, not measured" };
        format!("calls to Service {} reach port {} {how}: {result}", clean(name(service)), app.number)
    };
    app.routes(subject, snapshot).iter().map(|route| by(route.service, route.way)).collect()
}
