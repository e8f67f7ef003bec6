//! A chat whose messages everyone sees in the same order: total-order broadcast.
//!
//! The algorithm is ISIS's (Birman and Joseph, "Reliable communication in the presence of failures", 1987), on Lamport clocks
//! ("Time, clocks, and the ordering of events in a distributed system", 1978): the sender multicasts a message, each
//! member answers with the timestamp it proposes, its clock plus one; the sender agrees on the largest and multicasts that. Each
//! member holds messages back and delivers them by (agreed timestamp, sender), once no other can come before.
//!
//! # What is promised
//!
//! Uniformly, that is also of what was delivered by a process that died or was evicted right afterwards (Hadzilacos and
//! Toueg, "Fault-tolerant broadcasts and related problems", 1993):
//!
//! - **Integrity**: a life of a process delivers a message at most once, and only if it was sent.
//! - **Total order and agreement**: all deliveries in a group are one sequence, in which each message has a position. A life
//!   delivers a run of it without gaps, from where its first view begins; a life that does not end delivers all of it.
//! - **FIFO**: a sender's messages are in its order. **Causal order**: what a process delivered before it sent a message
//!   comes before that message.
//! - **Validity**: what a process sent is delivered, if its life does not end.
//!
//! The first four hold always; time is needed for the last, and for anything being delivered at all: as long as a member is
//! silent and not removed, everything waits.
//!
//! A *life* is an incarnation of a process. It ends when the process is killed, when the others go on without it
//! (`EVICTED`), and when so many of its view died that the view cannot go on (`DISSOLVED`); the next one begins at once, or at
//! the restart, with no memory, and is let in by those who are in a view. What a life had sent and not delivered when it ended is
//! delivered by all of the others or by none.
//!
//! # Why the order is one, within a view (`order`)
//!
//! *Total.* Let p deliver m with timestamp t, and q a message m2 with t2, (t, sender) < (t2, sender2). Then q does not deliver
//! m2 first. Every member proposed for m before t was agreed, q too, and t is at least what q proposed. If q had proposed
//! for m already when it came to m2, m was held back at q with a timestamp of at most t, so before m2. If not, q proposes more
//! than its clock, which is at least t2 by then: t > t2, a contradiction.
//!
//! *FIFO.* Channels keep the order, so each member proposes more for a sender's later message than for its earlier one; and so the
//! largest proposals grow.
//!
//! *Causal.* Whoever delivered m has a clock of at least m's timestamp. Its own proposal for a message m2 it sends then is
//! greater, and it is one of the members whose largest proposal counts: m2's timestamp is greater than m's.
//!
//! # Why it stays one when members fail (`change`, `order`)
//!
//! A message is delivered only when a majority of the view holds it with its agreed timestamp. The next view is agreed on by Paxos
//! among the members of this one; with each promise a member gives the view up and reports what it holds. Those who
//! promise include one of any majority. So whatever anyone delivered is reported with its timestamp, and so is what
//! was agreed and comes before it; messages that nobody reports as agreed were delivered by nobody, and are put after all that
//! are, a sender's in its order. That list is part of what is agreed: every member of the next view delivers it to its end before
//! that view begins, and all have delivered the same by then. What is on no report is on nobody's list; if its sender is in
//! the next view it sends it there again. A member that is not in the next view has delivered a beginning of the list.
//! Whoever is behind, by however much, takes no part in a view before it knows how the view before it ended.
//!
//! Members that died for certain (a later life of theirs was seen) need not be waited for. When so many have that no quorum is
//! left (`Core::is_quorum`), nobody can know what was delivered: then the survivors end their lives too, and say so. Guessing
//! would go on; this begins again, as another group.
//!
//! # Why memory is bounded
//!
//! A process sends at most 128 messages that are not known to be agreed everywhere; then stdin waits. What is delivered and
//! agreed everywhere is forgotten.

pub mod bug;
mod change;
mod channel;
mod console;
mod core;
mod found;
mod life;
mod message;
mod order;
pub mod table;
#[cfg(test)]
mod tests;
mod transport;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use self::bug::Bug;
use self::core::{Core, Settings};
use self::message::MAX_FRAME_BYTES;
use self::table::Table;
use self::transport::Transport;
use super::random;
use super::serve::{self, NodeError};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(10);
/// Frames taken in before anything is sent: answers to many go in one.
const ROUND: usize = 64;

/// What a process is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// All processes, and which one this is.
    pub table: Table,
    /// Peers by TCP instead of UDP.
    pub tcp: bool,
    /// How long a member may be silent before the others go on without it, ms; 0: for ever.
    pub evict_after_ms: u64,
    /// The bug it has.
    pub bug: Option<Bug>,
}

/// Runs a process until SIGTERM or SIGINT.
///
/// # Errors
/// [`NodeError`]
pub fn run(options: Options) -> Result<(), NodeError> {
    serve::block_on(run_here(options))
}

async fn run_here(options: Options) -> Result<(), NodeError> {
    let Options { table, tcp, evict_after_ms, bug } = options;
    let handler = |kind| signal(kind).map_err(|error| NodeError::System("handle signals", error));
    let (mut terminate, mut interrupt) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    let (mut transport, address) = Transport::open(&table, tcp).await?;
    let id = table.rows[table.me].id.clone();
    say!(
        "{id}: listening on {address} ({}), {} processes{}",
        if tcp { "TCP" } else { "UDP" },
        table.rows.len(),
        bug.map_or_else(String::new, |bug| format!(", bug: {}", bug.name())),
    );
    console::print_text(&format!("READY {id} {address}\n"))?;
    let mut stdin = console::read_lines()?;

    let began = Instant::now();
    let now = || began.elapsed().as_millis() as u64;
    let settings = Settings {
        ids: table.rows.iter().map(|row| row.id.clone()).collect(),
        me: table.me,
        inc: incarnation(),
        evict_after_ms,
        bug,
    };
    let mut core = Core::new(settings, now());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; MAX_FRAME_BYTES + 1];
    let mut open = true;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = ticks.tick() => core.tick(now()),
            line = stdin.recv(), if open && core.has_room() => match line {
                Some(Ok(text)) => core.say(now(), &text),
                Some(Err(why)) => console::print_text(&format!("REFUSED {why}\n"))?,
                // Whoever wrote is gone; what others say is delivered all the same.
                None => open = false,
            },
            Some(frame) = transport.receive(&mut buffer) => {
                core.hear(now(), frame);
                for _ in 1..ROUND {
                    let Some(frame) = transport.try_receive(&mut buffer) else { break };
                    core.hear(now(), frame);
                }
            }
        }
        console::print(&core.take_lines())?;
        for (rank, frame) in core.take_frames() {
            transport.send(rank, &frame);
        }
    }
    say!("{id}: stopped");
    Ok(())
}

/// Greater than that of any earlier life, as long as the clock is not set back in between; when it was, the peers say so.
/// Never the same, or the peers would take this life for the other.
fn incarnation() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or_else(|_| 1 + random::below(1 << 40), |since| since.as_micros() as u64)
}
