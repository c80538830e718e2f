//! `scoretap install` and `uninstall`: run helm with the chart that is compiled into this program.

mod stack;

use std::io::{BufRead, IsTerminal};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::check::object::{annotation, kind, name, namespace, owner, place, text_at};
use crate::kubectl::{Cluster, Refused, json as parse, start, visibly};
use crate::text::{clean, word};
use crate::{Status, chart, console, usage};

/// The Helm release.
const RELEASE: &str = "scoretap";
/// API servers look for new policies once a second, and tell nobody when they have them.
const UNTIL_POLICIES_APPLY: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
An existing Prometheus of the prometheus-operator is used and never changed: monitors and rules get the label by which it \
selects. Run it again to upgrade; values that were set before stay.")]
pub(crate) struct Args {
    /// Also install Prometheus, Alertmanager and Grafana (chart kube-prometheus-stack), unless the cluster has a Prometheus
    #[arg(long)]
    with_prometheus_stack: bool,
    /// Namespace of the installation
    #[arg(short, long, default_value = "scoretap-system")]
    namespace: String,
    /// Value of the chart, as helm takes it; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The same, always text
    #[arg(long, value_name = "KEY=VALUE")]
    set_string: Vec<String>,
    /// File with values; may be repeated
    #[arg(short = 'f', long, value_name = "FILE")]
    values: Vec<String>,
    /// Show what would be installed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(cluster: &Cluster, args: &Args) -> Result<Status> {
    cluster.reach()?;
    need_helm(cluster)?;
    let mut prometheus = prometheus(cluster)?;
    if args.with_prometheus_stack {
        match stack::existing(cluster, prometheus.as_ref())? {
            Some(found) => console::note(&format!("{found} is there already: it is used and not changed")),
            None => {
                stack::install(cluster, args.dry_run)?;
                prometheus = Some(stack::prometheus());
            }
        }
    }
    let chart = chart::unpack()?;
    let mut command = cluster.helm();
    command.args(["upgrade", "--install", RELEASE]).arg(chart.path());
    command.args(["--namespace", &args.namespace, "--create-namespace", "--reset-then-reuse-values"]);
    // Helm lets later files and `--set` win over the first file.
    if let Some(prometheus) = prometheus {
        let detected = selection(&prometheus, &earlier_values(cluster, &args.namespace));
        command.arg("--values").arg(chart.write_values(&detected)?);
    }
    let pairs = [("--set", &args.set), ("--set-string", &args.set_string), ("--values", &args.values)];
    for (flag, values) in pairs {
        command.args(values.iter().flat_map(|value| [flag, value.as_str()]));
    }
    command.args(args.dry_run.then_some("--dry-run=server"));
    visibly(&mut command)?;
    if !args.dry_run {
        std::thread::sleep(UNTIL_POLICIES_APPLY);
    }
    Ok(Status::Well)
}

fn need_helm(cluster: &Cluster) -> Result<()> {
    let output = start(cluster.helm().args(["version", "--template", "{{.Version}}"]).stdin(Stdio::null()))?;
    let version = String::from_utf8_lossy(&output.stdout);
    let mut parts =
        version.trim().trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if (major, minor) < (3, 14) {
        bail!(
            "helm is {}; 3.14 or later is needed: https://helm.sh/docs/intro/install/",
            clean(version.trim())
        );
    }
    Ok(())
}

/// `helm list` for releases in every state. Helm 4 dropped `--all`; Helm 3 and 4 both take these flags.
const LIST: [&str; 9] = [
    "list",
    "-o",
    "json",
    "--deployed",
    "--failed",
    "--pending",
    "--superseded",
    "--uninstalled",
    "--uninstalling",
];

/// The releases that Helm knows, in every state.
fn releases(cluster: &Cluster, scope: &[&str]) -> Result<Vec<Value>> {
    let output = start(cluster.helm().args(LIST).args(scope).stdin(Stdio::null()))?;
    if !output.status.success() {
        bail!("helm cannot list releases: {}", clean(String::from_utf8_lossy(&output.stderr).trim()));
    }
    let releases = parse(&String::from_utf8_lossy(&output.stdout), "helm list")?;
    Ok(releases.as_array().cloned().unwrap_or_default())
}

