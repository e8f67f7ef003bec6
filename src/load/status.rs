//! Asking each node again and again who it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{Prober, Targets};

/// Asks every node for its role and term until it is dropped or ended. Each answer is an operation of the history, and feeds
/// [`Leaders`](super::Leaders).
#[derive(Debug)]
pub struct StatusWatch {
    stop: watch::Sender<bool>,
    watchers: JoinSet<()>,
}

impl StatusWatch {
    /// Begins to ask, on `runtime`, each node every `period`. One that takes longer to answer is asked again only then.
    pub fn start(runtime: &Handle, targets: &Arc<Targets>, clients: u32, period: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut watchers = JoinSet::new();
        for place in 0..targets.list.len() {
            if let Some(prober) = Prober::of_status(targets, clients, place) {
                watchers.spawn_on(ask(prober, period, stopped.clone()), runtime);
            }
        }
        Self { stop, watchers }
    }

    /// Asks no more; when the answers that are still out have come or timed out.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        while self.watchers.join_next().await.is_some() {}
    }
}

async fn ask(mut prober: Prober, period: Duration, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            // An error: nobody is left to stop it.
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        prober.status().await;
    }
}
