//! The nemesis against a world that obeys, or is deaf.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use super::*;

/// A world in which every process obeys, and that writes down what it is told.
#[derive(Clone, Default)]
struct Fake {
    said: Arc<Mutex<Vec<String>>>,
    ends: Option<mpsc::Sender<Message>>,
    next_pid: u32,
    deaf: bool,
    /// How long it takes to pause or resume a process: long on a machine that has too much to do.
    pausing_takes: Duration,
}

impl Fake {
    fn say(&self, text: String) {
        self.said.lock().unwrap().push(text);
    }
}

impl World for Fake {
    fn end(&mut self, node: &str, how: HowDown) -> Option<u32> {
        self.say(format!("{how:?} {node}"));
        let pid = if self.next_pid == 0 { 1 } else { self.next_pid };
        let signal = Some(if how == HowDown::Kill { 9 } else { 15 });
        if how == HowDown::Kill || !self.deaf {
            let exit = Exit { pid, signal, ..Exit::default() };
            self.ends.as_ref().unwrap().send(Message::Exited(node.into(), exit)).unwrap();
        }
        Some(pid)
    }
    fn start(&mut self, node: &str) -> Result<u32, String> {
        self.say(format!("start {node}"));
        self.next_pid = self.next_pid.max(1) + 1;
        Ok(self.next_pid)
    }
    fn pause(&mut self, node: &str, stop: bool) -> bool {
        // time itself is tested
        std::thread::sleep(self.pausing_takes);
        self.say(format!("{} {node}", if stop { "pause" } else { "resume" }));
        true
    }
    fn is_stopped(&self, _: &str) -> bool {
        !self.deaf
    }
    fn link(&mut self, from: &str, to: &str, tolls: &[Toll]) {
        self.say(format!("link {from}{to} {}", tolls.len()));
    }
    fn link_totals(&self, _: &str, _: &str) -> LinkTotals {
        LinkTotals::default()
    }
    fn record(&mut self, f: &str, value: Json) {
        self.say(format!("{f} {} {}", value["edge"].as_str().unwrap(), value["took_effect"]));
    }
    fn exited(&mut self, node: &str, exit: &Exit, expected: bool) {
        self.say(format!("exited {node} {:?} {expected}", exit.signal));
    }
}

fn fault(f: &'static str, at_ms: u64, until_ms: Option<u64>, demands: Vec<Demand>) -> ScheduledFault {
    let until = until_ms.map(Duration::from_millis);
    let at = Duration::from_millis(at_ms);
    ScheduledFault { id: at_ms, f, target: vec![], label: f.into(), at, until, demands }
}

fn down(how: HowDown) -> Vec<Demand> {
    vec![Demand::Down { node: "B".into(), how }]
}

fn pause() -> Vec<Demand> {
    vec![Demand::Paused { node: "B".into() }]
}

/// Runs the schedule to its end, heals, and returns what the world was told.
fn play(schedule: Vec<ScheduledFault>, deaf: bool) -> (Vec<String>, Vec<Ineffective>) {
    play_in(Fake { deaf, ..Fake::default() }, schedule)
}

fn play_in(world: Fake, schedule: Vec<ScheduledFault>) -> (Vec<String>, Vec<Ineffective>) {
    let (outbox, inbox) = mpsc::channel();
    let world = Fake { ends: Some(outbox.clone()), ..world };
    let said = Arc::clone(&world.said);
    let begins = schedule.len();
    let ends = schedule.iter().filter(|fault| fault.until.is_some()).count();
    let nemesis = Nemesis::new(world, schedule, &[("B".into(), 1)]);
    let thread = std::thread::spawn(move || nemesis.run(Instant::now(), &inbox));
    let deadline = Instant::now() + Duration::from_secs(20);
    let count = |edge: &str| said.lock().unwrap().iter().filter(|line| line.contains(edge)).count();
    while count(" begin ") < begins || count(" end ") < ends {
        assert!(Instant::now() < deadline, "{:?}", said.lock().unwrap());
        std::thread::yield_now();
    }
    let (done, healed) = mpsc::channel();
    outbox.send(Message::Heal(done)).unwrap();
    healed.recv().unwrap();
    outbox.send(Message::Leave).unwrap();
    let (ineffective, _) = thread.join().unwrap();
    let said = said.lock().unwrap().clone();
    (said, ineffective)
}

