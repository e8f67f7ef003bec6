//! Datagrams from one node to one socket of another, as their lane's policy says.
//!
//! Without a policy a datagram goes straight from the receipt to the sending. Otherwise its fate is drawn when it is
//! received, and it waits for its time in a queue that is ordered by when each is due: they may overtake each other.

use std::collections::{BinaryHeap, HashMap};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::ReadBuf;
use tokio::task::AbortHandle;

use super::buffer;
use super::core::Core;
use super::counters::add;
use super::face::Face;
use super::fate::{Fates, Waiting};
use super::lane::{Kind, Lane, State, Supervised};
use super::policy::LinkPolicy;

/// Bytes on their way at most, as a link's own. A rate has the queue of a small router, whatever is beyond is lost.
const UNDER_WAY: usize = 16 * 1024 * 1024;
const THROTTLED: usize = 256 * 1024;
/// What a datagram costs beside its bytes.
const COST: usize = 128;
/// Senders remembered, so that each need not be looked up for each datagram.
const REMEMBERED: usize = 256;

/// Starts the task that carries what is sent to `face`. Conduits of one `name`, lane and seed draw the same fates. To be
/// called within the network's runtime.
pub(super) fn serve(core: &Arc<Core>, face: &Arc<Face>, name: &str) -> AbortHandle {
    let (lane, pair) = core.lane(face.viewer, face.owner);
    let number = core.conduits.fetch_add(1, Relaxed);
    let mut conduit = Conduit {
        fates: Fates::new(core.seed, &format!("datagrams {}>{} {name}", lane.from, lane.to)),
        state: lane.state(),
        core: Arc::clone(core),
        face: Arc::clone(face),
        lane: Arc::clone(lane),
        queue: BinaryHeap::new(),
        behind: Vec::new(),
        queued: 0,
        received: 0,
        newest: 0,
        senders: HashMap::new(),
        armed: None,
    };
    let task = poll_fn(move |cx| conduit.poll(cx));
    core.handle.spawn(Supervised::new(Arc::clone(pair), Kind::Conduit, number, task)).abort_handle()
}

struct Conduit {
    core: Arc<Core>,
    face: Arc<Face>,
    lane: Arc<Lane>,
    state: State,
    fates: Fates,
    queue: BinaryHeap<Waiting>,
    /// Due, and held back until later ones have overtaken them, or their time is up.
    behind: Vec<(Instant, Waiting)>,
    /// Memory that what waits takes.
    queued: usize,
    /// How many have been received, and which of them was handed on that was received last.
    received: u64,
    newest: u64,
    senders: HashMap<SocketAddr, Arc<Face>>,
    /// The deadline the clock knows of.
    armed: Option<Instant>,
}

