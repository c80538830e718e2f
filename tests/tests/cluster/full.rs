//! Tests with prometheus-operator, a Prometheus that discovers pods, and istiod. `cargo xtask test cluster-full` builds
//! these programs. Afterwards the stage `cluster` runs these tests too.

mod istio;
mod prometheus;
