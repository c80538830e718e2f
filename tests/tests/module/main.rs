//! The packaged module in a host of ours, where time, failures and hostile values are what a test says they are.
//!
//! Every case of [`lifecycle`] runs twice: through the core as it is compiled here, and through the module as it is
//! shipped. What only a VM can do wrong is in [`faults`], and what a call costs in [`cost`].

mod call;
mod cost;
mod engine;
mod faults;
mod lifecycle;
mod vm;
mod world;
