//! The packaged module in a host of ours, where time, failures and hostile values are what a test says they are.
//!
//! Every case of [`lifecycle`] runs twice: through the core as it is compiled here, and through the module as it is
//! shipped. What only a VM can do wrong is in [`faults`], which names it admits in [`admission`], and what a call costs in [`cost`].

mod admission;
mod call;
mod cost;
mod engine;
mod faults;
mod lifecycle;
mod vm;
mod world;
