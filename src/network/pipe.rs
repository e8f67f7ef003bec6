//! One direction of a connection: bytes from its source to its sink, as its lane's policy says.
//!
//! Without a policy a chunk goes straight from the read to the write. Otherwise it waits in a queue, stamped with the
//! time of its receipt; the end of the stream, orderly or by reset, takes its turn behind it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::buffer::{self, Buffer, Bytes};
use super::core::Core;
use super::counters::{add, take_off};
use super::lane::{Kind, Lane, State};
use super::policy::LinkPolicy;
use crate::seed::Rng;

/// Nothing is read ahead of a slow sink without a policy: kernels hold enough, and more buffers in turn than the
/// processor's cache holds cost a tenth of the throughput.
const AHEAD: usize = 1;
/// Queued at most under a rate: the rest waits where it comes from.
const THROTTLED: usize = 256 * 1024;
/// Queued at most under a delay: 32 Gbit/s over 16 ms, so that a delay does not become a rate.
const DELAYED: usize = 64 * 1024 * 1024;
/// What a chunk costs beside its bytes, so that single bytes count as what they take.
const CHUNK_COST: usize = 128;

/// What a connection's pipes have in common.
pub(super) struct Means {
    pub core: Arc<Core>,
    /// The node that opened the connection, and how many it had opened to the same one before: pipes that agree in
    /// these, their lane and the seed draw the same jitter.
    pub opener: usize,
    pub number: u64,
}

pub(super) struct Pipe {
    lane: Arc<Lane>,
    state: State,
    queue: VecDeque<Chunk>,
    /// Memory the queue takes.
    queued: usize,
    end: Option<End>,
    /// The end has been handed on.
    finished: bool,
    /// Nothing can be handed on any more.
    sink_dead: bool,
    /// What the source sent last was a reset, or will turn out to be one.
    source_dead: bool,
    /// Not yet established: bytes are taken in, none are handed on.
    pub unconnected: bool,
    last_due: Option<Instant>,
    /// The deadline the clock knows of.
    armed: Option<Instant>,
    /// Bytes that may be sent from `turn` on.
    grant: usize,
    turn: Option<Instant>,
    /// This cut has been counted on this connection.
    cut_counted: bool,
    rng: Option<Box<Rng>>,
}

struct Chunk {
    bytes: Bytes,
    /// Of all of it, handed on or not.
    length: usize,
    received: Option<Instant>,
    due: Option<Instant>,
    held: bool,
}

#[derive(Clone, Copy)]
struct End {
    reset: bool,
    received: Instant,
    due: Option<Instant>,
}

/// What became of a pipe in one poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It waits for its ends, its policy or the clock.
    Waits,
    /// The policy says that the connection be reset.
    ResetByPolicy,
    /// The source's reset has arrived: the sink is to be reset.
    ResetArrived,
    /// Found out now that the source has been reset.
    SourceDied,
    /// Found out now that the sink has been reset.
    SinkDied,
}

impl Pipe {
    pub fn new(lane: &Arc<Lane>) -> Self {
        Self {
            state: lane.state(),
            lane: Arc::clone(lane),
            queue: VecDeque::new(),
            queued: 0,
            end: None,
            finished: false,
            sink_dead: false,
            source_dead: false,
            unconnected: true,
            last_due: None,
            armed: None,
            grant: 0,
            turn: None,
            cut_counted: false,
            rng: None,
        }
    }

    /// All has been handed on, the end included.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// The source has sent its last byte, as far as has been read.
    pub fn at_end(&self) -> bool {
        self.end.is_some()
    }

    pub fn sink_dead(&self) -> bool {
        self.sink_dead
    }

    pub fn is_cut(&self) -> bool {
        self.state.policy.cut
    }

    /// Takes over a changed policy. True: the connection is to be reset.
    pub fn refresh(&mut self) -> bool {
        if self.lane.generation() != self.state.generation {
            let before = std::mem::replace(&mut self.state, self.lane.state());
            self.adapt(before.policy);
            return self.state.policy.reset || self.state.resets != before.resets;
        }
        self.state.policy.reset
    }

