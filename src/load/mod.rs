//! What clients do, and when.
//!
//! The [`Plan`] says, as a pure function of the seed, which operation each client performs in which slot; [`run`]
//! performs it on the clock and records it. A client has one operation under way at a time. One that is late (its node
//! is slow, or at its limit of operations in flight) skips the slots it has missed, and they are counted: a load that
//! piles up behind a paused node and is let loose when it wakes would test the pile.
//!
//! Where an operation goes is planned too, but for those that are for the leader: who that is ([`Leaders`]) only the nodes
//! can say. A node that certainly did not do what it was asked may send the client on; it is one operation still, invoked
//! at the node asked first and completed by the one that answered last.

mod leaders;
mod ledger;
mod live;
mod plan;
mod probe;
mod status;
mod subscriber;
mod targets;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use leaders::Leaders;
pub use live::{Counts, Live, LoadStats, NodeStats, Sample};
pub use plan::{Plan, Planned, Repeats, Stream};
pub use probe::Prober;
pub use status::StatusWatch;
pub use subscriber::{Numbers, Subscribers};
pub use targets::Targets;

use crate::client::{Answer, Client, Request};
use crate::history::recorder::Asked;
use crate::history::{Outcome, Value};
use crate::workload::Route;

/// How often an operation is sent on at most: to the leader a node names, and to its successor.
const MAX_HOPS: usize = 2;

