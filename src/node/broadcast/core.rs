//! One process as a pure state machine: frames, lines and the time go in; frames and lines come out.
//!
//! Without sockets and clocks of its own it can be run a thousand times under a network that does its worst (`tests`).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::bug::Bug;
use super::change::Change;
use super::channel::Channel;
use super::found::Founding;
use super::message::{Frame, Member, Message, Rank, Status};
use super::order::{Delivery, Order};
use crate::node::log::crc32;

/// Between two statuses, ms.
const BEAT_MS: u64 = 100;
/// A peer heard from within this is heard, ms.
const HEARD_MS: u64 = 500;
/// A process whose clock jumps by more was not running, and knows nothing of its peers' silence, ms.
const STALL_MS: u64 = 500;
/// How long a message waits for those who are silent under `timeout-fallback`, ms.
const FALLBACK_MS: u64 = 300;
/// How much later a line may be sent under `not-fifo`, ms.
const OVERTAKE_MS: u64 = 40;
/// A process's own messages that are not known to be everywhere, at most: further lines have to wait.
const MAX_OUTSTANDING: u64 = 128;

/// What a process is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The ids of all processes, sorted.
    pub ids: Vec<Arc<str>>,
    /// Which of them this one is.
    pub me: Rank,
    /// Its incarnation: greater than that of any earlier life of it.
    pub inc: u64,
    /// How long a member may be silent before it is removed, ms; 0: for ever.
    pub evict_after_ms: u64,
    /// The bug it has.
    pub bug: Option<Bug>,
}

/// What a process tells its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A view begins.
    View { group: u64, number: u64, position: u64, members: String },
    /// A line was taken as a message.
    Sent { id: String, text: Arc<str> },
    /// A message is delivered.
    Deliver { position: u64, sender: Arc<str>, id: String, text: Arc<str> },
    /// The others went on without this process: this view of theirs does not have it.
    Evicted { view: u64 },
    /// This view is over: so many of its members died that nobody knows what they had delivered.
    Dissolved { view: u64 },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::View { group, number, position, members } => {
                write!(f, "VIEW {group} {number} {position} {members}")
            }
            Line::Sent { id, text } => write!(f, "SENT {id} {text}"),
            Line::Deliver { position, sender, id, text } => {
                write!(f, "DELIVER {position} {sender} {id} {text}")
            }
            Line::Evicted { view } => write!(f, "EVICTED {view}"),
            Line::Dissolved { view } => write!(f, "DISSOLVED {view}"),
        }
    }
}

/// Another process, as far as known.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Its latest incarnation; 0: never heard of.
    pub inc: u64,
    pub channel: Channel,
    /// To be sent with the next frame, and never again.
    pub(super) once: Vec<Arc<Message>>,
    /// When something came from it, ms.
    pub heard_at: Option<u64>,
    /// When it last told that it hears this process and is in the same view, or a later one, ms.
    pub with_us_at: u64,
    pub status: Option<Status>,
}

/// The view a process is in.
#[derive(Debug)]
pub(super) struct View {
    pub group: u64,
    pub number: u64,
    pub members: Vec<Member>,
    pub order: Order,
    /// What the others were told last of what this process holds.
    told: Vec<u64>,
    pub change: Change,
}

/// One process.
#[derive(Debug)]
pub struct Core {
    pub(super) ids: Vec<Arc<str>>,
    table: u32,
    pub(super) me: Rank,
    pub(super) inc: u64,
    pub(super) evict_after_ms: u64,
    pub(super) bug: Option<Bug>,
    /// By rank; its own is not used.
    pub(super) peers: Vec<Peer>,
    pub(super) view: Option<View>,
    pub(super) founding: Option<Founding>,
    pub(super) clock: u64,
    /// Lines taken by this incarnation.
    pub(super) lines: u64,
    /// Lines that are still to be sent, by when and in which order.
    pub(super) unsaid: BTreeMap<(u64, u64), (u64, Arc<str>)>,
    /// Messages to itself.
    pub(super) own: VecDeque<Arc<Message>>,
    pub(super) now: u64,
    beat_at: u64,
    random: u64,
    pub(super) told: Vec<Line>,
}