impl Conduit {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = buffer::take();
        loop {
            self.refresh();
            self.deliver(cx);
            let mut into = ReadBuf::new(&mut buffer);
            match self.face.poll_receive(cx, &mut into) {
                Poll::Ready(Ok(from)) => self.take_in(into.filled_mut(), from),
                Poll::Ready(Err(_)) => {
                    // An earlier datagram of ours was refused, where the system tells; what comes next is not lost.
                    cx.waker().wake_by_ref();
                    break;
                }
                Poll::Pending => break,
            }
        }
        buffer::give(buffer);
        Poll::Pending
    }

    /// Takes over a changed policy.
    fn refresh(&mut self) {
        if self.lane.generation() == self.state.generation {
            return;
        }
        let before = std::mem::replace(&mut self.state, self.lane.state()).policy;
        let policy = self.state.policy;
        if policy.cut && !before.cut {
            // What is on the wire when it is cut does not arrive.
            add(&self.lane.counters.cut_datagrams, self.queue.len() + self.behind.len());
            self.forget();
            return;
        }
        let mut waiting = std::mem::take(&mut self.queue).into_vec();
        waiting.sort_by_key(|datagram| datagram.number);
        for datagram in &mut waiting {
            let now = Instant::now();
            if policy.rate != before.rate && datagram.leaves > now {
                datagram.leaves = self.turn(datagram.bytes.len(), now, policy);
            }
            // A shorter delay holds for what is on its way, a longer one does not.
            if policy.mishaps.reorder == 0.0 {
                datagram.overtaken_by = 0;
            }
            let jitter = datagram.jitter.min(policy.jitter);
            datagram.due = datagram.due.min(policy.arrival(datagram.leaves, jitter));
        }
        self.queue = waiting.into();
        for (until, _) in &mut self.behind {
            *until = (*until).min(Instant::now() + policy.mishaps.reorder_within);
        }
    }

    /// When the rate lets a datagram leave that could leave now.
    fn turn(&self, length: usize, now: Instant, policy: LinkPolicy) -> Instant {
        policy.rate.map_or(now, |rate| self.lane.reserve(length.max(1), rate, now))
    }

    fn take_in(&mut self, bytes: &mut [u8], from: SocketAddr) {
        self.received += 1;
        self.used(&self.face);
        let policy = self.state.policy;
        if policy.is_plain() && self.queue.is_empty() && self.behind.is_empty() {
            return self.hand_on(bytes, from, self.received, Instant::now());
        }
        let counters = &self.lane.counters;
        let fate = self.fates.draw(&policy);
        if policy.cut {
            add(&counters.cut_datagrams, 1);
            return self.lane.passed(Kind::Conduit, Instant::now(), None, bytes.len());
        }
        if fate.dropped {
            add(&counters.dropped_datagrams, 1);
            return self.lane.passed(Kind::Conduit, Instant::now(), None, bytes.len());
        }
        let limit = if policy.rate.is_some() { THROTTLED } else { UNDER_WAY };
        if self.queued + bytes.len() + COST > limit {
            add(&counters.overflowed_datagrams, 1);
            return self.lane.passed(Kind::Conduit, Instant::now(), None, bytes.len());
        }
        if let Some(flips) = fate.corrupted.filter(|_| !bytes.is_empty()) {
            flips.apply(bytes);
            add(&counters.corrupted_datagrams, 1);
        }
        let received = Instant::now();
        if let Some(jitter) = fate.duplicated {
            add(&counters.duplicated_datagrams, 1);
            // The copy is never held back: were it, what it is a copy of could not be overtaken.
            self.wait(bytes, from, received, jitter, 0);
        }
        self.wait(bytes, from, received, fate.jitter, fate.overtaken_by);
    }

    fn wait(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        received: Instant,
        jitter: Duration,
        overtaken_by: u8,
    ) {
        let policy = self.state.policy;
        let leaves = self.turn(bytes.len(), received, policy);
        if leaves > received {
            add(&self.lane.counters.throttled_datagrams, 1);
        }
        if policy.is_late() {
            add(&self.lane.counters.delayed_datagrams, 1);
        }
        let (number, due) = (self.received, policy.arrival(leaves, jitter));
        self.queued += bytes.len() + COST;
        let bytes = bytes.into();
        self.queue.push(Waiting { due, number, received, leaves, jitter, from, overtaken_by, bytes });
    }

    /// Hands on what is due.
    fn deliver(&mut self, cx: &mut Context<'_>) {
        while !self.queue.is_empty() || !self.behind.is_empty() {
            let now = Instant::now();
            let over =
                self.behind.iter().position(|(until, waiting)| *until <= now || waiting.overtaken_by == 0);
            if let Some(over) = over {
                let (_, datagram) = self.behind.remove(over);
                self.arrive(&datagram);
                continue;
            }
            let next = self.queue.peek().map(|datagram| datagram.due);
            if next.is_some_and(|due| due <= now)
                && let Some(datagram) = self.queue.pop()
            {
                // Also by those that are held back themselves: or nothing would move where all are.
                for (_, held) in &mut self.behind {
                    held.overtaken_by = held.overtaken_by.saturating_sub(1);
                }
                if datagram.overtaken_by > 0 {
                    self.behind.push((now + self.state.policy.mishaps.reorder_within, datagram));
                } else {
                    self.arrive(&datagram);
                }
                continue;
            }
            let earliest = self.behind.iter().map(|(until, _)| *until).chain(next).min();
            if let Some(at) = earliest.filter(|at| self.armed != Some(*at)) {
                self.armed = Some(at);
                self.core.clock.wake_at(at, cx.waker());
            }
            return;
        }
    }

    fn arrive(&mut self, datagram: &Waiting) {
        self.queued -= datagram.bytes.len() + COST;
        if datagram.due > datagram.leaves {
            let added = u64::try_from(datagram.received.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.lane.counters.max_delay_added_ns.fetch_max(added, Relaxed);
        }
        self.hand_on(&datagram.bytes, datagram.from, datagram.number, datagram.received);
    }

    fn hand_on(&mut self, bytes: &[u8], from: SocketAddr, number: u64, received: Instant) {
        let to = self.face.real();
        let sent = self.sender(from).and_then(|sender| {
            self.used(&sender);
            if let Some(sent) = sender.send(bytes, to) {
                return sent;
            }
            // It may have been opened at this very moment, and spoken before it was looked at.
            if let Some(port) = sender.port() {
                self.core.look(sender.owner, port);
            }
            sender.send(bytes, to).unwrap_or_else(|| sender.send_posthumously(bytes, to))
        });
        self.lane.passed(Kind::Conduit, received, sent.is_ok().then(Instant::now), bytes.len());
        let counters = &self.lane.counters;
        match sent {
            Ok(_) => {
                add(&counters.datagrams, 1);
                add(&counters.bytes, bytes.len());
                if number < self.newest {
                    add(&counters.reordered_datagrams, 1);
                }
                self.newest = self.newest.max(number);
            }
            Err(error) => {
                add(&counters.discarded_datagrams, 1);
                self.core.cannot_send(self.lane.from, self.lane.to, &error);
            }
        }
    }

    /// Flows end when they are silent, declared ports do not.
    fn used(&self, face: &Face) {
        if face.port().is_none() {
            face.touch(self.core.now_ms());
        }
    }

    /// The face of whoever sent from there, as the receiver sees it.
    fn sender(&mut self, from: SocketAddr) -> std::io::Result<Arc<Face>> {
        let known = self.senders.get(&from).filter(|face| face.port().is_some() || face.is_open());
        if let Some(face) = known {
            return Ok(Arc::clone(face));
        }
        let face = self.core.face(self.face.viewer, self.face.owner, from)?;
        if self.senders.len() >= REMEMBERED {
            self.senders.clear();
        }
        self.senders.insert(from, Arc::clone(&face));
        Ok(face)
    }

    /// What waits is lost.
    fn forget(&mut self) {
        for waiting in self.queue.drain().chain(self.behind.drain(..).map(|(_, waiting)| waiting)) {
            self.lane.passed(Kind::Conduit, waiting.received, None, waiting.bytes.len());
        }
        self.queued = 0;
    }
}

impl Drop for Conduit {
    fn drop(&mut self) {
        add(&self.lane.counters.discarded_datagrams, self.queue.len() + self.behind.len());
        self.forget();
    }
}
