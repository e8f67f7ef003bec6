//! What passed over a link, piece by piece: for diagrams, in which a message is an arrow between two nodes.

use std::sync::Mutex;
use std::time::Instant;

use super::lock;

/// Kept of a direction until somebody takes them; what is beyond is only counted. A link between two busy nodes passes some
/// thousand a second.
const MOST: usize = 1 << 14;

/// A piece of what one node sent to another: a datagram, or what a connection gave its link at once. A request or an answer of some
/// kilobytes is one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// When the link got it.
    pub received: Instant,
    /// When it was handed on, whole; `None`: it was lost, or its receiver had gone.
    pub handed_on: Option<Instant>,
    /// Its length, bytes.
    pub bytes: usize,
    /// A datagram; otherwise of a connection.
    pub datagram: bool,
}

/// Those of one direction that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Passages(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    list: Vec<Passage>,
    beyond: u64,
}

impl Passages {
    pub fn push(&self, passage: Passage) {
        let mut kept = lock(&self.0);
        if kept.list.len() < MOST {
            kept.list.push(passage);
        } else {
            kept.beyond += 1;
        }
    }

    /// Takes them, in the order in which their fate was known, and how many there was no room for.
    pub fn take(&self) -> (Vec<Passage>, u64) {
        let Kept { list, beyond } = std::mem::take(&mut *lock(&self.0));
        (list, beyond)
    }
}
