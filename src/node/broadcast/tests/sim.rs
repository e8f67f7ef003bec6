//! A cluster in one thread: time is a number, the network a queue.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::super::bug::Bug;
use super::super::core::{Core, Line, Settings};
use super::super::message::{Frame, Rank};
use crate::seed::Rng;

/// Frames that wait for a process that does not run, at most: a socket's buffer.
const INBOX: usize = 200;

/// How frames of one directed link fare. Chances are of 1000.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub cut: bool,
    pub loss: u64,
    pub double: u64,
    /// At least so long, ms.
    pub delay: u64,
    /// And up to so much longer, so that frames overtake each other, ms.
    pub jitter: u64,
}

pub const CLEAN: Link = Link { cut: false, loss: 0, double: 0, delay: 1, jitter: 1 };

/// What one incarnation of a process told its user.
#[derive(Clone, Debug, Default)]
pub struct Life {
    pub rank: Rank,
    pub lines: Vec<Line>,
    /// Killed or evicted.
    pub over: bool,
}

pub struct Process {
    pub core: Option<Core>,
    pub paused: bool,
    inbox: VecDeque<Frame>,
    said: u64,
}

pub struct Sim {
    pub rng: Rng,
    pub now: u64,
    pub processes: Vec<Process>,
    pub links: Vec<Vec<Link>>,
    pub lives: Vec<Life>,
    ids: Vec<Arc<str>>,
    evict_after_ms: u64,
    bug: Option<Bug>,
    under_way: BTreeMap<(u64, u64), (Rank, Frame)>,
    frames: u64,
}

impl Sim {
    pub fn new(seed: u64, n: usize, evict_after_ms: u64, bug: Option<Bug>) -> Sim {
        let mut sim = Sim {
            rng: Rng::new(seed, "broadcast"),
            now: 0,
            processes: Vec::new(),
            links: vec![vec![CLEAN; n]; n],
            lives: Vec::new(),
            ids: (1..=n).map(|n| format!("p{n:02}").into()).collect(),
            evict_after_ms,
            bug,
            under_way: BTreeMap::new(),
            frames: 0,
        };
        for rank in 0..n {
            sim.processes.push(Process { core: None, paused: false, inbox: VecDeque::new(), said: 0 });
            sim.start(rank);
        }
        sim
    }

    pub fn len(&self) -> usize {
        self.processes.len()
    }

    pub fn start(&mut self, rank: Rank) {
        // Now and then the machine's clock was set back since the last life.
        let late = self.now > 0 && self.rng.below(6) == 0;
        let inc = if late { 500 + self.lives.len() as u64 } else { 1000 + self.now };
        let settings = Settings {
            ids: self.ids.clone(),
            me: rank,
            inc,
            evict_after_ms: self.evict_after_ms,
            bug: self.bug,
        };
        let process = &mut self.processes[rank];
        process.core = Some(Core::new(settings, self.now));
        process.paused = false;
        process.inbox.clear();
        self.lives.push(Life { rank, ..Life::default() });
    }

    pub fn kill(&mut self, rank: Rank) {
        self.processes[rank].core = None;
        self.life(rank).over = true;
    }

    pub fn life(&mut self, rank: Rank) -> &mut Life {
        self.lives.iter_mut().rev().find(|life| life.rank == rank).unwrap()
    }

    /// A line at one process, if it takes one now.
    pub fn say(&mut self, rank: Rank) -> bool {
        let process = &mut self.processes[rank];
        let Some(core) = process.core.as_mut().filter(|core| !process.paused && core.has_room()) else {
            return false;
        };
        process.said += 1;
        core.say(self.now, &format!("{rank}/{}", process.said));
        self.collect(rank);
        true
    }

    /// One millisecond.
    pub fn step(&mut self) {
        self.now += 1;
        while let Some(first) = self.under_way.first_entry().filter(|first| first.key().0 <= self.now) {
            let (to, frame) = first.remove();
            let process = &mut self.processes[to];
            if process.core.is_some() && process.inbox.len() < INBOX {
                process.inbox.push_back(frame);
            }
        }
        for rank in 0..self.len() {
            let ticks = (self.now + rank as u64 * 3).is_multiple_of(10);
            let process = &mut self.processes[rank];
            let Some(core) = process.core.as_mut().filter(|_| !process.paused) else { continue };
            if !ticks && process.inbox.is_empty() {
                continue;
            }
            // Which comes first after a pause is chance.
            let tick_first = ticks && self.rng.below(2) == 0;
            if tick_first {
                core.tick(self.now);
            }
            for frame in process.inbox.drain(..) {
                core.hear(self.now, frame);
            }
            if ticks && !tick_first {
                core.tick(self.now);
            }
            self.collect(rank);
        }
    }

