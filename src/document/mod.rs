//! Reading TOML so that every mistake can be shown where it was made.
//!
//! serde loses spans at internally tagged, flattened and untagged enums; so a document is kept here as a tree of
//! [`Node`]s, each with its [`Origin`] (a range of the file, or of a flag such as `--set`), and decoded by hand
//! through [`Section`] and [`Field`], which collect every [`Problem`] instead of stopping at the first.

mod node;
mod problem;
mod read;
mod reader;
mod set;
pub mod units;
mod words;

pub use node::{Entry, Node, Origin, Table, Val};
pub use problem::{Problem, Problems, Source};
pub use read::{MAX_FILE_BYTES, parse, read, read_as};
pub use reader::{Field, Key, Section, Sink, table_schema};
pub use set::{set, split_assignment};
pub use words::{did_you_mean, list, nearest};
