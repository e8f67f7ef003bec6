//! `harness`: a Jepsen-style fault-injection test harness.
//!
//! Data flows one way, and so do imports (a test in `tests/tidy.rs` holds us to it):
//!
//! ```text
//! workload ─► cluster ─► network ─► load ─┐
//!                             faults ─────┴─► history ─► check ─► report
//! ```
//!
//! Nothing imports [`cli`]; [`check`] and [`report`] see only the [`history`]; [`node`] (the bundled systems
//! under test) shares nothing with the rest: the harness must not know its subject from inside.

pub mod check;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod document;
pub mod fault;
pub mod grade;
pub mod history;
pub mod load;
pub mod network;
pub mod node;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod seed;
pub mod workload;
