//! Model servers and clients that others wrote, behind Envoy with both modules.

mod full;
mod libraries;
mod llama;
mod predictions;
mod stacks;
