//! What a real Kubernetes makes of what is shipped. Run by the stage `cluster` of `cargo xtask test`, which gives the
//! process namespaces of its own; one test alone: `cargo xtask test cluster -- NAME`.

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
