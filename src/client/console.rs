//! Talking to a node by its standard input, and reading what it delivers on its standard output.
//!
//! A node has one standard input, which all of its clients share: lines are handed over whole, one after another. A line
//! that the node has not made room for in time is withdrawn if nothing of it was handed over; otherwise its rest goes first
//! when there is room, since half a line would spoil the next one.

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
    /// A line that has not ended yet.
    partial: Vec<u8>,
    /// Whether that line was too long, so that the rest of it is passed over.
    overlong: bool,
    delivered: u64,
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
        *output = Output { life: Some(life), delivered: output.delivered, ..Output::default() };
    }

    /// The node printed this.
    pub fn printed(&self, life: u64, bytes: &[u8]) {
        let mut output = self.output();
        // What is left of an earlier life is still read while the next one begins; its last half line is nobody's.
        if output.life != Some(life) {
            output.partial.clear();
        }
        let mut rest = bytes;
        while let Some(length) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..length], &rest[length + 1..]);
            rest = after;
            if std::mem::take(&mut output.overlong) {
                output.partial.clear();
                continue;
            }
            let whole = [std::mem::take(&mut output.partial).as_slice(), line].concat();
            self.read(&mut output, life, &String::from_utf8_lossy(&whole));
        }
        output.partial.extend_from_slice(rest);
        if output.partial.len() > MAX_LINE_BYTES {
            output.partial.clear();
            output.overlong = true;
        }
        drop(output);
        self.recorder.flush();
    }

    fn read(&self, output: &mut Output, life: u64, line: &str) {
        let line = self.protocol.plain.read(line);
        if self.protocol.announces_ready(&line) && output.life == Some(life) {
            output.ready = true;
        }
        if self.protocol.announces_removal(&line) {
            self.recorder.removed(&self.node, life);
        }
        let Some(seen) = self.protocol.delivery(&line) else { return };
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
