//! How late a signal leaves: the nemesis's own schedule against a real process that is stopped and continued.
//!
//! `cargo bench --bench faults`. To reach: within 2 ms of its time. Printed beside it, from the same run: how late a
//! bare sleep to the same moments wakes, which is what the machine allows.

use std::process::{Child, Command};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use harness::fault::nemesis::Nemesis;
use harness::fault::world::{Exit, LinkTotals, Message, World};
use harness::fault::{Demand, HowDown, ScheduledFault, Toll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;

const PAUSES: u64 = 200;
const GAP: Duration = Duration::from_millis(20);

/// A world of one real process that notes when each signal has left.
struct OneProcess {
    pid: Pid,
    left: Arc<Mutex<Vec<Instant>>>,
}

impl World for OneProcess {
    fn end(&mut self, _: &str, _: HowDown) -> Option<u32> {
        None
    }
    fn start(&mut self, _: &str) -> Result<u32, String> {
        Err("this bench starts nothing".into())
    }
    fn pause(&mut self, _: &str, stop: bool) -> bool {
        let sent = kill(self.pid, if stop { Signal::SIGSTOP } else { Signal::SIGCONT }).is_ok();
        self.left.lock().expect("no holder panics").push(Instant::now());
        sent
    }
    fn is_stopped(&self, _: &str) -> bool {
        true
    }
    fn link(&mut self, _: &str, _: &str, _: &[Toll]) {}
    fn link_totals(&self, _: &str, _: &str) -> LinkTotals {
        LinkTotals::default()
    }
    fn leader(&self) -> Option<String> {
        None
    }
    fn writes_under_way(&self, _: &str) -> u64 {
        0
    }
    fn record(&mut self, _: &str, _: Json) {}
    fn exited(&mut self, _: &str, _: &Exit, _: bool) {}
}

fn main() {
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("`sleep` is everywhere");
    let late = signals(&sleeper);
    let bare = bare_sleeps();
    sleeper.kill().and_then(|()| sleeper.wait()).expect("our own child");
    println!("lateness of {} signals, {} ms apart (µs)", late.len(), GAP.as_millis());
    print_row("signal has left", late);
    print_row("bare sleep woke", bare);
}

fn signals(sleeper: &Child) -> Vec<Duration> {
    let left = Arc::new(Mutex::new(Vec::new()));
    let pid = Pid::from_raw(i32::try_from(sleeper.id()).expect("pids fit"));
    let world = OneProcess { pid, left: Arc::clone(&left) };
    let schedule: Vec<_> = (0..PAUSES).map(pause).collect();
    let due: Vec<_> = schedule.iter().flat_map(|fault| [Some(fault.at), fault.until]).flatten().collect();
    let (outbox, inbox) = mpsc::channel();
    let nemesis = Nemesis::new(world, schedule, &[("A".into(), sleeper.id())]);
    let epoch = Instant::now();
    let thread = std::thread::spawn(move || nemesis.run(epoch, &inbox));
    std::thread::sleep(GAP * u32::try_from(2 * PAUSES + 5).expect("small"));
    outbox.send(Message::Leave).expect("it listens until told");
    thread.join().expect("it does not panic");
    let left = left.lock().expect("no holder panics");
    assert_eq!(left.len(), due.len(), "every signal leaves");
    left.iter().zip(due).map(|(left, due)| left.saturating_duration_since(epoch + due)).collect()
}

fn pause(number: u64) -> ScheduledFault {
    let at = GAP * u32::try_from(2 * number + 1).expect("small");
    let demands = vec![Demand::Paused { node: "A".into() }];
    let label = "pause A".to_owned();
    ScheduledFault {
        id: number,
        f: "pause",
        target: vec!["A".into()],
        label,
        at,
        until: Some(at + GAP),
        demands,
        pending: None,
    }
}

fn bare_sleeps() -> Vec<Duration> {
    let epoch = Instant::now();
    let woke = |number: u64| {
        let due = epoch + GAP * u32::try_from(number + 1).expect("small");
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        Instant::now().saturating_duration_since(due)
    };
    (0..PAUSES).map(woke).collect()
}

fn print_row(name: &str, mut late: Vec<Duration>) {
    late.sort();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize].as_micros();
    println!("{name:<16} median {:>6}  p99 {:>6}  max {:>6}", at(0.5), at(0.99), at(1.0));
}
