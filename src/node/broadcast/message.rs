//! What processes say to each other: frames of JSON behind a checksum, one a datagram or, over TCP, one a line.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::node::log::crc32;

/// Longest message of a user, bytes. Six bytes of JSON for each, at worst, still fit a datagram.
pub const MAX_TEXT_BYTES: usize = 8192;
/// Longest frame that is read, bytes.
pub const MAX_FRAME_BYTES: usize = 65_507;

/// A process as the peer table orders them: its place among the ids, sorted. The same everywhere.
pub type Rank = usize;

/// The number of an attempt to agree on the next view: round, then who makes it. (0, 0) is before all attempts.
pub type Ballot = (u64, Rank);

/// One life of a process. A process that was restarted, or evicted, has a new incarnation, greater than the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which process.
    pub rank: Rank,
    /// Which life of it.
    pub inc: u64,
}

/// A user's message as one process knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its sender.
    pub rank: Rank,
    /// Which of its sender's messages, from 1.
    pub n: u64,
    /// Which line of its sender's input. The same as `n` unless lines overtake each other.
    pub line: u64,
    /// The agreed timestamp, or what this process proposed.
    pub ts: u64,
    /// Whether `ts` is agreed.
    pub agreed: bool,
    /// What the user said.
    pub text: Arc<str>,
}

/// What follows a view: the outcome of an agreement among a majority of its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// Which group it is: its founder's incarnation.
    pub group: u64,
    /// The number of the view that begins.
    pub number: u64,
    /// Its members, by rank.
    pub members: Vec<Member>,
    /// What the members of the view that ends still have to deliver, where they have not: all with an agreed timestamp.
    pub flush: Vec<Entry>,
    /// For each rank how many messages of its present incarnation were delivered when the old view is over.
    pub cut: Vec<u64>,
    /// How many messages were delivered since the first view began.
    pub position: u64,
    /// No timestamp of the old view is greater.
    pub clock: u64,
}

/// What a process knows of the view it gives up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// All messages it still has, delivered ones included unless every member is known to have them.
    pub entries: Vec<Entry>,
    /// How many of each rank's messages it has delivered.
    pub delivered: Vec<u64>,
    /// How many messages that is since the first view.
    pub position: u64,
    /// Its Lamport clock.
    pub clock: u64,
}

/// A message between two processes. `view`: that of its sender when it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Message {
    /// A user's message from its sender, who proposes `ts` for it.
    Data { view: u64, n: u64, line: u64, ts: u64, text: Arc<str> },
    /// The timestamp that is proposed for the receiver's message `n`.
    Propose { view: u64, n: u64, ts: u64 },
    /// The timestamp on which all members agreed for the sender's message `n`.
    Agreed { view: u64, n: u64, ts: u64 },
    /// Of each rank's messages, how many the sender has with their agreed timestamps, without a gap.
    Held { view: u64, counts: Vec<u64> },
    /// Asks for a promise to take part in no earlier attempt, nor in the view itself any more.
    Prepare { view: u64, ballot: Ballot },
    /// That promise, with what may have been decided or delivered already.
    Promise { view: u64, ballot: Ballot, accepted: Option<(Ballot, Arc<Next>)>, report: Report },
    /// Asks to accept an outcome.
    Accept { view: u64, ballot: Ballot, next: Arc<Next> },
    /// It is accepted.
    Accepted { view: u64, ballot: Ballot },
    /// A later attempt was promised.
    Refused { view: u64, promised: Ballot },
    /// The outcome: the next view.
    Decide { next: Arc<Next> },
    /// Before the first view: asks to take part in one of these members.
    Found { members: Vec<Member> },
    /// It will.
    Founded { members: Vec<Member> },
    /// A piece of a message that does not fit a datagram, as JSON.
    Part { text: String, more: bool },
}

impl Message {
    /// In which view it means anything; `None`: before or between views.
    pub fn view(&self) -> Option<u64> {
        match self {
            Message::Data { view, .. }
            | Message::Propose { view, .. }
            | Message::Agreed { view, .. }
            | Message::Held { view, .. }
            | Message::Prepare { view, .. }
            | Message::Promise { view, .. }
            | Message::Accept { view, .. }
            | Message::Accepted { view, .. }
            | Message::Refused { view, .. } => Some(*view),
            _ => None,
        }
    }

    /// Whether it makes sense where there are so many processes. From a correct one it always does.
    pub fn fits(&self, ranks: usize) -> bool {
        let all = |members: &[Member]| members.iter().all(|member| member.rank < ranks);
        let known = |entries: &[Entry]| entries.iter().all(|entry| entry.rank < ranks);
        let next = |next: &Next| all(&next.members) && known(&next.flush) && next.cut.len() == ranks;
        match self {
            Message::Held { counts, .. } => counts.len() == ranks,
            Message::Promise { accepted, report, .. } => {
                accepted.as_ref().is_none_or(|(_, value)| next(value))
                    && known(&report.entries)
                    && report.delivered.len() == ranks
            }
            Message::Accept { next: value, .. } | Message::Decide { next: value } => next(value),
            Message::Found { members } | Message::Founded { members } => all(members),
            _ => true,
        }
    }