/// Performs `plan` from `start` on, until its duration has passed, `stop` is true, or the history cannot be written
/// any more; then waits for the answers that are still out (each within the operations' timeout). Dropped, it
/// abandons them.
///
/// Runs on the caller's runtime, which needs its time and I/O drivers and should be the load's own: whatever else runs
/// there would be part of every latency.
pub async fn run(
    plan: Arc<Plan>,
    targets: Arc<Targets>,
    start: Instant,
    stop: watch::Receiver<bool>,
) -> LoadStats {
    let begun = Instant::now().max(start);
    let mut clients = JoinSet::new();
    for client in 0..plan.clients() {
        let session = Session::new(client, &plan, &targets, start, stop.clone());
        clients.spawn(session.run());
    }
    let mut last_issue = begun;
    while let Some(ended) = clients.join_next().await {
        match ended {
            Ok(issued) => last_issue = last_issue.max(issued),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    // The rate is that of the time in which operations were begun: answers still awaited at the end do not lower it.
    targets.live.stats(plan.rate(), last_issue - begun)
}

/// One client, through all its incarnations.
struct Session {
    plan: Arc<Plan>,
    targets: Arc<Targets>,
    stream: Stream,
    start: Instant,
    stop: watch::Receiver<bool>,
    process: u64,
    /// By node. A sticky session has one connection, a roaming one up to as many as there are nodes.
    clients: Vec<Option<Client>>,
    operations: Vec<Operation>,
    /// What the nodes gave it to carry; a session that ends takes it along.
    token: Option<Arc<str>>,
    /// A publication of unknown outcome, to be published again under the same name.
    again: Option<(Arc<str>, Value)>,
    repeats: Option<Repeats>,
}

/// One of the mix.
struct Operation {
    f: Arc<str>,
    mutates: bool,
    carries_value: bool,
    /// Whether it is about a key. A broadcast is for everybody.
    keyed: bool,
    /// Whether it hands over a message for others.
    sends: bool,
    /// Whether it is asked for again, as the same, when nobody knows what came of it.
    repeats: bool,
}

impl Session {
    fn new(
        client: u32,
        plan: &Arc<Plan>,
        targets: &Arc<Targets>,
        start: Instant,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let protocol = &targets.protocol;
        let operation = |f: &Arc<str>| Operation {
            f: Arc::clone(f),
            mutates: protocol.mutates(f),
            carries_value: protocol.carries_value(f),
            keyed: &**f != "broadcast",
            sends: matches!(&**f, "broadcast" | "publish"),
            repeats: &**f == "publish",
        };
        let operations = plan.operations().map(operation).collect();
        Self {
            stream: plan.stream(client),
            plan: Arc::clone(plan),
            targets: Arc::clone(targets),
            start,
            stop,
            process: u64::from(client),
            clients: targets.list.iter().map(|_| None).collect(),
            operations,
            token: None,
            again: None,
            repeats: plan.repeats(client),
        }
    }

    /// Performs operations until the end; when the time for issuing them was over.
    async fn run(mut self) -> Instant {
        let paced = self.plan.rate() > 0.0;
        let period = self.plan.period();
        let end = self.start + self.plan.duration();
        if !self.sleep_until(self.start).await {
            return Instant::now();
        }
        while !self.is_over(end) {
            if paced {
                let missed = self.skip_missed(period);
                self.targets.live.skipped(missed);
                let Some(slot) = self.start.checked_add(self.stream.next_at()).filter(|slot| *slot < end)
                else {
                    self.sleep_until(end).await;
                    break;
                };
                if !self.sleep_until(slot).await {
                    break;
                }
            } else {
                // Answers that have arrived are recorded before anything new is asked, lest operations look
                // concurrent that were not.
                tokio::task::yield_now().await;
            }
            let planned = self.stream.next_planned();
            self.perform(planned, paced, end).await;
        }
        self.targets.recorder.flush();
        if paced && Instant::now() >= end {
            let last = self.plan.duration().saturating_sub(Duration::from_nanos(1));
            let missed = slots_passed(self.stream.next_at(), last, period);
            self.targets.live.skipped(missed.map_or(0, |passed| passed + 1));
        }
        Instant::now().min(end)
    }

    /// Skips the slots before the one whose turn it is: the last that is not later than now, if there is none to come
    /// before its successor's. How many.
    fn skip_missed(&mut self, period: Duration) -> u64 {
        let missed = slots_passed(self.stream.next_at(), self.start.elapsed(), period).unwrap_or_default();
        for _ in 0..missed {
            self.stream.skip();
        }
        missed
    }

    async fn perform(&mut self, mut planned: Planned, paced: bool, end: Instant) {
        let targets = Arc::clone(&self.targets);
        let Some(&Operation { ref f, mutates, carries_value, keyed, sends, repeats }) =
            self.operations.get(planned.f)
        else {
            return;
        };
        let f = Arc::clone(f);
        let drawn = self.repeats.as_mut().filter(|_| repeats).and_then(Repeats::draw);
        if repeats && let Some((key, value)) = self.again.take().or(drawn) {
            // Elsewhere, where there is an elsewhere: the node that did not answer may be gone.
            (planned.key, planned.value) = (key, value);
            planned.node = (planned.node + 1) % targets.list.len();
        }
        let first = match planned.route {
            Route::Leader => targets.leaders.believed().unwrap_or(planned.node),
            _ => planned.node,
        };
        let Some(target) = targets.list.get(first) else { return };
        let permit = tokio::select! {
            biased;
            permit = target.permit_or(|| targets.recorder.flush()) => permit,
            () = over(&mut self.stop, end) => return,
        };
        let nothing = Value::Nil;
        let value = if carries_value { &planned.value } else { &nothing };
        let key = keyed.then_some(&*planned.key);
        let asked = Asked { process: self.process, f: &f, key, value, node: &target.id };
        if repeats {
            targets.ledger.asked(&planned.key, &planned.value);
        }
        targets.live.begun(first, mutates, planned.at);
        targets.recorder.invoke(asked);
        let began = Instant::now();
        let Some(answer) = self.ask(first, &asked, targets.timeout).await else { return };
        drop(permit);
        let (place, answer) = self.send_on(&planned, first, &asked, began, answer).await;
        let asked = Asked { node: &targets.list[place].id, ..asked };
        if paced {
            targets.recorder.complete(asked, answer.completion());
        } else {
            // The next invocation follows at once, or the end does.
            targets.recorder.complete_deferred(asked, answer.completion());
        }
        targets.live.ended(place, &f, mutates, &answer);
        targets.shown(&planned.key, &answer);
        if sends {
            targets.sent(&planned.key, &planned.value, answer.outcome);
            if let (Some(repeats), Outcome::Ok) = (&mut self.repeats, answer.outcome) {
                repeats.published(&planned.key, &planned.value);
            }
        }
        if mutates && answer.outcome == Outcome::Info {
            self.again = repeats.then_some((planned.key, planned.value));
            // The process still has that operation under way, for all anyone knows: another takes its place.
            self.process += self.plan.concurrency();
            self.clients.iter_mut().for_each(|client| *client = None);
            self.token = None;
        }
    }

    /// Sends an operation on that the node at `place` answered, as long as it certainly has not been performed and there is
    /// somewhere to send it, within the time it has; where it ended, and how.
    async fn send_on(
        &mut self,
        planned: &Planned,
        mut place: usize,
        asked: &Asked<'_>,
        began: Instant,
        mut answer: Answer,
    ) -> (usize, Answer) {
        let targets = Arc::clone(&self.targets);
        let mutates = self.operations.get(planned.f).is_some_and(|operation| operation.mutates);
        let mut hops = 0;
        while let Some(next) = self.onward(planned, place, hops, &answer) {
            let deadline = began + targets.timeout;
            let Ok(permit) = tokio::time::timeout_at(deadline.into(), targets.list[next].permit()).await
            else {
                break;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            targets.live.moved(place, next, mutates);
            (place, hops) = (next, hops + 1);
            let Some(came) = self.ask(place, asked, left).await else { break };
            answer = came;
            drop(permit);
        }
        (place, answer)
    }

    /// Sends an operation to the node at `place`; `None`: there is none.
    async fn ask(&mut self, place: usize, asked: &Asked<'_>, timeout: Duration) -> Option<Answer> {
        let slot = self.clients.get_mut(place)?;
        if slot.is_none() {
            *slot = self.targets.client(place);
        }
        let token = self.token.as_deref().unwrap_or_default();
        let key = asked.key.unwrap_or_default();
        let request = Request { f: asked.f, key, value: asked.value, token };
        let mut answer = slot.as_mut()?.perform_within(&request, timeout).await;
        if answer.token.is_some() {
            self.token = answer.token.take();
        }
        Some(answer)
    }

    /// Where an operation goes on that the node at `place` certainly did not perform; `None`: nowhere. An unknown outcome
    /// never goes on: it would be asked for twice.
    fn onward(&self, planned: &Planned, place: usize, hops: usize, answer: &Answer) -> Option<usize> {
        if answer.outcome != Outcome::Fail {
            return None;
        }
        let leaders = &self.targets.leaders;
        match planned.route {
            Route::Leader => {
                let named = answer.hints.iter().find_map(|hint| self.targets.place_of(hint));
                let next = match answer.refused {
                    true => {
                        leaders.gone(place);
                        planned.node
                    }
                    false => named?,
                };
                if next == place {
                    return None;
                }
                if !answer.refused {
                    leaders.hinted(next);
                }
                (hops < MAX_HOPS).then_some(next)
            }
            Route::Any if answer.refused => {
                Some((place + 1) % self.targets.list.len()).filter(|next| *next != planned.node)
            }
            Route::Any | Route::Sticky | Route::Roaming => None,
        }
    }

    fn is_over(&self, end: Instant) -> bool {
        *self.stop.borrow() || self.targets.recorder.has_failed() || Instant::now() >= end
    }

    /// Sleeps; false when the run was stopped meanwhile.
    async fn sleep_until(&mut self, moment: Instant) -> bool {
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => false,
            () = tokio::time::sleep_until(moment.into()) => true,
        }
    }
}

/// How many whole periods lie between the slot at `next_at` and `moment`; `None` when the slot is yet to come.
fn slots_passed(next_at: Duration, moment: Duration, period: Duration) -> Option<u64> {
    let late = moment.checked_sub(next_at)?;
    late.as_nanos().checked_div(period.as_nanos()).map(|passed| passed as u64)
}

async fn over(stop: &mut watch::Receiver<bool>, end: Instant) {
    tokio::select! {
        () = stopped(stop) => {}
        () = tokio::time::sleep_until(end.into()) => {}
    }
}

/// Ends when the run is told to stop; never, once nobody is left to tell it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}
