//! The built binary from end to end: real nodes, really killed, and what is left of it all.
//!
//! Workloads are written by the tests, short and on free ports; each run has a folder of its own and a mark in its
//! environment by which whatever outlives it is found. Nodes in Python and JavaScript are skipped, with a word, where there is no
//! python3 or Node.js.
#![cfg(target_os = "linux")]

mod all_languages;
mod bundled;
mod crash;
mod datagrams;
mod deliveries;
mod etcd;
mod grade;
mod hostile;
mod jail;
mod kills;
mod leader;
mod matrix;
mod misread;
mod python;
mod quorum;
mod support;
