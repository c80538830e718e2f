//! The module that reads bodies, on real Envoy: which record each call leaves.

mod answers;
mod captures;
mod columns;
mod hostile;
mod order;
mod records;
mod streams;
mod switch;
