//! The answers of the cluster and of Prometheus. The checks have no other input.

use std::collections::{BTreeMap, BTreeSet};

use scoretap_injector::settings::Settings;
use serde_json::Value;

/// A list of objects that the cluster is queried for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Namespaces,
    Pods,
    Workloads,
    ReplicaSets,
    Services,
    NetworkPolicies,
    Events,
    Quotas,
    LimitRanges,
    Injectors,
    Webhooks,
    Policies,
    Certificates,
    Prometheuses,
    PrometheusPods,
    PodMonitors,
    ServiceMonitors,
    Rules,
    Alertmanagers,
    AlertmanagerConfigs,
    PeerAuthentications,
    WasmPlugins,
    TrafficExtensions,
}

/// Where objects of a kind are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// In the checked namespace. If the caller may not see them, the check fails.
    Scope,
    /// In the checked namespace, if the caller may see them.
    ScopeIfAllowed,
    /// In the whole cluster, if the caller may see them.
    Cluster,
}

impl Kind {
    pub(crate) const ALL: [Self; 23] = [
        Self::Namespaces,
        Self::Pods,
        Self::Workloads,
        Self::ReplicaSets,
        Self::Services,
        Self::NetworkPolicies,
        Self::Events,
        Self::Quotas,
        Self::LimitRanges,
        Self::Injectors,
        Self::Webhooks,
        Self::Policies,
        Self::Certificates,
        Self::Prometheuses,
        Self::PrometheusPods,
        Self::PodMonitors,
        Self::ServiceMonitors,
        Self::Rules,
        Self::Alertmanagers,
        Self::AlertmanagerConfigs,
        Self::PeerAuthentications,
        Self::WasmPlugins,
        Self::TrafficExtensions,
    ];

    /// The scope and the arguments of `kubectl get`.
    pub(crate) const fn query(self) -> (Reach, &'static [&'static str]) {
        match self {
            Self::Namespaces => (Reach::Cluster, &["namespaces"]),
            Self::Pods => (Reach::Scope, &["pods"]),
            Self::Workloads => (Reach::Scope, &["deployments.apps,statefulsets.apps,daemonsets.apps"]),
            Self::ReplicaSets => (Reach::ScopeIfAllowed, &["replicasets.apps"]),
            Self::Services => (Reach::Scope, &["services"]),
            Self::NetworkPolicies => (Reach::ScopeIfAllowed, &["networkpolicies.networking.k8s.io"]),
            Self::Events => (Reach::ScopeIfAllowed, &["events", "--field-selector=reason=FailedCreate"]),
            Self::Quotas => (Reach::ScopeIfAllowed, &["resourcequotas"]),
            Self::LimitRanges => (Reach::ScopeIfAllowed, &["limitranges"]),
            Self::Injectors => {
                (Reach::Cluster, &["deployments.apps", "-l", "app.kubernetes.io/name=scoretap-injector"])
            }
            Self::Webhooks => (Reach::Cluster, &["mutatingwebhookconfigurations"]),
            Self::Policies => (Reach::Cluster, &["mutatingadmissionpolicies"]),
            Self::Certificates => (
                Reach::Cluster,
                &["certificates.cert-manager.io", "-l", "app.kubernetes.io/part-of=scoretap"],
            ),
            Self::Prometheuses => (Reach::Cluster, &["prometheuses.monitoring.coreos.com"]),
            Self::PrometheusPods => (Reach::Cluster, &["pods", "-l", "operator.prometheus.io/name"]),
            Self::PodMonitors => (Reach::Cluster, &["podmonitors.monitoring.coreos.com"]),
            Self::ServiceMonitors => (Reach::Cluster, &["servicemonitors.monitoring.coreos.com"]),
            Self::Rules => (Reach::Cluster, &["prometheusrules.monitoring.coreos.com"]),
            Self::Alertmanagers => (Reach::Cluster, &["alertmanagers.monitoring.coreos.com"]),
            Self::AlertmanagerConfigs => {
                (Reach::ScopeIfAllowed, &["alertmanagerconfigs.monitoring.coreos.com"])
            }
            Self::PeerAuthentications => (Reach::Cluster, &["peerauthentications.security.istio.io"]),
            Self::WasmPlugins => (Reach::Cluster, &["wasmplugins.extensions.istio.io"]),
            Self::TrafficExtensions => (Reach::Cluster, &["trafficextensions.extensions.istio.io"]),
        }
    }
}

