//! What the harness does when the warden reports: note starts and ends, clear away what a node left behind, and
//! notice the end of the warden itself.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};

use super::life::{Shared, Stage};
use super::process::{self, Pid};
use super::wire::{Inbox, Report, Request};
use super::{EXIT_LOG_LINES, ExitStatus, NodeEvent, stray};

/// How long what a node left behind may take to die.
const CLEAR_LIMIT: Duration = Duration::from_secs(1);
/// How long the log may take to hold everything a dead node printed.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);
/// How long the warden may take to end once its socket has closed, and the sweep after it.
const LOSS_LIMIT: Duration = Duration::from_secs(2);

/// Reads the warden's reports until it is gone.
pub(crate) fn watch(shared: &Arc<Shared>, stream: &UnixStream, mut inbox: Inbox) {
    while let Ok(Some(report)) = inbox.receive(stream) {
        note(shared, report);
    }
    if !shared.closing.load(Ordering::Acquire) {
        warden_lost(shared);
    }
}

fn note(shared: &Arc<Shared>, report: Report) {
    match report {
        Report::Ready => {}
        Report::Started { node, pid, guard } => {
            if let Some(node) = shared.nodes.get(&node) {
                node.update(|life| {
                    life.stage = Stage::Running;
                    life.pid = pid;
                    life.guard = guard;
                    life.answer = Some(Ok(pid));
                });
            }
        }
        Report::Refused { node, error } => {
            if let Some(node) = shared.nodes.get(&node) {
                node.update(|life| life.answer = Some(Err(error)));
            }
        }
        Report::Connects { node, address, datagrams } => {
            // Nobody listens any more: then nobody needs to know.
            let _ = shared.events.send(NodeEvent::Connects { node, address, datagrams });
        }
        // The warden clears everything away by itself now.
        Report::Exited { .. } if shared.closing.load(Ordering::Acquire) => {}
        Report::Exited { node, pid, code, signal } => {
            let at = Instant::now();
            let status = ExitStatus { code, signal };
            if let Some(known) = shared.nodes.get(&node) {
                known.update(|life| life.stage = Stage::Ending(status));
            }
            let helper = Arc::clone(shared);
            let name = format!("end of {node}");
            // Clearing away may take a while; the next report must not wait for it.
            let spawned = {
                let node = node.clone();
                std::thread::Builder::new()
                    .name(name)
                    .spawn(move || conclude(&helper, &node, pid, status, at))
            };
            if spawned.is_err() {
                conclude(shared, &node, pid, status, at);
            }
        }
    }
}

/// The main process has ended: kills the rest of the node, completes its log, lets the pid go, and tells.
fn conclude(shared: &Shared, id: &str, pid: Pid, status: ExitStatus, at: Instant) {
    let Some(node) = shared.nodes.get(id) else { return };
    let asked = node.lock().asked;
    let left_behind = if asked { 0 } else { shared.processes(node, pid).len() };
    // The zombie keeps its group's number, so this reaches nobody else.
    let _ = killpg(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    let deadline = at + CLEAR_LIMIT;
    loop {
        let left = shared.processes(node, pid);
        if left.is_empty() || Instant::now() >= deadline {
            break;
        }
        for process in left {
            stray::send(process.pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let drain = node.lock().drain.take();
    if let Some(drain) = drain {
        drain.wait(DRAIN_LIMIT);
    }
    let rest = match left_behind {
        0 => String::new(),
        1 => "; a process it left behind was killed".to_owned(),
        count => format!("; {count} processes it left behind were killed"),
    };
    node.log.remark(&format!("ended, pid {pid}: {status}{rest}"));
    node.log.close_off();
    let log_tail = node.log.tail(EXIT_LOG_LINES);
    // Refused only when the warden is gone, which the reader notices by itself.
    let _ = shared.request(&Request::Collect { pid }, &[]);
    node.update(|life| life.stage = Stage::Ended(status));
    if !shared.closing.load(Ordering::Acquire) {
        let (node, pid) = (id.to_owned(), pid.cast_unsigned());
        // Nobody listens any more: then nobody needs to know.
        let _ = shared.events.send(NodeEvent::Exited { node, pid, status, at, asked, left_behind, log_tail });
    }
}

/// Somebody killed the warden. The kernel has killed its direct children; everything else is swept up here.
fn warden_lost(shared: &Shared) {
    let at = Instant::now();
    shared.lost.store(true, Ordering::Release);
    let mut killed = false;
    // Its socket may close before it has ended: it may be sweeping by itself.
    let status = loop {
        match process::peek_end(shared.warden) {
            Ok(Some((code, signal))) => break ExitStatus { code, signal },
            Err(_) => break ExitStatus::default(),
            Ok(None) if at.elapsed() > LOSS_LIMIT && !killed => {
                stray::send(shared.warden, Signal::SIGKILL);
                killed = true;
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let survivors = shared.sweep(Instant::now() + LOSS_LIMIT);
    for node in shared.nodes.values() {
        let drain = node.lock().drain.take();
        if let Some(drain) = drain {
            drain.wait(DRAIN_LIMIT);
        }
        let was_up = node.update(|life| match life.stage {
            Stage::Running | Stage::Starting | Stage::Ending(_) => {
                life.stage = Stage::Ended(ExitStatus::default());
                true
            }
            Stage::Never | Stage::Ended(_) => false,
        });
        if was_up {
            node.log.remark("ended: the warden process was lost, and every node with it");
            node.log.close_off();
        }
    }
    let survivors = survivors.into_iter().map(Pid::cast_unsigned).collect();
    let _ = shared.events.send(NodeEvent::WardenLost { at, status, survivors });
}
