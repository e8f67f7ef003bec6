//! Talking to a node by its standard input and output, as a person at a terminal would.

use std::fmt::Debug;
use std::io::PipeWriter;

/// Whoever talks to a node. Called by the threads that start it and drain its output: nothing here may wait.
pub trait Console: Debug + Send + Sync {
    /// A life of the node, counted from 0, is about to begin; `input` is its standard input.
    fn opened(&self, life: u64, input: PipeWriter);
    /// The node printed this on its standard output, in this order.
    fn printed(&self, life: u64, bytes: &[u8]);
    /// All it printed in that life has been read.
    fn closed(&self, life: u64);
}