    fn adapt(&mut self, before: LinkPolicy) {
        let policy = self.state.policy;
        if before.rate != policy.rate {
            (self.grant, self.turn) = (0, None);
        }
        if policy.cut && !before.cut {
            self.cut_counted = false;
            for at in 0..self.queue.len() {
                self.hold(at);
            }
            if self.end.is_some() && !self.finished {
                self.count_cut();
            }
        }
        // What was lost in the cut is sent again at the heal, and takes the link's way then.
        let again = (before.cut && !policy.cut && !policy.delay.is_zero())
            .then(|| policy.arrival(Instant::now(), Duration::ZERO));
        for chunk in &mut self.queue {
            chunk.due = chunk.received.and_then(|received| policy.sooner(received, chunk.due)).max(again);
        }
        if let Some(end) = &mut self.end {
            end.due = policy.sooner(end.received, end.due).max(again);
        }
        self.last_due = self.queue.back().and_then(|chunk| chunk.due).max(self.end.and_then(|end| end.due));
    }

    /// Moves what can be moved. `source` and `sink` are the ends of the same connection each time.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        means: &Means,
    ) -> Step {
        let mut scratch = None;
        let step = loop {
            if self.refresh() {
                break Step::ResetByPolicy;
            }
            if !self.queue.is_empty() && self.deliver(cx, sink, means).is_err() {
                break self.sink_died();
            }
            if let Some(end) = self.end {
                break self.finish(cx, sink, end, means);
            }
            if self.sink_dead || self.queued >= self.room(means) {
                break Step::Waits;
            }
            match self.take_in(cx, source, &mut scratch, means) {
                Poll::Pending => break Step::Waits,
                Poll::Ready(Err(_)) => break self.source_died(means),
                Poll::Ready(Ok(())) => {}
            }
            if let Some((buffer, length)) = scratch.take_if(|(_, length)| *length > 0) {
                match self.pass(cx, sink, buffer, length) {
                    Ok(back) => scratch = back.map(|buffer| (buffer, 0)),
                    Err(_) => break self.sink_died(),
                }
            }
        };
        if let Some((buffer, _)) = scratch {
            buffer::give(buffer);
        }
        step
    }

    /// Takes in bytes while the connection is not established.
    pub fn poll_hold(&mut self, cx: &mut Context<'_>, source: &mut TcpStream, means: &Means) -> Step {
        let mut scratch = None;
        let step = loop {
            if self.end.is_some() || self.queued >= means.core.hold_limit {
                break Step::Waits;
            }
            match self.take_in(cx, source, &mut scratch, means) {
                Poll::Pending => break Step::Waits,
                Poll::Ready(Err(_)) => break Step::SourceDied,
                Poll::Ready(Ok(())) => {}
            }
        };
        if let Some((buffer, _)) = scratch {
            buffer::give(buffer);
        }
        step
    }

    /// The sink's other direction has failed: its peer is no more.
    pub fn sink_gone(&mut self) {
        self.sink_dead = true;
        self.discard();
    }

    /// What the source still has to say, if anything, ends in a reset.
    pub fn source_gone(&mut self, means: &Means) {
        self.source_dead = true;
        if self.end.is_some() {
            self.end_with(true, means);
        }
    }

    /// Reads once. What may pass at once stays in `scratch`, all else is queued.
    fn take_in(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut TcpStream,
        scratch: &mut Option<(Buffer, usize)>,
        means: &Means,
    ) -> Poll<io::Result<()>> {
        let (mut buffer, _) = scratch.take().unwrap_or_else(|| (buffer::take(), 0));
        let mut read = ReadBuf::new(&mut buffer);
        let polled = Pin::new(source).poll_read(cx, &mut read);
        let length = read.filled().len();
        let Poll::Ready(Ok(())) = polled else {
            *scratch = Some((buffer, 0));
            return polled;
        };
        if length == 0 {
            *scratch = Some((buffer, 0));
            self.end_with(self.source_dead, means);
        } else if self.queue.is_empty() && self.state.policy.spares_bytes() && !self.unconnected {
            *scratch = Some((buffer, length));
        } else {
            *scratch = self.enqueue(buffer, 0, length, means).map(|buffer| (buffer, 0));
        }
        Poll::Ready(Ok(()))
    }

    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut TcpStream,
        buffer: Buffer,
        length: usize,
    ) -> io::Result<Option<Buffer>> {
        let received = Instant::now();
        let mut sent = 0;
        while sent < length {
            match Pin::new(&mut *sink).poll_write(cx, &buffer[sent..length]) {
                Poll::Ready(Ok(more)) => sent += more,
                Poll::Ready(Err(error)) => {
                    add(&self.lane.counters.bytes, sent);
                    add(&self.lane.counters.discarded_bytes, length - sent);
                    self.lane.passed(Kind::Connection, received, None, length);
                    return Err(error);
                }
                Poll::Pending => break,
            }
        }
        add(&self.lane.counters.bytes, sent);
        // Of what the sink's system has no room for now the rest follows as soon as it has.
        self.lane.passed(Kind::Connection, received, Some(received), length);
        if sent == length {
            return Ok(Some(buffer));
        }
        let (bytes, back) = Bytes::keep(buffer, sent, length);
        self.push(Chunk { bytes, length, received: None, due: None, held: false });
        Ok(back)
    }

    fn enqueue(&mut self, buffer: Buffer, start: usize, end: usize, means: &Means) -> Option<Buffer> {
        let received = Instant::now();
        let due = self.due(received, means);
        let (bytes, back) = Bytes::keep(buffer, start, end);
        if due.is_some() {
            add(&self.lane.counters.delayed_bytes, bytes.rest().len());
        }
        self.push(Chunk { bytes, length: end - start, received: Some(received), due, held: false });
        if self.state.policy.cut || self.unconnected {
            self.hold(self.queue.len() - 1);
        }
        back
    }

    fn push(&mut self, chunk: Chunk) {
        self.queued += chunk.bytes.footprint() + CHUNK_COST;
        self.queue.push_back(chunk);
    }

    /// When what was received now is to be handed on: never before what was received earlier.
    fn due(&mut self, received: Instant, means: &Means) -> Option<Instant> {
        let policy = self.state.policy;
        // Behind a cut it will be sent again, and delayed then.
        if !policy.is_late() || policy.cut {
            return self.last_due.filter(|last| *last > received);
        }
        let jitter = if policy.jitter.is_zero() {
            Duration::ZERO
        } else {
            let most = u64::try_from(policy.jitter.as_nanos()).unwrap_or(u64::MAX - 1);
            let rng = self.rng.get_or_insert_with(|| {
                let (Lane { from, to, .. }, Means { opener, number, .. }) = (&*self.lane, means);
                Box::new(Rng::new(means.core.seed, &format!("jitter {from}>{to} {opener}.{number}")))
            });
            Duration::from_nanos(rng.below(most + 1))
        };
        let due = policy.arrival(received, jitter);
        self.last_due = self.last_due.max(Some(due));
        self.last_due
    }

    fn room(&self, means: &Means) -> usize {
        let policy = &self.state.policy;
        if policy.cut || self.unconnected {
            means.core.hold_limit
        } else if policy.is_late() {
            DELAYED
        } else if policy.rate.is_some() {
            THROTTLED
        } else {
            AHEAD
        }
    }

    /// Hands on what is due.
    fn deliver(&mut self, cx: &mut Context<'_>, sink: &mut TcpStream, means: &Means) -> io::Result<()> {
        while let Some(chunk) = self.queue.front() {
            if self.state.policy.cut {
                return Ok(());
            }
            if let Some(due) = chunk.due.filter(|due| *due > Instant::now()) {
                self.wake_at(cx, due, means);
                return Ok(());
            }
            let length = chunk.bytes.rest().len();
            let Some(allowed) = self.allowed(cx, length, means) else { return Ok(()) };
            let Some(chunk) = self.queue.front_mut() else { return Ok(()) };
            let Poll::Ready(sent) = Pin::new(&mut *sink).poll_write(cx, &chunk.bytes.rest()[..allowed])
            else {
                return Ok(());
            };
            let sent = sent?;
            chunk.bytes.advance(sent);
            let counters = &self.lane.counters;
            add(&counters.bytes, sent);
            if chunk.held {
                take_off(&counters.held_bytes_now, sent);
            }
            if self.state.policy.rate.is_some() {
                self.grant -= sent;
            }
            if chunk.bytes.rest().is_empty() {
                self.drop_front();
            }
        }
        Ok(())
    }

    fn drop_front(&mut self) {
        let Some(chunk) = self.queue.pop_front() else { return };
        self.queued -= chunk.bytes.footprint() + CHUNK_COST;
        if let (true, Some(received)) = (chunk.due.is_some(), chunk.received) {
            let added = u64::try_from(received.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.lane.counters.max_delay_added_ns.fetch_max(added, std::sync::atomic::Ordering::Relaxed);
        }
        if let Some(received) = chunk.received {
            self.lane.passed(Kind::Connection, received, Some(Instant::now()), chunk.length);
        }
        chunk.bytes.recycle();
        if self.queue.is_empty() {
            // A connection that was once delayed does not keep the memory.
            self.queue.shrink_to(64);
        }
    }

    /// How many of `length` bytes may be sent now; `None`: not yet, and the clock will say when.
    fn allowed(&mut self, cx: &Context<'_>, length: usize, means: &Means) -> Option<usize> {
        let Some(rate) = self.state.policy.rate else { return Some(length) };
        let now = Instant::now();
        if self.grant == 0 {
            // A hundredth of a second's worth a turn: smooth, fair, and not a system call for each byte.
            let share = usize::try_from(rate / 100).unwrap_or(usize::MAX).clamp(1, buffer::SIZE);
            self.grant = share.min(length);
            let turn = self.lane.reserve(self.grant, rate, now);
            if turn > now {
                add(&self.lane.counters.throttled_bytes, self.grant);
            }
            self.turn = Some(turn);
        }
        if let Some(turn) = self.turn.filter(|turn| *turn > now) {
            self.wake_at(cx, turn, means);
            return None;
        }
        Some(self.grant.min(length))
    }

    fn wake_at(&mut self, cx: &Context<'_>, at: Instant, means: &Means) {
        if self.armed != Some(at) {
            self.armed = Some(at);
            means.core.clock.wake_at(at, cx.waker());
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>, sink: &mut TcpStream, end: End, means: &Means) -> Step {
        if self.finished || self.state.policy.cut || !self.queue.is_empty() {
            return Step::Waits;
        }
        if let Some(due) = end.due.filter(|due| *due > Instant::now()) {
            self.wake_at(cx, due, means);
            return Step::Waits;
        }
        if end.reset {
            return Step::ResetArrived;
        }
        if self.sink_dead {
            self.finished = true;
            return Step::Waits;
        }
        match Pin::new(sink).poll_shutdown(cx) {
            Poll::Ready(Ok(())) => {
                self.finished = true;
                Step::Waits
            }
            Poll::Ready(Err(_)) => self.sink_died(),
            Poll::Pending => Step::Waits,
        }
    }

    fn end_with(&mut self, reset: bool, means: &Means) {
        let received = Instant::now();
        let due = self.due(received, means);
        self.end = Some(End { reset, received, due });
        self.finished = false;
        if self.state.policy.cut {
            self.count_cut();
        }
    }

    fn source_died(&mut self, means: &Means) -> Step {
        if self.state.policy.cut {
            // A sender that aborts does not send again what was lost.
            self.discard();
        }
        self.source_dead = true;
        self.end_with(true, means);
        Step::SourceDied
    }

    fn sink_died(&mut self) -> Step {
        self.sink_gone();
        Step::SinkDied
    }

    fn hold(&mut self, at: usize) {
        let Some(chunk) = self.queue.get_mut(at).filter(|chunk| !chunk.held) else { return };
        chunk.held = true;
        let length = chunk.bytes.rest().len();
        add(&self.lane.counters.held_bytes, length);
        add(&self.lane.counters.held_bytes_now, length);
        self.count_cut();
    }

    fn count_cut(&mut self) {
        // That an opening is held has been counted.
        if !self.cut_counted && !self.unconnected {
            self.cut_counted = true;
            add(&self.lane.counters.held_connections, 1);
        }
    }

    fn discard(&mut self) {
        for chunk in self.queue.drain(..) {
            let length = chunk.bytes.rest().len();
            add(&self.lane.counters.discarded_bytes, length);
            if chunk.held {
                take_off(&self.lane.counters.held_bytes_now, length);
            }
            if let Some(received) = chunk.received {
                self.lane.passed(Kind::Connection, received, None, chunk.length);
            }
        }
        self.queued = 0;
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.discard();
    }
}
