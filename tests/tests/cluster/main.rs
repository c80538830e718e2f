//! Tests of the shipped artifacts on a real Kubernetes. The stage `cluster` of `cargo xtask test` runs them in separate
//! Linux namespaces. To run one test: `cargo xtask test cluster -- NAME`.

mod cases;
mod chart;
mod check;
mod first_number;
mod full;
mod harness;
mod helm;
mod limits;
mod manifests;
mod pods;
mod policy;
mod scoretap;
mod support;
mod tokens;
mod traffic;
mod webhook;
