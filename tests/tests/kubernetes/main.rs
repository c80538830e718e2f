//! The Kubernetes parts, without a cluster: the injector over TLS, images, and the chart.

mod bases;
mod bills;
mod chart;
mod compose;
mod envoy;
mod helm;
mod images;
mod injected;
mod istio;
mod metrics;
mod tenants;
mod webhook;
