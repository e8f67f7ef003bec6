//! The history: what every client asked and was answered, and what was really done to the system.
//!
//! On disk it is one JSON object a line (`history.jsonl`, see [`event`]); in memory, for the checkers, it is
//! [`History`]: operations with their invocation and completion paired, node lives, fault windows, phases.

pub mod calls;
pub mod event;
pub mod export;
pub(crate) mod hash;
pub mod import;
mod line;
pub mod model;
pub mod reader;
pub mod recorder;

pub use event::{Number, Value, Version};
pub use model::{
    Claim, Contract, Delivery, Durability, Entry, Fault, History, Level, Life, Op, Outcome, Phase, Removal,
    Sessions, Tie, Unread,
};