    /// About how long it is as JSON, never less, in bytes.
    pub fn weight(&self) -> usize {
        let next = |next: &Next| 400 + next.members.len() * 80 + entries(&next.flush);
        200 + match self {
            Message::Data { text, .. } => escaped(text),
            Message::Part { text, .. } => escaped(text),
            Message::Held { counts, .. } => counts.len() * 21,
            Message::Promise { accepted, report, .. } => {
                accepted.as_ref().map_or(0, |(_, value)| next(value))
                    + entries(&report.entries)
                    + report.delivered.len() * 21
            }
            Message::Accept { next: value, .. } | Message::Decide { next: value } => next(value),
            Message::Found { members } | Message::Founded { members } => members.len() * 60,
            _ => 0,
        }
    }
}

fn entries(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| 160 + escaped(&entry.text)).sum()
}

/// The length of `text` as a JSON string.
fn escaped(text: &str) -> usize {
    let length = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(length).sum()
}

/// What every process tells all others now and then, in a view or not. It may be lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The view it is in; 0: none.
    pub view: u64,
    /// That view's members.
    pub members: Vec<Member>,
    /// For each rank the incarnation it heard from lately; 0: none.
    pub hears: Vec<u64>,
}

impl Status {
    /// Whether it makes sense where there are so many processes.
    pub fn fits(&self, ranks: usize) -> bool {
        self.hears.len() == ranks && self.members.iter().all(|member| member.rank < ranks)
    }
}

/// What one datagram holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The sender's id. Addresses say nothing: each peer is reached through somebody else's proxy.
    pub from: Arc<str>,
    /// The sender's incarnation.
    pub inc: u64,
    /// The receiver's id.
    pub to: Arc<str>,
    /// The receiver's incarnation as far as the sender knows; 0: not at all.
    pub to_inc: u64,
    /// Stands for the ids of the peer table, which must be the same everywhere.
    pub table: u32,
    /// All of the receiver's messages up to this number have arrived.
    pub ack: u64,
    /// The number of the first of `messages`.
    pub first: u64,
    /// Numbered messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Arc<Message>>,
    /// Messages without a number, sent once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub once: Vec<Arc<Message>>,
    /// The sender's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

impl Frame {
    /// As it is sent: eight hex digits of CRC-32, a space, JSON. Networks change bits, and JSON does not notice.
    pub fn encode(&self) -> Vec<u8> {
        // Maps with keys that are not strings are all that cannot be written as JSON; there are none.
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = format!("{:08x} ", crc32(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        bytes
    }

    /// What [`Frame::encode`] made; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Frame> {
        let (sum, body) = bytes.split_at_checked(9)?;
        let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
        let intact = u32::from_str_radix(sum, 16).ok()? == crc32(body);
        intact.then(|| serde_json::from_slice(body).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Frame {
        let data = Message::Data { view: 1, n: 2, line: 2, ts: 9, text: text.into() };
        Frame {
            from: "p1".into(),
            inc: 7,
            to: "p2".into(),
            to_inc: 0,
            table: 5,
            ack: 3,
            first: 4,
            messages: vec![Arc::new(data)],
            once: Vec::new(),
            status: Some(Status { view: 0, members: vec![Member { rank: 0, inc: 7 }], hears: vec![0, 8] }),
        }
    }

    #[test]
    fn a_frame_is_read_as_it_was_written_and_not_otherwise() {
        let bytes = frame("hé\n\"llo").encode();
        assert_eq!(Frame::decode(&bytes), Some(frame("hé\n\"llo")));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut broken = bytes.clone();
                broken[at] ^= 1 << bit;
                let read = Frame::decode(&broken);
                // A hex digit may change its case and mean the same.
                assert!(read.is_none() || at < 8 && read == Some(frame("hé\n\"llo")), "byte {at}, bit {bit}");
            }
            assert_eq!(Frame::decode(&bytes[..at]), None);
        }
    }

    #[test]
    fn no_message_is_longer_than_it_weighs_and_the_longest_fits_a_datagram() {
        let text: Arc<str> = "\u{1}".repeat(MAX_TEXT_BYTES).into();
        let entry =
            Entry { rank: 9, n: u64::MAX, line: u64::MAX, ts: u64::MAX, agreed: true, text: text.clone() };
        let next = Arc::new(Next {
            group: u64::MAX,
            number: u64::MAX,
            members: vec![Member { rank: 9, inc: u64::MAX }; 10],
            flush: vec![entry.clone(); 3],
            cut: vec![u64::MAX; 10],
            position: u64::MAX,
            clock: u64::MAX,
        });
        let report = Report {
            entries: vec![entry],
            delivered: vec![u64::MAX; 10],
            position: u64::MAX,
            clock: u64::MAX,
        };
        let (view, ballot) = (u64::MAX, (u64::MAX, 9));
        for message in [
            Message::Data { view, n: u64::MAX, line: u64::MAX, ts: u64::MAX, text: text.clone() },
            Message::Held { view, counts: vec![u64::MAX; 10] },
            Message::Promise { view, ballot, accepted: Some((ballot, next.clone())), report },
            Message::Decide { next },
            Message::Founded { members: vec![Member { rank: 9, inc: u64::MAX }; 10] },
            Message::Refused { view, promised: ballot },
        ] {
            let length = serde_json::to_string(&message).unwrap().len();
            assert!(length <= message.weight(), "{length} > {}", message.weight());
        }
        assert!(frame(&text).encode().len() < MAX_FRAME_BYTES);
    }
}
