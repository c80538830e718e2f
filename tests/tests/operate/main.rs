//! The operator's commands: `k8s/scoretap.sh`, `k8s/install.sh`, `k8s/install.ps1` and the workflow that runs them,
//! before a kubectl that answers as recorded and a Prometheus that is real.

mod cluster;
mod commands;
mod doctor;
mod faults;
mod install;
mod prometheus;
mod scripts;
mod with_kubectl;
