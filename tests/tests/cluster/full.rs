//! With prometheus-operator, a Prometheus that discovers pods, and istiod. Built by `cargo xtask test cluster-full`; the
//! stage `cluster` runs these tests where that has been done.

mod istio;
mod prometheus;
