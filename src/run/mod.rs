//! One run, start to end: setup, main, heal, settle, check, report, clean up.

pub mod folder;
pub mod interrupt;
pub mod settle;