impl Core {
    /// A process that was just started, at the time `now`, ms.
    pub fn new(settings: Settings, now: u64) -> Self {
        let Settings { ids, me, inc, evict_after_ms, bug } = settings;
        let peers = ids.iter().map(|_| Peer::default()).collect();
        Core {
            table: crc32(ids.join("\n").as_bytes()),
            ids,
            me,
            inc,
            evict_after_ms,
            bug,
            peers,
            view: None,
            founding: None,
            clock: 0,
            lines: 0,
            unsaid: BTreeMap::new(),
            own: VecDeque::new(),
            now,
            beat_at: now,
            random: inc | 1,
            told: Vec::new(),
        }
    }

    /// Whether a line may be taken. Until then it has to wait: what waits for silent peers has a limit.
    pub fn has_room(&self) -> bool {
        self.view.as_ref().is_some_and(|view| {
            let waiting = view.order.outstanding() + self.unsaid.len() as u64;
            !view.change.is_under_way() && waiting < MAX_OUTSTANDING
        })
    }

    /// Takes a line of the user; [`Core::has_room`] was asked before.
    pub fn say(&mut self, now: u64, text: &str) {
        self.advance(now);
        self.lines += 1;
        let text: Arc<str> = text.into();
        let id = self.message_id(self.me, self.inc, self.lines);
        self.told.push(Line::Sent { id, text: Arc::clone(&text) });
        let late_ms = if self.bug == Some(Bug::NotFifo) { self.draw(OVERTAKE_MS + 1) } else { 0 };
        self.unsaid.insert((now + late_ms, self.lines), (self.lines, text));
        self.work();
    }

    /// Takes a frame in.
    pub fn hear(&mut self, now: u64, frame: Frame) {
        self.advance(now);
        let known = self.ids.iter().position(|id| *id == frame.from);
        let Some(rank) = known.filter(|rank| *rank != self.me) else { return };
        if *frame.to != *self.ids[self.me] || frame.table != self.table || frame.inc < self.peers[rank].inc {
            return;
        }
        if frame.inc > self.peers[rank].inc {
            self.restarted(rank, frame.inc);
        }
        // An earlier life of this process had a clock that was ahead: to some peers this one is the dead one.
        if frame.to_inc > self.inc {
            if let Some(view) = self.view.as_ref().map(|view| view.number) {
                self.leave(Line::Evicted { view });
            }
            self.reincarnate(frame.to_inc + 1);
        }
        self.peers[rank].heard_at = Some(now);
        if let Some(status) = frame.status.filter(|status| status.fits(self.ids.len())) {
            self.note(rank, status);
        }
        if frame.to_inc == self.inc {
            let channel = &mut self.peers[rank].channel;
            channel.acknowledge(frame.ack, now);
            let again = channel.receive(frame.first, frame.messages);
            if self.bug == Some(Bug::DuplicatesOnRetry) {
                again.iter().for_each(|message| self.hear_again(rank, message));
            }
            for message in frame.once {
                self.handle(rank, &message);
            }
        }
        self.work();
    }

    /// Lets time pass; to be called every 10 ms or so.
    pub fn tick(&mut self, now: u64) {
        self.advance(now);
        self.tick_founding();
        self.tick_change();
        self.work();
    }

    fn advance(&mut self, now: u64) {
        let gap = now.saturating_sub(self.now);
        self.now = now;
        if gap > STALL_MS {
            self.peers.iter_mut().for_each(|peer| peer.with_us_at += gap);
        }
    }

