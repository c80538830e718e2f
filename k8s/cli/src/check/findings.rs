//! Every check, in the order in which its findings are printed: from the pod to the alert.

mod alerts;
mod cluster;
mod injection;
mod istio;
mod monitoring;
mod network;
mod ports;
mod resources;
mod routes;
mod scrape;

pub(crate) use alerts::query as alert_metrics_query;
pub(crate) use monitoring::prometheus;
pub(crate) use ports::describe as describe_traffic;
pub(crate) use routes::status_path as alertmanager_path;

use super::finding::Finding;
use super::object::{annotation, in_namespace, is_ours};
use super::snapshot::{Kind, Snapshot};
use super::subject::{Subject, subjects};

/// The input of the checks.
#[derive(Clone, Debug)]
pub(crate) struct View<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) subjects: Vec<Subject<'a>>,
}

impl<'a> View<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, subjects: subjects(snapshot) }
    }
}

/// One check.
pub(crate) struct Check {
    /// The name in `-o json`.
    pub(crate) name: &'static str,
    /// Returns the findings.
    pub(crate) find: fn(&View<'_>) -> Vec<Finding>,
}

const fn check(name: &'static str, find: fn(&View<'_>) -> Vec<Finding>) -> Check {
    Check { name, find }
}

/// All checks.
pub(crate) const CHECKS: [Check; 39] = [
    // The objects that inject the sidecar.
    check("nothing-injects", cluster::nothing_injects),
    check("webhook-and-policy", cluster::webhook_and_policy),
    check("injector-down", cluster::injector_down),
    check("injection-fails", cluster::injection_fails),
    check("certificate-ends", cluster::certificate_ends),
    // Into the pod.
    check("annotation-on-workload", injection::annotation_on_workload),
    check("namespace-not-labelled", injection::namespace_not_labelled),
    check("refused", injection::refused),
    check("serverless", injection::serverless),
    check("pod-without-sidecar", injection::pod_without_sidecar),
    check("sidecar-outdated", injection::sidecar_outdated),
    check("failed-create", injection::failed_create),
    check("image-not-pulled", injection::image_not_pulled),
    check("sidecar-crashes", injection::sidecar_crashes),
    check("moved-app-silent", injection::moved_app_silent),
    check("limit-range", resources::limit_range),
    check("quota", resources::quota),
    // To the pod.
    check("port-without-name", ports::port_without_name),
    check("service-by-number", ports::service_by_number),
    check("headless-service", ports::headless_service),
    check("policy-shuts-envoy-out", network::shuts_envoy_out),
    check("policy-shuts-app-out", network::shuts_app_out),
    check("policy-closes-pods", network::closes_pods),
    // Istio.
    check("two-envoys", istio::two_envoys),
    check("counted-twice", istio::counted_twice),
    // To Prometheus.
    check("no-prometheus", monitoring::no_prometheus),
    check("no-monitor", monitoring::no_monitor),
    check("monitor-not-selected", monitoring::monitor_not_selected),
    check("no-rules", monitoring::no_rules),
    check("rules-not-selected", monitoring::rules_not_selected),
    check("rules-not-loaded", monitoring::rules_not_loaded),
    check("pod-not-selected", scrape::pod_not_selected),
    check("monitor-port", scrape::monitor_port),
    check("no-target", scrape::no_target),
    check("not-scraped", scrape::not_scraped),
    check("reads-nothing", scrape::reads_nothing),
    // To people.
    check("alert-without-data", alerts::without_data),
    check("alert-receiver", alerts::receiver),
    check("alert-reaches-nobody", routes::no_receiver),
];

/// The findings of all checks.
pub(crate) fn find(view: &View<'_>) -> Vec<Finding> {
    let at = in_namespace(installed_in(view.snapshot).unwrap_or_default());
    let found = CHECKS.iter().flat_map(|check| {
        (check.find)(view).into_iter().map(|finding| Finding {
            check: check.name,
            command: upgrading(&finding.command, &at),
            ..finding
        })
    });
    super::finding::merged(found.collect())
}

/// The namespace of the release, if it is not the one in which `scoretap install` works by itself.
fn installed_in(snapshot: &Snapshot) -> Option<&str> {
    let kinds = [Kind::Policies, Kind::Webhooks, Kind::Injectors, Kind::PodMonitors, Kind::Rules];
    let mut ours = kinds.iter().flat_map(|kind| snapshot.list(*kind)).filter(|object| is_ours(object));
    let namespace = ours.find_map(|object| annotation(object, "meta.helm.sh/release-namespace"))?;
    (namespace != "scoretap-system").then_some(namespace)
}

/// `scoretap install` for the release that is there: without its namespace it would make a second one.
fn upgrading(command: &str, at: &str) -> String {
    let install = "scoretap install";
    command.strip_prefix(install).map_or_else(|| command.to_owned(), |flags| format!("{install}{at}{flags}"))
}
