//! `scoretap check`: reports what is wrong, and the command that fixes it. It changes nothing.

mod finding;
mod findings;
mod insight;
mod look;
pub(crate) mod object;
mod quantity;
mod resources;
mod selector;
mod snapshot;
mod subject;
#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!(…)` stands where it is used")]
mod tests;
mod traffic;

use anyhow::Result;
use serde_json::{Value, json};

use crate::kubectl::Cluster;
use crate::text::{clean, count};
use crate::{Status, console, usage, workload};
use finding::{blocks, wrap};
use findings::View;
use look::{Scope, look};
use snapshot::{Focus, Snapshot};
use subject::Subject;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A namespace, or a workload such as deployment/scorer, which is checked as if its pods asked for the sidecar
    /// [default: the whole cluster]
    #[arg(value_name = "NAMESPACE | KIND/NAME")]
    target: Option<String>,
    /// Namespace of the workload [default: the context's]
    #[arg(short, long)]
    namespace: Option<String>,
    #[command(flatten)]
    output: crate::Output,
}

pub(crate) fn run(cluster: &Cluster, args: &Args) -> Result<Status> {
    let scope = scope(cluster, args)?;
    let snapshot = look(cluster, &scope)?;
    if let Some(namespace) = scope.namespace.filter(|namespace| !snapshot.may_exist(namespace)) {
        return Err(usage(format!(
            "there is no namespace {namespace}; `kubectl get namespaces` lists them. A workload is written as \
             deployment/{namespace}"
        )));
    }
    let view = View::new(&snapshot);
    if let Some(focus) = &snapshot.focus
        && view.subjects.is_empty()
    {
        return Err(not_there(focus));
    }
    let findings = for_cluster(findings::find(&view), cluster);
    let insight = insight::readings(&view);
    let effect = snapshot.focus.as_ref().and(view.subjects.first()).map(|subject| effect(subject, &snapshot));
    if args.output.is_json() {
        let findings: Vec<_> = findings.iter().map(finding::Finding::json).collect();
        let unseen: Vec<_> = snapshot.unseen.values().map(|text| clean(text)).collect();
        let insight: Vec<_> = insight.iter().map(insight::Reading::json).collect();
        console::json(
            &json!({"findings": findings, "notSeen": unseen, "effect": effect, "insight": insight}),
        )?;
    } else {
        print_text(&findings, effect.as_deref(), &insight, &snapshot)?;
    }
    Ok(if findings.is_empty() { Status::Well } else { Status::Findings })
}

/// Findings whose commands reach the cluster that was checked.
fn for_cluster(findings: Vec<finding::Finding>, cluster: &Cluster) -> Vec<finding::Finding> {
    let with_context =
        |found: finding::Finding| finding::Finding { command: cluster.in_context(&found.command), ..found };
    findings.into_iter().map(with_context).collect()
}

fn print_text(
    findings: &[finding::Finding],
    effect: Option<&[String]>,
    insight: &[insight::Reading],
    snapshot: &Snapshot,
) -> Result<()> {
    let width = console::width();
    let item = |line: &str| wrap(&format!("- {line}"), width, "  ") + "\n";
    let mut text: String = effect.into_iter().flatten().map(|line| item(line)).collect();
    text.extend(insight.iter().map(|reading| item(&reading.line())));
    if effect.is_some() || !insight.is_empty() {
        text.push('\n');
    }
    if findings.is_empty() {
        text.push_str("No findings.");
    } else {
        text += &format!("{}\n{}", blocks(findings, width), count(findings.len(), "finding"));
    }
    console::line(&text)?;
    for reason in snapshot.unseen.values() {
        console::note(&format!("not checked: {}", clean(reason)));
    }
    Ok(())
}

fn scope(cluster: &Cluster, args: &Args) -> Result<Scope> {
    let Some(target) = &args.target else {
        return Ok(Scope { namespace: args.namespace.clone(), focus: None });
    };
    if !target.contains('/') {
        if args.namespace.as_ref().is_some_and(|namespace| namespace != target) {
            return Err(usage(format!(
                "two namespaces are given, {target} and the one of --namespace; write one, or a workload such as \
                 deployment/{target}"
            )));
        }
        return Ok(Scope { namespace: Some(target.clone()), focus: None });
    }
    let (kind, name) = workload::parse(target)?;
    let namespace = args.namespace.clone().unwrap_or_else(|| cluster.namespace());
    let focus = Focus { namespace: namespace.clone(), kind: kind.to_owned(), name: name.to_owned() };
    Ok(Scope { namespace: Some(namespace), focus: Some(focus) })
}

fn not_there(focus: &Focus) -> anyhow::Error {
    let Focus { namespace, kind, name } = focus;
    usage(format!(
        "there is no {kind}/{name} of its own in the namespace {namespace}; `kubectl get {kind}s -n {namespace}` lists \
         what is there. A pod that belongs to a workload is checked with it: deployment/NAME"
    ))
}

/// Describes what the annotation does to the pods of a workload.
fn effect(subject: &Subject<'_>, snapshot: &Snapshot) -> Vec<String> {
    if subject.is_injected() {
        return vec![
            "the sidecar is in the template itself; injection leaves such pods as they are".to_owned(),
        ];
    }
    let Some(pod) = subject.injected() else {
        return vec!["scoretap.dev/inject: \"true\" leaves its pods as they are; why, is below".to_owned()];
    };
    let mut lines = vec![format!(
        "scoretap.dev/inject: \"true\" adds Envoy and the exporter to its pods: {}",
        resources::share(pod)
    )];
    if let Some(app) = traffic::App::of(subject) {
        let names = if app.names.is_empty() { String::new() } else { format!(" ({})", app.names.join(", ")) };
        let way = if app.moved {
            format!("the app moves to another port, and Envoy takes {}", app.number)
        } else {
            format!("Envoy listens on {} and takes the port's name", traffic::ENVOY)
        };
        lines.push(format!("the app is container {}, port {}{names}: {way}", app.container, app.number));
    }
    lines.extend(model(pod));
    lines.extend(findings::describe_traffic(subject, snapshot));
    lines.iter().map(|line| clean(line)).collect()
}

/// The model of calls that do not name one.
fn model(pod: &Value) -> Option<String> {
    let exporter = object::containers(pod)
        .find(|container| object::text(container, "name") == Some("scoretap-exporter"))?;
    let of = |name: &str| {
        let entry = object::at(exporter, "/env").find(|entry| object::text(entry, "name") == Some(name))?;
        object::text(entry, "value").filter(|value| !value.is_empty())
    };
    let (name, version) = (of("MODEL_NAME"), of("MODEL_VERSION"));
    let line = match (name, version) {
        (Some(name), Some(version)) => format!("calls that name no model count as {name}, version {version}"),
        (Some(name), None) => format!("calls that name no model count as {name}"),
        (None, _) => "calls that name no model count as unknown; scoretap.dev/model-name names it".to_owned(),
    };
    Some(line)
}
