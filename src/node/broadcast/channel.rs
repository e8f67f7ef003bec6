//! Messages to and from one incarnation of a peer: each arrives once and in order, whatever the network does to frames.
//!
//! Numbered messages, cumulative acknowledgements, and the oldest unacknowledged ones again when none came in time.
//! What is ahead of its turn is kept, so that one loss costs one message.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::message::Message;

/// Time to the first retransmission, ms; doubled with each one that is not answered.
const PATIENCE_MS: u64 = 50;
/// Longest time between two retransmissions, ms.
const MAX_PATIENCE_MS: u64 = 800;
/// Messages under way and not acknowledged, at most.
const WINDOW: u64 = 1024;
/// JSON of the messages of one frame, bytes, unless a single one is longer.
const FRAME_BYTES: usize = 12 << 10;
/// Frames of retransmissions at a time. More of what was lost in a full buffer would fill it again.
const FRAMES_AGAIN: usize = 4;
/// A message that weighs more goes in pieces.
const WHOLE_BYTES: usize = 56 << 10;
/// Bytes of a piece. As a string in JSON it takes at most twice as many: JSON has no control characters.
const PART_BYTES: usize = 6 << 10;
/// Pieces of one message, at most, bytes.
const MAX_PARTS_BYTES: usize = 64 << 20;

/// Messages of one frame and the number of the first.
pub type Batch = (u64, Vec<Arc<Message>>);

/// One pair of incarnations.
#[derive(Debug, Default)]
pub struct Channel {
    /// Not acknowledged; the first has the number `acked` + 1.
    outgoing: VecDeque<Arc<Message>>,
    acked: u64,
    /// The last number that was ever sent.
    sent: u64,
    patience_ms: u64,
    /// When to send again, ms.
    again_at: u64,
    /// The last number that arrived with all before it.
    arrived: u64,
    /// What is ahead of its turn.
    early: BTreeMap<u64, Arc<Message>>,
    /// In order, not taken yet.
    ready: VecDeque<Arc<Message>>,
    /// Pieces of a message that is not complete.
    parts: String,
    /// Something arrived since the last frame was sent.
    pub ack_due: bool,
}

impl Channel {
    /// Puts `message` at the end of what is to be sent.
    pub fn push(&mut self, message: &Arc<Message>) {
        if message.weight() <= WHOLE_BYTES {
            self.outgoing.push_back(Arc::clone(message));
            return;
        }
        // No message has anything in it that JSON cannot hold.
        let text = serde_json::to_string(&**message).unwrap_or_default();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(boundary(rest, PART_BYTES));
            rest = after;
            let part = Message::Part { text: piece.to_owned(), more: !rest.is_empty() };
            self.outgoing.push_back(Arc::new(part));
        }
    }

    /// Everything up to `number` has arrived there.
    pub fn acknowledge(&mut self, number: u64, now: u64) {
        let number = number.min(self.sent);
        if number > self.acked {
            self.outgoing.drain(..(number - self.acked) as usize);
            self.acked = number;
            self.patience_ms = PATIENCE_MS;
            self.again_at = now + PATIENCE_MS;
        }
    }

    /// Takes messages in; gives back those that had come before.
    pub fn receive(&mut self, first: u64, messages: Vec<Arc<Message>>) -> Vec<Arc<Message>> {
        let mut again = Vec::new();
        self.ack_due |= !messages.is_empty();
        for (number, message) in (first..).zip(messages) {
            if number <= self.arrived || self.early.contains_key(&number) {
                again.push(message);
            } else if number <= self.arrived + WINDOW && self.ready.len() < WINDOW as usize {
                self.early.insert(number, message);
            }
        }
        while let Some(message) = self.early.remove(&(self.arrived + 1)) {
            self.arrived += 1;
            self.assemble(message);
        }
        again
    }

    fn assemble(&mut self, message: Arc<Message>) {
        let Message::Part { text, more } = &*message else { return self.ready.push_back(message) };
        if self.parts.len() < MAX_PARTS_BYTES {
            self.parts.push_str(text);
        }
        if !more {
            // What no correct peer sends is dropped, as a lost frame would be.
            if let Ok(message) = serde_json::from_str(&std::mem::take(&mut self.parts)) {
                self.ready.push_back(Arc::new(message));
            }
        }
    }

    /// The next message in order.
    pub fn next(&self) -> Option<&Arc<Message>> {
        self.ready.front()
    }

    /// Takes the next message.
    pub fn take(&mut self) -> Option<Arc<Message>> {
        self.ready.pop_front()
    }

    /// Gives up what is to be sent: its receiver needs none of it any more.
    pub fn abandon(&mut self) {
        self.sent = self.acked;
        self.outgoing.clear();
    }

    /// The number up to which all has arrived here.
    pub fn ack(&self) -> u64 {
        self.arrived
    }

    /// What has to be sent now: what is new, and the oldest again when its time has come.
    pub fn batches(&mut self, now: u64) -> Vec<Batch> {
        let mut batches = Vec::new();
        if self.sent > self.acked && now >= self.again_at {
            let mut from = self.acked + 1;
            while from <= self.sent && batches.len() < FRAMES_AGAIN {
                let batch = self.batch(from, self.sent);
                from += batch.len() as u64;
                batches.push((from - batch.len() as u64, batch));
            }
            self.patience_ms = (self.patience_ms * 2).clamp(PATIENCE_MS, MAX_PATIENCE_MS);
            self.again_at = now + self.patience_ms;
        }
        let last = self.acked + (self.outgoing.len() as u64).min(WINDOW);
        if self.sent == self.acked && last > self.sent {
            self.patience_ms = PATIENCE_MS;
            self.again_at = now + PATIENCE_MS;
        }
        while self.sent < last {
            let batch = self.batch(self.sent + 1, last);
            let first = self.sent + 1;
            self.sent += batch.len() as u64;
            batches.push((first, batch));
        }
        batches
    }

    /// As many messages from the numbers `first..=last` as fit a frame, one at least.
    fn batch(&self, first: u64, last: u64) -> Vec<Arc<Message>> {
        let mut bytes = 0;
        let range = (first - self.acked - 1) as usize..(last - self.acked) as usize;
        let fits = |message: &&Arc<Message>| {
            let is_first = bytes == 0;
            bytes += message.weight();
            is_first || bytes <= FRAME_BYTES
        };
        self.outgoing.range(range).take_while(fits).cloned().collect()
    }
}

