//! Talking to a node by its standard input, and reading what it delivers on its standard output.
//!
//! A node has one standard input, which all of its clients share: lines are handed over whole, one after another. A line
//! that the node has not made room for in time is withdrawn if nothing of it was handed over; otherwise its rest goes first
//! when there is room, since half a line would spoil the next one.

use std::collections::BTreeMap;
use std::io::PipeWriter;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use humantime::format_duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio::time::Instant;

use super::http::Broken;
use super::line::MAX_LINE_BYTES;
use super::protocol::Protocol;
use super::unread::Unread;
use crate::history::recorder::{Deliverer, Recorder};

/// Both ends of one node, over all its lives. Shared by all clients of the node.
#[derive(Debug)]
pub struct Console {
    node: Arc<str>,
    protocol: Arc<Protocol>,
    recorder: Arc<Recorder>,
    /// The standard input of a life that has begun, until somebody has something to say.
    fresh: Mutex<Option<(u64, PipeWriter)>>,
    input: tokio::sync::Mutex<Option<Input>>,
    output: Mutex<Output>,
}

#[derive(Debug)]
struct Input {
    sender: Sender,
    /// The rest of a line that the node had no room for.
    owed: Vec<u8>,
}

#[derive(Debug, Default)]
struct Output {
    life: Option<u64>,
    ready: bool,
    /// What each life has printed of a line that has not ended yet: what is left of an earlier life is still read while the next one
    /// begins, and neither ends the other's line.
    partial: BTreeMap<u64, Partial>,
    delivered: u64,
    unread: Unread,
}

#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// Whether the line was too long, so that the rest of it is passed over.
    overlong: bool,
}

impl Partial {
    /// The line that ends with these bytes; `None`: it was too long.
    fn end(&mut self, bytes: &[u8]) -> Option<String> {
        let Partial { bytes: begun, overlong } = std::mem::take(self);
        (!overlong).then(|| String::from_utf8_lossy(&[begun.as_slice(), bytes].concat()).into_owned())
    }

    fn extend(&mut self, bytes: &[u8]) {
        if !self.overlong {
            self.bytes.extend_from_slice(bytes);
        }
        if self.bytes.len() > MAX_LINE_BYTES {
            *self = Partial { bytes: Vec::new(), overlong: true };
        }
    }
}

impl Console {
    /// Of `node`, which has not begun to live yet.
    pub fn new(node: &str, protocol: Arc<Protocol>, recorder: Arc<Recorder>) -> Arc<Self> {
        Arc::new(Self {
            node: node.into(),
            protocol,
            recorder,
            fresh: Mutex::default(),
            input: tokio::sync::Mutex::default(),
            output: Mutex::default(),
        })
    }

    /// A life of the node begins, with this standard input.
    pub fn opened(&self, life: u64, input: PipeWriter) {
        *self.fresh.lock().unwrap_or_else(PoisonError::into_inner) = Some((life, input));
        let mut output = self.output();
        // Of the life before, something may still come.
        let partial =
            output.life.and_then(|before| output.partial.remove_entry(&before)).into_iter().collect();
        output.life = Some(life);
        output.partial = partial;
        output.ready = false;
    }

    /// The node printed this.
    pub fn printed(&self, life: u64, bytes: &[u8]) {
        let mut output = self.output();
        let mut rest = bytes;
        while let Some(length) = memchr::memchr(b'\n', rest) {
            let line = output.partial.entry(life).or_default().end(&rest[..length]);
            rest = &rest[length + 1..];
            if let Some(line) = line {
                self.read(&mut output, life, &line);
            }
        }
        output.partial.entry(life).or_default().extend(rest);
        drop(output);
        self.recorder.flush();
    }

    fn read(&self, output: &mut Output, life: u64, line: &str) {
        let line = self.protocol.plain.read(line);
        let announces_ready = self.protocol.announces_ready(&line);
        if announces_ready && output.life == Some(life) {
            output.ready = true;
        }
        let announces_removal = self.protocol.announces_removal(&line);
        if announces_removal {
            self.recorder.removed(&self.node, life);
        }
        let Some(seen) = self.protocol.delivery(&line) else {
            let expected = announces_ready || announces_removal;
            if let Some(sample) = output.unread.sample(&line).filter(|_| !expected) {
                self.recorder.unread(&self.node, None, &sample);
            }
            return;
        };
        output.delivered += 1;
        let by = Deliverer { node: &self.node, life: Some(life), subscriber: None };
        self.recorder.deliver(by, seen.key, &seen.entry);
    }

