//! What is shipped for Kubernetes: the injector over real TLS, the policies as an API server evaluates them, and every
//! manifest against the schemas.

mod cel;
mod command;
mod corpus;
mod envoy;
mod images;
mod istio;
mod overlays;
mod pods;
mod policy;
mod restricted;
mod schema;
mod services;
mod tenants;
mod webhook;
