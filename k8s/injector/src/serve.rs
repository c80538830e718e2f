//! `scoretap-injector serve`: the admission webhook.

pub mod metrics;
pub mod review;
pub mod server;