    /// What there is to tell the user.
    pub fn take_lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.told)
    }

    /// What there is to send, and to whom.
    pub fn take_frames(&mut self) -> Vec<(Rank, Frame)> {
        self.tell_held();
        let beat = self.now >= self.beat_at;
        if beat {
            self.beat_at = self.now + BEAT_MS;
        }
        let mut frames = Vec::new();
        for rank in (0..self.ids.len()).filter(|rank| *rank != self.me) {
            let mut status = beat.then(|| self.status());
            let peer = &mut self.peers[rank];
            let mut batches = peer.channel.batches(self.now);
            if batches.is_empty() && (beat || peer.channel.ack_due || !peer.once.is_empty()) {
                batches.push((0, Vec::new()));
            }
            peer.channel.ack_due = false;
            for (first, messages) in batches {
                let frame = Frame {
                    from: Arc::clone(&self.ids[self.me]),
                    inc: self.inc,
                    to: Arc::clone(&self.ids[rank]),
                    to_inc: peer.inc,
                    table: self.table,
                    ack: peer.channel.ack(),
                    first,
                    messages,
                    once: std::mem::take(&mut peer.once),
                    status: status.take(),
                };
                frames.push((rank, frame));
            }
        }
        frames
    }

    /// Does all that can be done now.
    fn work(&mut self) {
        loop {
            let mut moved = self.make_progress();
            while let Some(message) = self.own.pop_front() {
                self.handle(self.me, &message);
                moved = true;
            }
            for rank in 0..self.peers.len() {
                while let Some(message) = self.peers[rank].channel.next()
                    && self.is_due(message)
                    && let Some(message) = self.peers[rank].channel.take()
                {
                    self.handle(rank, &message);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Whether this process is in the view that a message is about, or past it. Otherwise the message waits in its channel:
    /// another channel is about to tell how that view begins.
    fn is_due(&self, message: &Message) -> bool {
        let number = self.view.as_ref().map_or(0, |view| view.number);
        match message {
            Message::Decide { next } => number == 0 || next.number <= number + 1,
            _ => message.view().is_none_or(|view| view <= number),
        }
    }

    fn handle(&mut self, rank: Rank, message: &Message) {
        if !message.fits(self.ids.len()) {
            return;
        }
        let now = self.now;
        match message {
            Message::Data { view, n, line, ts, text } => {
                let proposal =
                    self.active(*view).and_then(|view| view.order.hear(now, rank, (*n, *line, *ts), text));
                if let Some(ts) = proposal {
                    self.send(rank, Message::Propose { view: *view, n: *n, ts });
                }
            }
            Message::Propose { view, n, ts } => {
                self.active(*view).into_iter().for_each(|view| view.order.propose(rank, *n, *ts));
            }
            Message::Agreed { view, n, ts } => {
                self.active(*view).into_iter().for_each(|view| view.order.settle(rank, *n, *ts));
            }
            Message::Held { view, counts } => {
                self.active(*view).into_iter().for_each(|view| view.order.note_held(rank, counts));
            }
            Message::Decide { next } => self.decided(next),
            Message::Found { members } => self.found(rank, members),
            Message::Founded { members } => self.founded(rank, members),
            _ => self.handle_change(rank, message),
        }
    }

    /// The view with this number, if this process is in it and nobody asked it to give it up.
    fn active(&mut self, number: u64) -> Option<&mut View> {
        self.view.as_mut().filter(|view| view.number == number && !view.change.is_under_way())
    }

    /// Agrees, delivers and sends what may be; whether there was anything.
    fn make_progress(&mut self) -> bool {
        let (now, fallback) = (self.now, self.bug == Some(Bug::TimeoutFallback));
        let Some(view) = self.view.as_mut().filter(|view| !view.change.is_under_way()) else { return false };
        let impatient = if fallback { now.saturating_sub(FALLBACK_MS) } else { 0 };
        let agreed = view.order.agree(impatient);
        let deliveries = view.order.deliver(impatient);
        let number = view.number;
        let mut moved = !agreed.is_empty() || !deliveries.is_empty();
        for (n, ts) in agreed {
            let message = Message::Agreed { view: number, n, ts };
            if self.bug == Some(Bug::NoRetransmit) { self.send_once(message) } else { self.send_all(message) }
        }
        self.tell(deliveries);
        while let Some(first) = self.unsaid.first_entry()
            && first.key().0 <= now
            && let Some(view) = &mut self.view
        {
            let (line, text) = first.remove();
            let (n, ts) = view.order.say(now, line, Arc::clone(&text));
            self.send_all(Message::Data { view: number, n, line, ts, text });
            moved = true;
        }
        moved
    }

    fn hear_again(&mut self, rank: Rank, message: &Message) {
        if let Message::Data { view, n, line, text, .. } = message {
            let delivery = self.active(*view).and_then(|view| view.order.hear_again(rank, *n, *line, text));
            self.tell(delivery.into_iter().collect());
        }
    }

    pub(super) fn tell(&mut self, deliveries: Vec<Delivery>) {
        for Delivery { position, rank, line, text } in deliveries {
            let inc = self.view.as_ref().map_or(0, |view| view.inc_of(rank));
            let (sender, id) = (Arc::clone(&self.ids[rank]), self.message_id(rank, inc, line));
            self.told.push(Line::Deliver { position, sender, id, text });
        }
    }

    fn message_id(&self, rank: Rank, inc: u64, line: u64) -> String {
        format!("{}:{inc}:{line}", self.ids[rank])
    }

    /// Tells the others what this process holds, once for all that came in together.
    fn tell_held(&mut self) {
        let Some(view) = self.view.as_mut().filter(|view| !view.change.is_under_way()) else { return };
        if view.told != view.order.held() {
            view.told = view.order.held().to_vec();
            let message = Message::Held { view: view.number, counts: view.told.clone() };
            self.send_all(message);
        }
    }

    pub(super) fn send(&mut self, rank: Rank, message: Message) {
        let message = Arc::new(message);
        if rank == self.me {
            self.own.push_back(message);
        } else {
            self.peers[rank].channel.push(&message);
        }
    }

    /// To all other members.
    pub(super) fn send_all(&mut self, message: Message) {
        let message = Arc::new(message);
        for rank in self.others() {
            self.peers[rank].channel.push(&message);
        }
    }

    fn send_once(&mut self, message: Message) {
        let message = Arc::new(message);
        for rank in self.others() {
            self.peers[rank].once.push(Arc::clone(&message));
        }
    }

    /// The other members, as far as they are still alive: a later life of one is no member.
    fn others(&self) -> Vec<Rank> {
        let members = self.view.iter().flat_map(|view| &view.members);
        let lives = |member: &&Member| member.rank != self.me && member.inc == self.peers[member.rank].inc;
        members.filter(lives).map(|member| member.rank).collect()
    }

    fn status(&self) -> Status {
        Status {
            view: self.view.as_ref().map_or(0, |view| view.number),
            members: self.view.as_ref().map_or_else(Vec::new, |view| view.members.clone()),
            hears: (0..self.ids.len())
                .map(|rank| if self.hears(rank) { self.peers[rank].inc } else { 0 })
                .collect(),
        }
    }

    /// Whether something came from this peer lately.
    pub(super) fn hears(&self, rank: Rank) -> bool {
        self.peers[rank].heard_at.is_some_and(|at| self.now <= at + HEARD_MS)
    }

    /// Below `bound`. Splitmix64.
    fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

impl View {
    pub(super) fn new(group: u64, number: u64, members: Vec<Member>, order: Order) -> Self {
        let told = order.held().to_vec();
        View { group, number, members, order, told, change: Change::default() }
    }

    fn inc_of(&self, rank: Rank) -> u64 {
        self.members.iter().find(|member| member.rank == rank).map_or(0, |member| member.inc)
    }
}
