//! Asking a node everything it holds, and who it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Targets;
use crate::client::{Answer, Client, Request};
use crate::history::model::Held;
use crate::history::recorder::Asked;
use crate::history::{Outcome, Value};

/// Probes one node: a process of its own in the history, beside the clients.
#[derive(Debug)]
pub struct Prober {
    targets: Arc<Targets>,
    place: usize,
    process: u64,
    client: Client,
}

impl Prober {
    /// A prober of the node at `place` in the list, with process number `clients + place`; `None`: no such node.
    pub fn new(targets: &Arc<Targets>, clients: u32, place: usize) -> Option<Self> {
        let client = targets.client(place)?;
        Some(Self { targets: Arc::clone(targets), place, process: u64::from(clients) + place as u64, client })
    }

    /// A prober of that node's status, with process number `clients + nodes + place`: it asks while the other does.
    pub fn of_status(targets: &Arc<Targets>, clients: u32, place: usize) -> Option<Self> {
        let prober = Self::new(targets, clients, place)?;
        Some(Self { process: prober.process + targets.list.len() as u64, ..prober })
    }

    /// Whether the node gives a sign of life. Not recorded.
    ///
    /// # Errors
    /// What came instead, as a sentence.
    pub async fn ready(&mut self) -> Result<(), String> {
        let targets = Arc::clone(&self.targets);
        let _permit = targets.list[self.place].permit().await;
        self.client.ready().await
    }

    /// Which role it says it has and in which term, recorded as one `status` operation and taken in by
    /// [`Leaders`](super::Leaders).
    pub async fn status(&mut self) -> Answer {
        let targets = Arc::clone(&self.targets);
        let target = &targets.list[self.place];
        let f = "status";
        let asked = Asked { process: self.process, f, key: None, value: &Value::Nil, node: &target.id };
        let _permit = target.permit().await;
        targets.recorder.invoke(asked);
        let answer = self.client.perform(&Request::new(f, "", &Value::Nil)).await;
        targets.recorder.complete(asked, answer.completion());
        targets.leaders.heard(self.place, &answer);
        targets.live.probed(self.place, f, &answer);
        answer
    }

    /// What the node holds, recorded as one `snapshot` operation. Where the protocol or the node knows no snapshot, every
    /// one of `keys` is read instead (the node's own copy of it), and the operation spans all those reads: it fails when one of them does.
    pub async fn snapshot(&mut self, keys: &[Arc<str>]) -> Answer {
        let targets = Arc::clone(&self.targets);
        let target = &targets.list[self.place];
        let f = "snapshot";
        let asked = Asked { process: self.process, f, key: None, value: &Value::Nil, node: &target.id };
        // Only the first request waits for its turn before the invocation; the later ones wait within the operation.
        let permit = target.permit().await;
        targets.recorder.invoke(asked);
        let mut answer = None;
        if targets.protocol.has_snapshot() {
            answer = Some(self.client.perform(&Request::new(f, "", &Value::Nil)).await);
        }
        drop(permit);
        let answer = match (answer, targets.protocol.local_read()) {
            (Some(answer), read) if !answer.unsupported || read.is_none() => answer,
            (_, read) => self.read_all(read.unwrap_or("read"), keys).await,
        };
        targets.recorder.complete(asked, answer.completion());
        targets.live.probed(self.place, f, &answer);
        answer
    }

    /// The log the node shows of a topic, recorded as one `history` operation.
    pub async fn history(&mut self, key: &str) -> Answer {
        let targets = Arc::clone(&self.targets);
        let target = &targets.list[self.place];
        let f = "history";
        let asked = Asked { process: self.process, f, key: Some(key), value: &Value::Nil, node: &target.id };
        let permit = target.permit().await;
        targets.recorder.invoke(asked);
        let answer = self.client.perform(&Request::new(f, key, &Value::Nil)).await;
        drop(permit);
        targets.recorder.complete(asked, answer.completion());
        targets.live.probed(self.place, f, &answer);
        targets.shown(key, &answer);
        answer
    }

    async fn read_all(&mut self, read: &str, keys: &[Arc<str>]) -> Answer {
        let targets = Arc::clone(&self.targets);
        let mut held = BTreeMap::new();
        for key in keys {
            let permit = targets.list[self.place].permit().await;
            let answer = self.client.perform(&Request::new(read, key, &Value::Nil)).await;
            drop(permit);
            if answer.outcome != Outcome::Ok {
                let error = answer.error.as_deref().unwrap_or("no answer");
                let error = Some(format!("reading {key}: {error}"));
                return Answer { error, outcome: Outcome::Fail, ..answer };
            }
            if !answer.value.is_nil() {
                held.insert(Arc::clone(key), Held { value: answer.value, version: answer.version });
            }
        }
        Answer::held(held)
    }
}
