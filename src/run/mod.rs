//! One run, start to end: setup, main, heal, settle, check, report, clean up.

mod allowance;
pub mod bypass;
mod elect;
pub mod engine;
pub mod folder;
pub mod interrupt;
mod jail;
mod limits;
mod messages;
pub mod provision;
pub mod settle;
pub mod setup;
pub mod world;
