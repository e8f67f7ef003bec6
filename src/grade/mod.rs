//! Grading a class: every submission against a rubric, with evidence for every lost point.
//!
//! A *unit* is one submission under one item of the rubric in one repeat: one run of the harness, as a process of its
//! own. What is concluded of it is a [`UnitRecord`], a line of the journal; everything else (scores, feedback, tables
//! for the class) is computed from the rubric and the records, and from nothing else. So a class that was interrupted
//! and resumed, or spread over machines and merged, ends in the same bytes.

pub mod blame;
pub mod cell;
mod child;
pub mod class;
pub mod conduct;
pub mod discover;
mod hash;
pub mod host;
pub mod journal;
pub mod merge;
pub mod outputs;
pub mod parse;
pub mod plan;
pub mod prepare;
pub mod record;
pub mod rubric;
pub mod score;
pub mod tree;
pub mod unpack;

pub use record::{CheckMark, Found, HostLoad, Mark, Part, Prepared, Record, UnitId, UnitRecord};
pub use rubric::{CheckPoints, Credit, Item, Rubric, SubmissionRules};