/// The existing Prometheus.
fn prometheus(cluster: &Cluster) -> Result<Option<Value>> {
    match cluster.get(&["prometheuses.monitoring.coreos.com", "--all-namespaces"]) {
        Ok(found) => Ok(found.into_iter().next()),
        Err(Refused::UnknownKind | Refused::Forbidden(_)) => Ok(None),
        Err(refused) => Err(refused.into()),
    }
}

/// The values that were set for the installed release. Null if there is none.
fn earlier_values(cluster: &Cluster, namespace: &str) -> Value {
    let mut command = cluster.helm();
    command.args(["get", "values", RELEASE, "-o", "json", "--namespace", namespace]).stdin(Stdio::null());
    let output = start(&mut command).ok().filter(|output| output.status.success());
    output.and_then(|output| serde_json::from_slice(&output.stdout).ok()).unwrap_or_default()
}

/// The values with which a Prometheus reads our objects, less those that were set before.
fn selection(prometheus: &Value, earlier: &Value) -> Value {
    let release = text_at(prometheus, "/spec/podMonitorSelector/matchLabels/release");
    let found = [("prometheusRelease", release), ("namespace", namespace(prometheus))];
    let is_open =
        |(key, value): &(&str, &str)| !value.is_empty() && earlier["monitoring"].get(*key).is_none();
    let monitoring = found.into_iter().filter(is_open);
    let monitoring = monitoring.map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    Value::Object([("monitoring".to_owned(), Value::Object(monitoring))].into_iter().collect())
}

#[derive(Debug, clap::Args)]
pub(crate) struct UninstallArgs {
    /// Namespace of the installation
    #[arg(short, long, default_value = "scoretap-system")]
    namespace: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Kinds whose objects Helm may leave: those with a policy to keep them, and those that hooks create.
const KINDS: [&str; 17] = [
    "mutatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "podmonitors.monitoring.coreos.com",
    "servicemonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
    "alertmanagerconfigs.monitoring.coreos.com",
    "podmonitors.azmonitoring.coreos.com",
    "servicemonitors.azmonitoring.coreos.com",
    "wasmplugins.extensions.istio.io",
    "trafficextensions.extensions.istio.io",
    "envoyfilters.networking.istio.io",
    "networkpolicies.networking.k8s.io",
    "configmaps",
    "secrets",
];

pub(crate) fn uninstall(cluster: &Cluster, args: &UninstallArgs) -> Result<Status> {
    cluster.reach()?;
    need_helm(cluster)?;
    let namespace = &args.namespace;
    if !releases(cluster, &["--namespace", namespace])?.iter().any(is_release) {
        let elsewhere = releases(cluster, &["--all-namespaces"]).unwrap_or_default();
        console::note(&format!("error: {}", no_release(namespace, &elsewhere)));
        return Ok(Status::Findings);
    }
    confirm(args)?;
    visibly(cluster.helm().args(["uninstall", RELEASE, "--namespace", namespace, "--wait"]))?;
    for kind in KINDS {
        remove_leftovers(cluster, kind, namespace);
    }
    remove_namespace(cluster, namespace);
    console::line(
        "Removed. Running pods keep their sidecar until they are recreated (`kubectl rollout restart`); namespaces of \
         tenants, and Prometheus, are as they were.",
    )?;
    Ok(Status::Well)
}

fn is_release(release: &Value) -> bool {
    text_at(release, "/name") == RELEASE
}

/// Why nothing is removed, and where the release is if Helm knows.
fn no_release(namespace: &str, elsewhere: &[Value]) -> String {
    let found = elsewhere.iter().filter(|release| is_release(release));
    let flags: Vec<_> = found.map(|release| format!("-n {}", word(text_at(release, "/namespace")))).collect();
    let hint = if flags.is_empty() {
        "`helm list --all-namespaces` lists all releases".to_owned()
    } else {
        format!("use {}", flags.join(" or "))
    };
    clean(&format!("the namespace {namespace} has no Helm release {RELEASE}, so nothing was removed; {hint}"))
}

fn confirm(args: &UninstallArgs) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(usage(
            "this removes Scoretap from the cluster; write --yes where nobody can be asked".to_owned(),
        ));
    }
    let namespace = &args.namespace;
    console::print(&format!(
        "Remove the release {RELEASE} in namespace {namespace} and what it leaves? [y/N] "
    ))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(usage("nothing was removed".to_owned()))
}

