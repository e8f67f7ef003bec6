//! What nodes say to each other: one JSON object a line over TCP, each way on a connection of its own.

use serde::{Deserialize, Serialize};

use super::entry::Entry;

/// A message and whom it is from and for. Nodes are known by these names alone, never by addresses: between them may be
/// anything that forwards bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// The sender.
    pub from: String,
    /// The receiver.
    pub to: String,
    /// The message.
    pub rpc: Rpc,
}

/// Raft's messages (Ongaro and Ousterhout 2014, figures 2 and 13) and those of the clients' that are passed on. Answers are
/// messages too: each may come late, twice, or never.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rpc {
    /// Asks for a vote.
    Vote {
        /// The term to lead in.
        term: u64,
        /// Only asks whether the vote would be given: promises nothing, changes nothing.
        pre: bool,
        /// The candidate's last entry,
        last_index: u64,
        /// and its term.
        last_term: u64,
    },
    /// Gives or refuses a vote.
    Voted {
        /// Granted: the term asked for. Refused: the voter's.
        term: u64,
        /// Answers a pre-vote.
        pre: bool,
        /// The vote.
        granted: bool,
    },
    /// The leader's entries; without any, a sign of life.
    Append {
        /// The leader's term.
        term: u64,
        /// Counts the leader's broadcasts; answers name it, which confirms that nobody else led by then.
        round: u64,
        /// The entry before the first one here,
        prev_index: u64,
        /// and its term.
        prev_term: u64,
        /// What follows it.
        entries: Vec<Entry>,
        /// How far the log is committed.
        commit: u64,
    },
    /// Answers an append.
    Appended {
        /// The follower's term.
        term: u64,
        /// As in the append.
        round: u64,
        /// Whether the entry before the first one was there.
        ok: bool,
        /// So far its log is the leader's and on disk; not `ok`: as far as it may be.
        index: u64,
    },
    /// A piece of the state, for a follower that lacks entries which the leader has no more.
    Install {
        /// The leader's term.
        term: u64,
        /// As in an append.
        round: u64,
        /// The last entry in the state,
        index: u64,
        /// and its term.
        last_term: u64,
        /// Where the piece begins, bytes.
        offset: usize,
        /// Bytes of the whole.
        total: usize,
        /// The piece.
        piece: String,
    },
    /// Answers a piece.
    Installed {
        /// The follower's term.
        term: u64,
        /// As in the message.
        round: u64,
        /// Which state.
        index: u64,
        /// Bytes of it there are.
        have: usize,
    },
    /// A follower passes on what a producer published there.
    Forward {
        /// The follower's number for it.
        ticket: u64,
        /// The topic.
        topic: String,
        /// The message's id.
        id: String,
        /// The message.
        text: String,
    },
    /// What became of it.
    Forwarded {
        /// As in the question.
        ticket: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// A follower asks how far it must have applied the log to show all that was acknowledged before.
    ReadIndex {
        /// The follower's number for it.
        ticket: u64,
    },
    /// So far; `None`: whoever was asked does not lead, or no longer.
    ReadAt {
        /// As in the question.
        ticket: u64,
        /// The entry.
        index: Option<u64>,
    },
}

/// Terms, indexes and rounds stay below this; JSON numbers are exact that far.
const LIMIT: u64 = 1 << 53;

impl Rpc {
    /// Whether its numbers are ones a node may count with: what was damaged on its way must not make it overflow.
    pub fn is_possible(&self) -> bool {
        let numbers = match *self {
            Rpc::Vote { term, last_index, last_term, .. } => [term, last_index, last_term, 0, 0],
            Rpc::Voted { term, .. } => [term, 0, 0, 0, 0],
            Rpc::Append { term, round, prev_index, prev_term, commit, .. } => {
                [term, round, prev_index, prev_term, commit]
            }
            Rpc::Appended { term, round, index, .. } => [term, round, index, 0, 0],
            Rpc::Install { term, round, index, last_term, offset, .. } => {
                [term, round, index, last_term, offset as u64]
            }
            Rpc::Installed { term, round, index, have } => [term, round, index, have as u64, 0],
            Rpc::ReadAt { index, .. } => [index.unwrap_or(0), 0, 0, 0, 0],
            Rpc::Forward { .. } | Rpc::Forwarded { .. } | Rpc::ReadIndex { .. } => [0; 5],
        };
        numbers.iter().all(|number| *number < LIMIT)
    }
}

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is committed.
    Published,
    /// It was published before: its id is committed.
    Duplicate,
    /// Nothing was appended: the node asked does not lead.
    NotLeader,
    /// Nothing was appended: too many wait for a majority already.
    Busy,
    /// It was appended, and its place in the log was taken by another leader's entry: it will never be committed.
    Replaced,
}