    fn collect(&mut self, rank: Rank) {
        let Some(core) = &mut self.processes[rank].core else { return };
        let (lines, frames) = (core.take_lines(), core.take_frames());
        for line in lines {
            let evicted = matches!(line, Line::Evicted { .. } | Line::Dissolved { .. });
            self.life(rank).lines.push(line);
            if evicted {
                self.life(rank).over = true;
                self.lives.push(Life { rank, ..Life::default() });
            }
        }
        for (to, frame) in frames {
            let link = self.links[rank][to];
            if link.cut || self.rng.below(1000) < link.loss {
                continue;
            }
            let copies = 1 + u64::from(self.rng.below(1000) < link.double);
            for _ in 0..copies {
                self.frames += 1;
                let at = self.now + link.delay + self.rng.below(link.jitter + 1);
                // As the network carries it.
                let frame = if self.frames.is_multiple_of(16) {
                    Frame::decode(&frame.encode()).unwrap()
                } else {
                    frame.clone()
                };
                self.under_way.insert((at, self.frames), (to, frame));
            }
        }
    }

    /// Runs for `ms`, with a line somewhere about every `every` ms.
    pub fn run(&mut self, ms: u64, every: u64) {
        for _ in 0..ms {
            self.step();
            if self.rng.below(every) == 0 {
                let rank = self.rng.below(self.len() as u64) as usize;
                self.say(rank);
            }
        }
    }

    /// Runs without new lines until `done`, for `ms` at most; whether it came to that.
    pub fn until(&mut self, ms: u64, done: impl Fn(&mut Sim) -> bool) -> bool {
        for _ in 0..ms {
            if self.now.is_multiple_of(20) && done(self) {
                return true;
            }
            self.step();
        }
        false
    }

    /// Whether all processes run and are in the same view, which has them all.
    pub fn is_whole(&mut self) -> bool {
        let n = self.len();
        let members = self.ids.join(",");
        let views: Vec<Option<(u64, u64)>> = (0..n)
            .map(|rank| {
                let runs = self.processes[rank].core.is_some() && !self.processes[rank].paused;
                self.life(rank).view().filter(|(_, names)| runs && **names == members).map(|(view, _)| view)
            })
            .collect();
        views[0].is_some() && views.iter().all(|view| *view == views[0])
    }

    /// Whether it is whole, and all has been delivered everywhere.
    pub fn is_settled(&mut self) -> bool {
        self.is_whole() && {
            let n = self.len();
            let ends: Vec<u64> = (0..n).map(|rank| self.life(rank).end()).collect();
            let sent: usize =
                self.lives.iter().filter(|life| !life.over).map(|life| life.undelivered()).sum();
            sent == 0 && ends.iter().all(|end| *end == ends[0])
        }
    }
}

impl Life {
    fn view(&self) -> Option<((u64, u64), &String)> {
        self.lines.iter().rev().find_map(|line| match line {
            Line::View { group, number, members, .. } => Some(((*group, *number), members)),
            _ => None,
        })
    }

    /// The group it was in.
    pub fn group(&self) -> Option<u64> {
        self.view().map(|((group, _), _)| group)
    }

    /// The position it has reached.
    fn end(&self) -> u64 {
        let position = |line: &Line| match line {
            Line::View { position, .. } | Line::Deliver { position, .. } => Some(*position),
            _ => None,
        };
        self.lines.iter().rev().find_map(position).unwrap_or(0)
    }

    /// How many of its own messages it has not delivered.
    fn undelivered(&self) -> usize {
        let sent = self.lines.iter().filter(|line| matches!(line, Line::Sent { .. })).count();
        let mine: std::collections::BTreeSet<&str> = self.lines.iter().filter_map(Line::sent).collect();
        let back = self.lines.iter().filter_map(Line::delivered).filter(|id| mine.contains(id));
        sent - back.collect::<std::collections::BTreeSet<_>>().len()
    }
}

impl Line {
    pub fn sent(&self) -> Option<&str> {
        if let Line::Sent { id, .. } = self { Some(id) } else { None }
    }

    pub fn delivered(&self) -> Option<&str> {
        if let Line::Deliver { id, .. } = self { Some(id) } else { None }
    }
}