/// A workload that is checked before it asks for the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Focus {
    pub(crate) namespace: String,
    /// The kind as in `kubectl get KIND`, in lower case.
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// A pod that the API server created as a dry run (`--dry-run=server`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trial {
    pub(crate) namespace: String,
    pub(crate) seconds: f64,
    /// Whether it came back with the sidecar.
    pub(crate) injected: bool,
    /// The images of the sidecar's containers in the current installation.
    pub(crate) images: BTreeMap<String, String>,
}

/// The answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) lists: BTreeMap<Kind, Vec<Value>>,
    /// Kinds that the caller may not see, and why.
    pub(crate) unseen: BTreeMap<Kind, String>,
    /// If set, only this workload is checked, as if it asked for the sidecar.
    pub(crate) focus: Option<Focus>,
    /// Namespace, name and key of each missing Secret entry that an AlertmanagerConfig refers to.
    pub(crate) missing_secrets: BTreeSet<(String, String, String)>,
    /// Place and expiry of each certificate that Helm made for the webhook.
    pub(crate) certificate_ends: Vec<(String, String)>,
    pub(crate) trial: Option<Trial>,
    /// The settings of the installation, as far as the trial shows them. Otherwise the defaults.
    pub(crate) settings: Settings,
    /// Seconds since 1970.
    pub(crate) now: i64,
    pub(crate) prometheus: Prometheus,
    /// Alertmanager's configuration, without secrets. `None` if it could not be queried.
    pub(crate) alertmanager: Option<Value>,
}

/// Metrics in which an exporter reports on itself: 0 if something is wrong.
pub(crate) const SELF_METRICS: [&str; 4] =
    ["scoretap_up", "scoretap_config_valid", "scoretap_dialect_valid", "scoretap_baseline_valid"];

/// Prometheus' answers. `None` if it could not be queried.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prometheus {
    /// `/api/v1/targets`, its `data.activeTargets`.
    pub(crate) targets: Option<Vec<Value>>,
    /// `/api/v1/rules`, its `data.groups`.
    pub(crate) groups: Option<Vec<Value>>,
    /// Series of [`SELF_METRICS`].
    pub(crate) up: Option<Vec<Value>>,
    /// The metrics of our alerts that have series.
    pub(crate) metrics: Option<BTreeSet<String>>,
}

impl Snapshot {
    /// The objects of a kind; none if the cluster does not know the kind.
    pub(crate) fn list(&self, kind: Kind) -> &[Value] {
        self.lists.get(&kind).map(Vec::as_slice).unwrap_or_default()
    }

    /// The objects of a kind in a namespace.
    pub(crate) fn within<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.list(kind).iter().filter(move |object| super::object::namespace(object) == namespace)
    }

    /// Whether the objects of a kind were seen, even if there are none.
    pub(crate) fn has_seen(&self, kind: Kind) -> bool {
        !self.unseen.contains_key(&kind)
    }

    /// Whether a namespace exists, as far as the caller may see.
    pub(crate) fn may_exist(&self, namespace: &str) -> bool {
        let all = self.list(Kind::Namespaces);
        all.is_empty() || all.iter().any(|found| super::object::name(found) == namespace)
    }

    /// The labels of a namespace; null if it was not seen.
    pub(crate) fn namespace_labels(&self, name: &str) -> &Value {
        let found =
            self.list(Kind::Namespaces).iter().find(|namespace| super::object::name(namespace) == name);
        found.map_or(&super::object::NULL, super::object::labels)
    }
}
