//! Nodes in other languages, as students write them. By their name they begin before all other tests: they take longest, and the
//! test runner goes by the alphabet.

mod line_nodes;
mod quorum_nodes;
