//! Subscribers: processes that ask a node once, and are then sent what comes.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Targets;
use crate::client::{Client, Heard, Request};
use crate::history::recorder::{Asked, Deliverer};
use crate::history::{Entry, Outcome, Value};

/// Between the end of a subscription and the next try: a node that is down refuses at once.
const RETRY: Duration = Duration::from_millis(100);

/// All subscribers of a run.
#[derive(Debug)]
pub struct Subscribers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    positions: Vec<Arc<Position>>,
}

/// How far one subscriber has come.
#[derive(Debug)]
struct Position {
    key: Arc<str>,
    last: std::sync::Mutex<Last>,
}

#[derive(Clone, Debug, Default)]
struct Last {
    value: Option<Value>,
    /// Whether its present subscription was confirmed, after so many messages had been asked for in all.
    confirmed: Option<u64>,
}

/// Where subscribers are, and what they are numbered as.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// The first one's process.
    pub first: u64,
    /// Between two incarnations of one subscriber.
    pub stride: u64,
    /// A node and topic.
    pub each: u32,
}

impl Subscribers {
    /// Subscribes at every node to every topic in `keys`, and again whenever a connection ends.
    pub fn start(runtime: &Handle, targets: &Arc<Targets>, keys: &[Arc<str>], numbers: Numbers) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (mut tasks, mut positions) = (JoinSet::new(), Vec::new());
        let mut process = numbers.first;
        for place in 0..targets.list.len() {
            for key in keys {
                for _ in 0..numbers.each {
                    let position =
                        Arc::new(Position { key: Arc::clone(key), last: std::sync::Mutex::default() });
                    positions.push(Arc::clone(&position));
                    let subscriber = Subscriber {
                        targets: Arc::clone(targets),
                        place,
                        process,
                        stride: numbers.stride,
                        position,
                    };
                    tasks.spawn_on(subscriber.follow(stopped.clone()), runtime);
                    process += 1;
                }
            }
        }
        Self { stop, tasks, positions }
    }

    /// Whether everybody has what they are owed of the log of `key`: what was asked for after they subscribed.
    pub fn have(&self, targets: &Targets, key: &str, log: &[Entry]) -> bool {
        self.positions.iter().filter(|position| *position.key == *key).all(|position| {
            let seen = position.lock().clone();
            let place = |value: &Value| log.iter().rposition(|entry| entry.value == *value);
            let rest = match &seen.value {
                None => Some(log),
                Some(value) => place(value).map(|place| &log[place + 1..]),
            };
            let (Some(confirmed), Some(rest)) = (seen.confirmed, rest) else { return log.is_empty() };
            !targets.ledger.any_after(key, rest, confirmed)
        })
    }

    /// Ends all subscriptions.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Position {
    fn lock(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct Subscriber {
    targets: Arc<Targets>,
    place: usize,
    process: u64,
    stride: u64,
    position: Arc<Position>,
}

impl Subscriber {
    async fn follow(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                // An error: nobody is left to stop it.
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.once() => {}
            }
            *self.position.lock() = Last::default();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// One subscription, from its request to the end of its connection.
    async fn once(&mut self) {
        let targets = Arc::clone(&self.targets);
        let Some(target) = targets.list.get(self.place) else { return };
        let Some(mut client) = targets.client(self.place) else { return };
        let key = Arc::clone(&self.position.key);
        let (process, f) = (self.process, "subscribe");
        let nothing = Value::Nil;
        let asked = Asked { process, f, key: Some(&key), value: &nothing, node: &target.id };
        targets.recorder.invoke(asked);
        let answer = client.perform(&Request::new(f, &key, &nothing)).await;
        // What is asked for after the confirmation is owed. Counted later, a message that was asked for in between would seem to
        // have come before.
        let asked_for = targets.ledger.so_far();
        targets.recorder.complete(asked, answer.completion());
        targets.live.probed(self.place, f, &answer);
        // The next subscription is another process's, also where this one was refused.
        self.process += self.stride;
        if answer.outcome != Outcome::Ok {
            return;
        }
        self.position.lock().confirmed = Some(asked_for);
        self.deliver(&mut client, &target.id, process).await;
        targets.recorder.unsubscribed(&target.id, process);
    }

    async fn deliver(&self, client: &mut Client, node: &str, process: u64) {
        let by = Deliverer { node, life: None, subscriber: Some(process) };
        while let Some(heard) = client.heard().await {
            let (named, entry) = match heard {
                Heard::Message(named, entry) => (named, entry),
                Heard::Other(line) => {
                    self.targets.recorder.unread(node, Some(process), &line);
                    continue;
                }
            };
            let key = named.as_deref().unwrap_or(&self.position.key);
            self.targets.recorder.deliver(by, Some(key), &entry);
            if !client.has_more() {
                self.targets.recorder.flush();
            }
            self.targets.ledger.seen(key, &entry.value);
            self.position.lock().value = Some(entry.value);
        }
    }
}