    /// How much the node has delivered, over all its lives.
    pub fn delivered(&self) -> u64 {
        self.output().delivered
    }

    /// Whether the node lives and has said that it is ready, where the protocol knows how nodes say so.
    pub fn is_ready(&self) -> bool {
        let output = self.output();
        output.life.is_some() && (output.ready || !self.protocol.has_ready_line())
    }

    /// Hands `line` (with its end) to the node, within `timeout`.
    pub(super) async fn say(&self, line: &[u8], timeout: Duration) -> Result<(), Broken> {
        let deadline = Instant::now() + timeout;
        let late = || format!("the node reads nothing, for {}", format_duration(timeout));
        let Ok(mut input) = tokio::time::timeout_at(deadline, self.input.lock()).await else {
            return Err(Broken::NotSent(late()));
        };
        if let Some((_, fresh)) = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let sender = Sender::from_owned_fd(OwnedFd::from(fresh));
            let sender = sender.map_err(|error| Broken::NotSent(format!("its standard input: {error}")))?;
            *input = Some(Input { sender, owed: Vec::new() });
        }
        let Some(open) = input.as_mut() else {
            return Err(Broken::Refused("the node was not started".into()));
        };
        let owed = open.owed.len();
        open.owed.extend_from_slice(line);
        let outcome = tokio::time::timeout_at(deadline, open.hand_over()).await;
        let handed = (owed + line.len()).saturating_sub(open.owed.len()).saturating_sub(owed);
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                *input = None;
                match handed {
                    0 => Err(Broken::Refused(format!("the node does not read any more: {error}"))),
                    _ => Err(Broken::NoAnswer(format!("the node ended in the middle of the line: {error}"))),
                }
            }
            Err(_) if handed == 0 => {
                // Nothing of this line was taken: it is withdrawn, what was owed before stays.
                let keep = open.owed.len() - line.len();
                open.owed.truncate(keep);
                Err(Broken::NotSent(late()))
            }
            Err(_) => Err(Broken::NoAnswer(format!("{}, in the middle of the line", late()))),
        }
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Input {
    /// Writes what is owed; what could not be written stays owed, also when this is abandoned.
    async fn hand_over(&mut self) -> std::io::Result<()> {
        while !self.owed.is_empty() {
            let written = self.sender.write(&self.owed).await?;
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.owed.drain(..written);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::reader;

    #[test]
    fn lives_do_not_end_each_other_s_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.jsonl");
        let recorder = Recorder::create(file.clone()).unwrap();
        let protocol = Protocol::load("broadcast", folder.path()).unwrap();
        let console = Console::new("A", protocol, Arc::clone(&recorder));
        let open = |life| console.opened(life, std::io::pipe().unwrap().1);
        let line = |number: u8| format!("DELIVER {number} B id m{number}");
        let whole = |number: u8| line(number) + "\n";
        open(1);
        console.printed(1, (whole(1) + &line(2)[..12]).as_bytes());
        open(2);
        console.printed(2, (whole(1) + &line(3)[..9]).as_bytes());
        console.printed(1, format!("{}\n{}", &line(2)[12..], &line(4)[..5]).as_bytes());
        console.printed(2, (line(3)[9..].to_owned() + "\n").as_bytes());
        // Of a line without end nothing counts, the line after it does.
        console
            .printed(2, &[vec![b'x'; MAX_LINE_BYTES + 1], format!("\n{}", whole(5)).into_bytes()].concat());
        console.printed(2, &vec![b'x'; MAX_LINE_BYTES + 1]);
        console.printed(2, format!("{}{}", whole(6), whole(7)).as_bytes());
        recorder.finish().unwrap();
        let history = reader::read(&file).unwrap();
        let said: Vec<String> =
            history.deliveries.iter().map(|delivery| delivery.entry.value.to_string()).collect();
        assert_eq!(said, ["\"m1\"", "\"m1\"", "\"m2\"", "\"m3\"", "\"m5\"", "\"m7\""]);
        assert_eq!(console.delivered(), 6);
    }
}
