//! What is shipped for Kubernetes: the injector over real TLS, the policies as an API server evaluates them, and every
//! manifest against the schemas.

mod bases;
mod bills;
mod cel;
mod command;
mod compose;
mod corpus;
mod envoy;
mod images;
mod istio;
mod manifests;
mod metrics;
mod overlays;
mod pods;
mod policy;
mod restricted;
mod schema;
mod services;
mod tenants;
mod webhook;
