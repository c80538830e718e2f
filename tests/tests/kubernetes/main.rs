//! What is shipped for Kubernetes: the injector over real TLS, the policies as an API server evaluates them, and every
//! manifest against the schemas.

mod bases;
mod bills;
mod cel;
mod chart;
mod command;
mod compose;
mod corpus;
mod envoy;
mod helm;
mod images;
mod istio;
mod metrics;
mod pods;
mod policy;
mod restricted;
mod schema;
mod services;
mod tenants;
mod webhook;