#[test]
fn a_kill_ends_and_starts_again() {
    let (said, ineffective) = play(vec![fault("kill", 1, Some(30), down(HowDown::Kill))], false);
    assert_eq!(said, ["kill begin null", "Kill B", "exited B Some(9) true", "start B", "kill end true"]);
    assert!(ineffective.is_empty());
}

#[test]
fn overlapping_kills_start_once_when_the_last_is_lifted() {
    let schedule = vec![
        fault("kill", 1, Some(20), down(HowDown::Kill)),
        fault("kill", 10, Some(40), down(HowDown::Kill)),
    ];
    let (said, ineffective) = play(schedule, false);
    assert_eq!(said.iter().filter(|line| *line == "start B").count(), 1);
    assert_eq!(said.last().unwrap(), "kill end true");
    assert_eq!(said[said.len() - 2], "start B");
    assert!(ineffective.is_empty());
}

#[test]
fn a_restart_without_length_waits_for_the_end() {
    let (said, ineffective) = play(vec![fault("restart", 1, Some(1), down(HowDown::Stop))], false);
    assert_eq!(
        said,
        ["restart begin null", "Stop B", "exited B Some(15) true", "start B", "restart end true"]
    );
    assert!(ineffective.is_empty());
}

#[test]
fn a_node_started_under_a_pause_is_paused_again() {
    let schedule =
        vec![fault("pause", 1, Some(60), pause()), fault("kill", 10, Some(30), down(HowDown::Kill))];
    let (said, _) = play(schedule, false);
    let told: Vec<_> = said.iter().filter(|line| !line.contains("begin") && !line.contains("end ")).collect();
    assert_eq!(told, ["pause B", "Kill B", "exited B Some(9) true", "start B", "pause B", "resume B"]);
}

#[test]
fn a_pause_that_does_not_take_is_the_harness_s_own_failure() {
    let (_, ineffective) = play(vec![fault("pause", 1, Some(30), pause())], true);
    assert_eq!(ineffective.len(), 1);
    assert!(ineffective[0].why.contains("never seen stopped"), "{ineffective:?}");
}

#[test]
fn faults_without_end_are_lifted_by_the_heal() {
    let (said, _) = play(vec![fault("kill", 1, None, down(HowDown::Kill))], false);
    assert_eq!(said[said.len() - 2..], ["start B", "kill end true"]);
}

#[test]
fn links_are_told_only_what_changes() {
    let cut = || vec![Demand::Link { from: "A".into(), to: "B".into(), toll: Toll::Cut }];
    let schedule =
        vec![fault("partition", 1, Some(40), cut()), fault("kill", 10, Some(20), down(HowDown::Kill))];
    let (said, _) = play(schedule, false);
    let told: Vec<_> = said.iter().filter(|line| line.starts_with("link")).collect();
    assert_eq!(told, ["link AB 1", "link AB 0"]);
}

#[test]
fn a_duty_cycle_that_cannot_be_kept_holds_up_nothing_else() {
    let slow = Demand::Slow { node: "B".into(), running: 0.5, period: Duration::from_millis(2) };
    let schedule =
        vec![fault("slow", 0, Some(400), vec![slow]), fault("kill", 100, Some(300), down(HowDown::Kill))];
    // time itself is tested: each turn takes ten times what it should, so at most ten fit before the kill. A cycle that
    // made up for those it missed would put a hundred there.
    let world = Fake { pausing_takes: Duration::from_millis(10), ..Fake::default() };
    let (said, ineffective) = play_in(world, schedule);
    let kill = said.iter().position(|line| line == "Kill B").unwrap();
    let turns = said[..kill].iter().filter(|line| *line == "pause B" || *line == "resume B").count();
    assert!((1..=11).contains(&turns), "{turns} turns: {said:?}");
    assert!(ineffective.is_empty(), "{ineffective:?}");
}
