//! Subscribers: processes that ask a node once, and are then sent what comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Targets;
use crate::client::{Client, Request};
use crate::history::recorder::{Asked, Deliverer};
use crate::history::{Outcome, Value};

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
    /// Whether its present subscription was confirmed, after so many messages had been acknowledged in all.
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

    /// Whether everybody who is owed the last message of `key` has it. Whoever subscribed after the last one was
    /// acknowledged is owed nothing.
    pub fn have(&self, targets: &Targets, key: &str, last: Option<&Value>) -> bool {
        let acked = targets.acked.load(Ordering::Relaxed);
        self.positions.iter().filter(|position| *position.key == *key).all(|position| {
            let seen = position.lock().clone();
            match (seen.confirmed, last) {
                (_, None) => true,
                (None, _) => false,
                (Some(confirmed), Some(last)) => seen.value.as_ref() == Some(last) || confirmed >= acked,
            }
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
        // What is sent after the confirmation is owed. Counted later, a message that was acknowledged in between would seem to have
        // come before.
        let acked = targets.acked.load(Ordering::Relaxed);
        targets.recorder.complete(asked, answer.completion());
        targets.live.probed(self.place, f, &answer);
        // The next subscription is another process's, also where this one was refused.
        self.process += self.stride;
        if answer.outcome != Outcome::Ok {
            return;
        }
        self.position.lock().confirmed = Some(acked);
        self.deliver(&mut client, &target.id, process).await;
        targets.recorder.unsubscribed(&target.id, process);
    }

    async fn deliver(&self, client: &mut Client, node: &str, process: u64) {
        let by = Deliverer { node, life: None, subscriber: Some(process) };
        while let Some((named, entry)) = client.delivered().await {
            let key = named.as_deref().unwrap_or(&self.position.key);
            self.targets.recorder.deliver(by, Some(key), &entry);
            if !client.has_more() {
                self.targets.recorder.flush();
            }
            self.position.lock().value = Some(entry.value);
        }
    }
}