/// Whether Helm made an object for the release in this namespace. Other installations use the same label.
fn is_of_release(object: &Value, release_namespace: &str) -> bool {
    annotation(object, "meta.helm.sh/release-name") == Some(RELEASE)
        && annotation(object, "meta.helm.sh/release-namespace") == Some(release_namespace)
}

/// Shows the progress of a removal, which goes on even if nobody can see it.
fn show(text: &str) {
    drop(console::print(text));
}

/// Removes the remaining objects of one kind. The release is already gone, so this reports a failure and continues.
fn remove_leftovers(cluster: &Cluster, kind: &str, release_namespace: &str) {
    let found = match cluster.get(&[kind, "--all-namespaces", "-l", "app.kubernetes.io/part-of=scoretap"]) {
        Ok(found) => found,
        Err(Refused::UnknownKind | Refused::NotFound(_)) => return,
        Err(refused) => {
            console::note(&format!("not checked: leftover {kind}: {refused}"));
            return;
        }
    };
    for object in found.iter().filter(|object| is_of_release(object, release_namespace)) {
        let mut args = vec!["delete", kind, name(object), "--ignore-not-found"];
        let namespace = namespace(object);
        if !namespace.is_empty() {
            args.extend(["-n", namespace]);
        }
        match cluster.ask(&args) {
            Ok(text) => show(&text),
            Err(refused) => console::note(&format!("not removed: {}: {refused}", clean(&place(object)))),
        }
    }
}

/// Removes the namespace of the installation if it is empty. Otherwise prints the command that removes it.
fn remove_namespace(cluster: &Cluster, namespace: &str) {
    let command = cluster.in_context(&format!("kubectl delete namespace {}", word(namespace)));
    match contents(cluster, namespace).map(|objects| objects.into_iter().find(|object| !is_automatic(object)))
    {
        Ok(None) => match cluster.ask(&["delete", "namespace", namespace, "--ignore-not-found"]) {
            Ok(text) => show(&text),
            Err(refused) => console::note(&format!("not removed: namespace {namespace}: {refused}")),
        },
        Ok(Some(object)) => show(&format!(
            "The namespace {namespace} stays: it holds other objects, such as {}. To delete it with all that it holds: \
             {command}\n",
            clean(&place(&object))
        )),
        Err(refused) => show(&format!(
            "The namespace {namespace} stays: its contents could not be listed ({refused}). To delete it with all that \
             it holds: {command}\n"
        )),
    }
}

/// All objects in a namespace, of every kind that the cluster knows.
fn contents(cluster: &Cluster, namespace: &str) -> Result<Vec<Value>, Refused> {
    let kinds = cluster.ask(&["api-resources", "--namespaced", "--verbs=list", "-o", "name"])?;
    let kinds: Vec<_> = kinds.lines().map(str::trim).filter(|kind| is_content(kind)).collect();
    cluster.get(&[&kinds.join(","), "-n", namespace])
}

/// Records of other objects are not content.
fn is_content(kind: &str) -> bool {
    let records = ["events", "events.events.k8s.io", "endpoints", "pods.metrics.k8s.io"];
    !kind.is_empty() && !records.contains(&kind)
}

