//! Reads the bodies of inference calls: predictions, tokens, models and errors.
//!
//! Every scanner reads a body in pieces, as a proxy sees it, and returns the same result for any split of the same
//! bytes. It never recurses and never panics. Its state takes less than a kilobyte, 900 bytes more once there are
//! classes, 300 bytes more for each column of the input, up to 7 KB more for tensors, and about 44 KB more if it inflates
//! gzip. Nothing here calls a host, does I/O or reads a clock.
//!
//! [`answer::AnswerScanner`] and [`request::RequestScanner`] read one body each. [`record::Record`] holds the results
//! of both, in the form that one module writes and another one reads.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod answer;
pub mod cells;
mod classes;
pub mod columns;
mod csv;
mod document;
mod grpc;
mod gzip;
mod json;
mod llm;
mod number;
mod plain;
mod predictions;
mod protobuf;
pub mod record;
pub mod request;
mod sse;
mod tally;
mod tensor;
pub mod text;
mod usage;
