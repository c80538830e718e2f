//! Model servers and clients that others wrote, behind Envoy with both modules.

mod libraries;
mod llama;
mod predictions;
mod stacks;