/// Whether an object is terminating, or the control plane creates it in every namespace or from another object.
fn is_automatic(object: &Value) -> bool {
    let is_default = match (kind(object).as_str(), name(object)) {
        ("configmap", "kube-root-ca.crt") | ("serviceaccount", "default") => true,
        // A deleted controller leaves these to the garbage collector.
        ("pod" | "replicaset" | "endpointslice" | "controllerrevision", _) => owner(object).is_some(),
        _ => false,
    };
    is_default || object.pointer("/metadata/deletionTimestamp").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The flags of `helm list` that choose states, in Helm 3.14 to 4.3 alike.
    const STATES: [&str; 6] =
        ["--deployed", "--failed", "--pending", "--superseded", "--uninstalled", "--uninstalling"];

    #[test]
    fn releases_are_listed_with_flags_of_every_helm() {
        let flags: Vec<_> = LIST.iter().copied().filter(|word| word.starts_with("--")).collect();
        assert_eq!(flags, STATES);
    }

    #[test]
    fn existing_prometheus_decides_label_and_namespace() {
        let prometheus = json!({"metadata": {"namespace": "observe"},
            "spec": {"podMonitorSelector": {"matchLabels": {"release": "mon"}}}});
        let none = Value::Null;
        let both = json!({"monitoring": {"prometheusRelease": "mon", "namespace": "observe"}});
        assert_eq!(selection(&prometheus, &none), both);
        let selects_all = json!({"metadata": {"namespace": "m"}, "spec": {"podMonitorSelector": {}}});
        assert_eq!(selection(&selects_all, &none), json!({"monitoring": {"namespace": "m"}}));
        let earlier = json!({"monitoring": {"namespace": "mine"}});
        assert_eq!(selection(&prometheus, &earlier), json!({"monitoring": {"prometheusRelease": "mon"}}));
    }

    #[test]
    fn uninstall_names_the_namespace_of_the_release() {
        let releases =
            [json!({"name": "other", "namespace": "a"}), json!({"name": "scoretap", "namespace": "b"})];
        let said = no_release("scoretap-system", &releases);
        assert!(said.contains("nothing was removed") && said.ends_with("use -n b"), "{said}");
        let said = no_release("scoretap-system", &releases[..1]);
        assert!(said.contains("helm list"), "{said}");
    }

    #[test]
    fn leftovers_belong_to_the_release() {
        let made = |name: &str, namespace: &str| {
            let annotations =
                json!({"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace});
            json!({"metadata": {"annotations": annotations, "labels": {"app.kubernetes.io/part-of": "scoretap"}}})
        };
        assert!(is_of_release(&made("scoretap", "observe"), "observe"));
        assert!(!is_of_release(&made("scoretap", "other"), "observe"));
        assert!(!is_of_release(&made("other", "observe"), "observe"));
        assert!(!is_of_release(
            &json!({"metadata": {"labels": {"app.kubernetes.io/part-of": "scoretap"}}}),
            "observe"
        ));
    }

    #[test]
    fn namespace_with_objects_of_others_stays() {
        #[track_caller]
        fn check(object: &Value, expected: bool) {
            assert_eq!(is_automatic(object), expected, "{object}");
        }
        let object = |kind: &str, name: &str| json!({"kind": kind, "metadata": {"name": name}});
        check(&object("ConfigMap", "kube-root-ca.crt"), true);
        check(&object("ServiceAccount", "default"), true);
        check(&object("ConfigMap", "mine"), false);
        check(&object("ResourceQuota", "mine"), false);
        check(&object("RoleBinding", "mine"), false);
        check(&object("Tenant", "mine"), false);
        check(&object("Pod", "mine"), false);
        let mut object = object("Pod", "scoretap-injector-1");
        object["metadata"]["ownerReferences"] = json!([{"controller": true, "kind": "ReplicaSet"}]);
        check(&object, true);
        object =
            json!({"kind": "Secret", "metadata": {"name": "s", "deletionTimestamp": "2026-11-28T12:00:00Z"}});
        check(&object, true);
    }
}