/// The greatest boundary between characters of `text` that is not above `limit`.
fn boundary(text: &str, limit: usize) -> usize {
    let limit = limit.min(text.len());
    // 0 is a boundary, and the one before the first character whose end is above the limit.
    (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Rng;

    fn data(n: u64, text: &str) -> Arc<Message> {
        Arc::new(Message::Data { view: 1, n, line: n, ts: n, text: text.into() })
    }

    #[test]
    fn each_message_arrives_once_and_in_order_over_a_network_that_loses_doubles_and_reorders() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed, "channel");
            let (mut left, mut right) = (Channel::default(), Channel::default());
            let mut messages: Vec<_> = (1..=300).map(|n| data(n, "x")).collect();
            messages[100] = data(101, &"é\u{2}\"".repeat(40_000));
            messages.iter().for_each(|message| left.push(message));
            let (mut under_way, mut got, mut now) = (Vec::new(), Vec::new(), 0);
            while got.len() < messages.len() {
                now += 10;
                assert!(now < 600_000, "seed {seed}: {} arrived", got.len());
                under_way.extend(left.batches(now));
                rng.shuffle(&mut under_way);
                for _ in 0..rng.below(6) {
                    let Some((first, batch)) = under_way.pop() else { break };
                    if rng.below(4) == 0 {
                        continue;
                    }
                    if rng.below(4) == 0 {
                        under_way.push((first, batch.clone()));
                    }
                    right.receive(first, batch);
                }
                got.extend(std::iter::from_fn(|| right.take()));
                if rng.below(3) == 0 {
                    left.acknowledge(right.ack(), now);
                }
            }
            assert_eq!(got, messages, "seed {seed}");
        }
    }

    #[test]
    fn what_comes_again_is_told_and_nothing_is_sent_again_without_need() {
        let (mut left, mut right) = (Channel::default(), Channel::default());
        left.push(&data(1, "a"));
        let batches = left.batches(0);
        assert_eq!(batches, [(1, vec![data(1, "a")])]);
        assert_eq!(left.batches(PATIENCE_MS - 1), []);
        assert_eq!(left.batches(PATIENCE_MS), batches, "again");
        assert_eq!(left.batches(PATIENCE_MS * 3 - 1), [], "with twice the patience");
        assert_eq!(right.receive(1, batches[0].1.clone()), []);
        assert_eq!(right.receive(1, batches[0].1.clone()), batches[0].1);
        left.acknowledge(7, 200);
        left.acknowledge(1, 200);
        assert_eq!(left.batches(10_000), []);
    }
}
