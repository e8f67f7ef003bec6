//! What people and programs are shown of a run; depends on check and history alone.
//!
//! [`results`] is the truth: `results.json` as typed data, built once from a history and the checks' conclusions
//! ([`build`]), with the verdict computed in one place ([`verdict`]). Everything else renders it: [`table`] for the
//! terminal, [`repeat`] for several runs, [`matrix`] for those of a matrix, [`selftest`] for the bundled bugs. [`progress`] shows a run while it lasts.

pub mod build;
pub mod github;
mod isolation;
pub mod junit;
pub mod markdown;
pub mod matrix;
pub mod page;
pub mod plain;
pub mod progress;
pub mod repeat;
pub mod results;
pub mod selftest;
pub mod style;
pub mod table;
pub mod verdict;

mod evidence;
mod figures;
mod load;
mod proof;
mod stretch;
pub(crate) mod violations;

#[cfg(test)]
mod tests;

pub use build::{Checked, RunFacts};
pub use matrix::MatrixSummary;
pub use progress::{Counters, Progress, ProgressMode, RunEvent};
pub use repeat::RepeatSummary;
pub use results::Results;
pub use selftest::SelftestRow;
pub use style::Style;
