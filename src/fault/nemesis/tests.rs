//! The nemesis against a world that obeys, or is deaf.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use super::*;
use crate::fault::aim::{Occurrence, Part, When};
use crate::fault::kinds::{Draw, find};
use crate::fault::target::Target;
use crate::seed::Rng;

/// A world in which every process obeys, and that writes down what it is told.
#[derive(Clone, Default)]
struct Fake {
    said: Arc<Mutex<Vec<String>>>,
    ends: Option<mpsc::Sender<Message>>,
    /// Of nodes that were started again.
    pids: BTreeMap<String, u32>,
    deaf: bool,
    /// How long it takes to pause or resume a process: long on a machine that has too much to do.
    pausing_takes: Duration,
    /// Who leads; when that node is told to end, the next.
    leaders: Arc<Mutex<Vec<Option<&'static str>>>>,
    /// How often nobody leads yet when asked.
    leaderless: Arc<Mutex<u32>>,
    /// How many writes are under way, each time when asked; then none.
    writes: Arc<Mutex<Vec<u64>>>,
    recorded: Arc<Mutex<Vec<Json>>>,
    /// How often a process does not look stopped yet when asked.
    unstopped: Arc<Mutex<u32>>,
}

impl Fake {
    fn say(&self, text: String) {
        self.said.lock().unwrap().push(text);
    }
}

impl World for Fake {
    fn end(&mut self, node: &str, how: HowDown) -> Option<u32> {
        self.say(format!("{how:?} {node}"));
        let mut leaders = self.leaders.lock().unwrap();
        if leaders.len() > 1 && leaders[0] == Some(node) {
            leaders.remove(0);
        }
        let pid = self.pids.get(node).copied().unwrap_or(1);
        let signal = Some(if how == HowDown::Kill { 9 } else { 15 });
        if how == HowDown::Kill || !self.deaf {
            let exit = Exit { pid, signal, ..Exit::default() };
            self.ends.as_ref().unwrap().send(Message::Exited(node.into(), exit)).unwrap();
        }
        Some(pid)
    }
    fn start(&mut self, node: &str) -> Result<u32, String> {
        self.say(format!("start {node}"));
        let pid = self.pids.get(node).copied().unwrap_or(1) + 1;
        self.pids.insert(node.to_owned(), pid);
        Ok(pid)
    }
    fn pause(&mut self, node: &str, stop: bool) -> bool {
        // time itself is tested
        std::thread::sleep(self.pausing_takes);
        self.say(format!("{} {node}", if stop { "pause" } else { "resume" }));
        true
    }
    fn is_stopped(&self, _: &str) -> bool {
        let mut unstopped = self.unstopped.lock().unwrap();
        let stopped = *unstopped == 0;
        *unstopped = unstopped.saturating_sub(1);
        stopped && !self.deaf
    }
    fn link(&mut self, from: &str, to: &str, tolls: &[Toll]) {
        self.say(format!("link {from}{to} {}", tolls.len()));
    }
    fn link_totals(&self, _: &str, _: &str) -> LinkTotals {
        LinkTotals::default()
    }
    fn leader(&self) -> Option<String> {
        let mut leaderless = self.leaderless.lock().unwrap();
        if *leaderless > 0 {
            *leaderless -= 1;
            return None;
        }
        self.leaders.lock().unwrap().first().copied().flatten().map(str::to_owned)
    }
    fn writes_under_way(&self, node: &str) -> u64 {
        assert_eq!(node, "B");
        let mut writes = self.writes.lock().unwrap();
        if writes.is_empty() { 0 } else { writes.remove(0) }
    }
    fn record(&mut self, f: &str, value: Json) {
        self.say(format!("{f} {} {}", value["edge"].as_str().unwrap(), value["took_effect"]));
        self.recorded.lock().unwrap().push(value);
    }
    fn exited(&mut self, node: &str, exit: &Exit, expected: bool) {
        self.say(format!("exited {node} {:?} {expected}", exit.signal));
    }
}

/// How long faults wait for somebody to aim at.
const AIM: Duration = Duration::from_millis(50);

fn fault(f: &'static str, at_ms: u64, until_ms: Option<u64>, demands: Vec<Demand>) -> ScheduledFault {
    let until = until_ms.map(Duration::from_millis);
    let at = Duration::from_millis(at_ms);
    ScheduledFault { id: at_ms, f, target: vec![], label: f.into(), at, until, demands, pending: None }
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
    // A kill without end is under way when it has begun: whoever it kills has to be dead before the heal asks.
    let kills = |fault: &&ScheduledFault| {
        fault.until.is_none() && fault.demands.iter().any(|demand| matches!(demand, Demand::Down { .. }))
    };
    let dead = if world.deaf { 0 } else { schedule.iter().filter(kills).count() };
    let ends = schedule.iter().filter(|fault| fault.until.is_some()).count();
    let nodes: Vec<_> = ["A", "B", "C"].iter().map(|node| ((*node).to_owned(), 1)).collect();
    let mut nemesis = Nemesis::new(world, schedule, &nodes);
    nemesis.aim_within = AIM;
    let thread = std::thread::spawn(move || nemesis.run(Instant::now(), &inbox));
    let deadline = Instant::now() + Duration::from_secs(20);
    let count = |edge: &str| said.lock().unwrap().iter().filter(|line| line.contains(edge)).count();
    while count(" begin ") < begins || count(" end ") < ends || count("exited ") < dead {
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
fn a_pause_is_looked_at_once_more_before_it_ends() {
    let world = Fake { unstopped: Arc::new(Mutex::new(1)), ..Fake::default() };
    // It ends as it begins: there is one look when it begins, in vain, and the last.
    let (said, ineffective) = play_in(world, vec![fault("pause", 1, Some(1), pause())]);
    assert!(ineffective.is_empty(), "{ineffective:?}");
    assert_eq!(said, ["pause begin null", "pause B", "resume B", "pause end true"]);
}

#[test]
fn a_pause_lasts_until_it_has_stopped_somebody() {
    for demand in
        [pause(), vec![Demand::Slow { node: "B".into(), running: 0.2, period: Duration::from_millis(5) }]]
    {
        let world = Fake { unstopped: Arc::new(Mutex::new(12)), ..Fake::default() };
        let (said, ineffective) = play_in(world, vec![fault("pause", 1, Some(2), demand)]);
        assert!(ineffective.is_empty(), "{ineffective:?}");
        assert_eq!(said.last().unwrap(), "pause end true");
    }
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

/// A fault of the kind `f` on whoever plays `part` when it begins.
fn on(f: &'static str, part: Part, at_ms: u64, until_ms: u64, when: When) -> ScheduledFault {
    let nodes = ["A", "B", "C"].map(String::from);
    let mut draw = Draw::new(&nodes, Rng::new(7, f));
    let kind = find(f).unwrap();
    let fault = (kind.draw)(&mut draw, Target::Part(part)).into();
    let (at, until) = (Duration::from_millis(at_ms), Some(Duration::from_millis(until_ms)));
    let occurrence = Occurrence { kind, at, until, when, drawn: false };
    ScheduledFault { id: at_ms, ..occurrence.expand(&fault, &mut draw) }
}

fn led_by(leaders: &[Option<&'static str>]) -> Fake {
    Fake { leaders: Arc::new(Mutex::new(leaders.to_vec())), ..Fake::default() }
}

/// What was recorded of faults that began: target and label.
fn begun(world: &Fake) -> Vec<String> {
    let recorded = world.recorded.lock().unwrap();
    let begins = recorded.iter().filter(|value| value["edge"] == "begin");
    begins.map(|value| format!("{} {}", value["target"], value["label"].as_str().unwrap())).collect()
}

#[test]
fn who_leads_is_found_out_at_each_beginning_anew() {
    let world = led_by(&[Some("B"), Some("A")]);
    let kill = |at_ms| on("kill", Part::Leader, at_ms, at_ms + 20, When::Due);
    assert_eq!((kill(1).label.as_str(), kill(1).target), ("kill leader", vec!["leader".to_owned()]));
    let (said, ineffective) = play_in(world.clone(), vec![kill(1), kill(60)]);
    assert_eq!(begun(&world), [r#"["B"] kill leader (B)"#, r#"["A"] kill leader (A)"#]);
    let signals: Vec<_> = said.iter().filter(|line| line.starts_with("Kill")).collect();
    assert_eq!(signals, ["Kill B", "Kill A"]);
    assert!(ineffective.is_empty(), "{ineffective:?}");
}

#[test]
fn followers_are_the_others_that_are_up() {
    let world = led_by(&[Some("A")]);
    // B is down meanwhile.
    let schedule = vec![
        fault("kill", 1, None, down(HowDown::Kill)),
        on("pause", Part::Followers, 40, 50, When::Due),
        on("partition", Part::Follower, 60, 70, When::Due),
    ];
    let (said, ineffective) = play_in(world.clone(), schedule);
    assert_eq!(begun(&world)[1..], [r#"["C"] pause followers (C)"#, r#"["C"] isolate follower (C | A B)"#]);
    assert!(said.contains(&"pause C".to_owned()) && said.contains(&"link CA 1".to_owned()), "{said:?}");
    assert!(ineffective.is_empty(), "{ineffective:?}");
}

#[test]
fn an_election_under_way_is_waited_for_and_the_fault_lasts_from_then() {
    let world = led_by(&[Some("B")]);
    *world.leaderless.lock().unwrap() = 3;
    // It would be over before it begins, were its end counted from the schedule.
    let (said, ineffective) = play_in(world.clone(), vec![on("pause", Part::Leader, 1, 11, When::Due)]);
    assert_eq!(said, ["pause begin null", "pause B", "resume B", "pause end true"]);
    let recorded = world.recorded.lock().unwrap();
    assert!(recorded[0]["evidence"]["waited_ms"].as_u64().unwrap() >= 30, "{recorded:?}");
    assert!(recorded[1]["evidence"]["waited_ms"].as_u64().is_some(), "the end tells all of it: {recorded:?}");
    assert!(ineffective.is_empty(), "{ineffective:?}");
}

#[test]
fn a_fault_that_finds_nobody_is_told_apart_from_one_that_failed() {
    let world = led_by(&[None]);
    let (said, ineffective) = play_in(world.clone(), vec![on("kill", Part::Leader, 1, 20, When::Due)]);
    assert_eq!(said, ["kill begin null", "kill end false"], "nothing was done to anybody");
    let recorded = world.recorded.lock().unwrap();
    assert_eq!(recorded[1]["target"], json!([]));
    assert_eq!(recorded[1]["evidence"]["aimless"], json!(true));
    assert!(ineffective[0].why.ends_with("no node said that it leads"), "{ineffective:?}");
    assert_eq!(ineffective[0].fault, Some(1));
}

#[test]
fn a_node_that_is_down_or_stopped_does_not_lead() {
    for (first, why) in [(down(HowDown::Kill), "is down"), (pause(), "is stopped")] {
        let world = led_by(&[Some("B")]);
        let schedule = vec![fault("first", 1, None, first), on("kill", Part::Leader, 10, 20, When::Due)];
        let (_, ineffective) = play_in(world, schedule);
        assert!(ineffective[0].why.contains(why), "{ineffective:?}");
    }
}

#[test]
fn the_heal_ends_the_search() {
    let world = led_by(&[None]);
    let (outbox, inbox) = mpsc::channel();
    let nodes = [("B".to_owned(), 1)];
    let schedule = vec![on("kill", Part::Leader, 0, 20, When::Due)];
    let mut nemesis = Nemesis::new(world.clone(), schedule, &nodes);
    nemesis.aim_within = Duration::from_secs(3600);
    let (done, healed) = mpsc::channel();
    let thread = std::thread::spawn(move || nemesis.run(Instant::now(), &inbox));
    let deadline = Instant::now() + Duration::from_secs(20);
    *world.leaderless.lock().unwrap() = 1;
    while *world.leaderless.lock().unwrap() > 0 {
        assert!(Instant::now() < deadline, "it looks for a leader");
        std::thread::yield_now();
    }
    outbox.send(Message::Heal(done)).unwrap();
    healed.recv().unwrap();
    outbox.send(Message::Leave).unwrap();
    let (ineffective, _) = thread.join().unwrap();
    assert_eq!(ineffective.len(), 1, "{ineffective:?}");
}

#[test]
fn a_kill_in_the_middle_of_a_write_waits_for_one() {
    let world = led_by(&[Some("B"), Some("A")]);
    *world.writes.lock().unwrap() = vec![0, 0, 0, 2, 1];
    let kill = on("kill", Part::Leader, 1, 20, When::Writing);
    assert_eq!(kill.label, "kill leader while it writes");
    play_in(world.clone(), vec![kill]);
    let recorded = world.recorded.lock().unwrap();
    assert_eq!(recorded[0]["label"], "kill leader while it writes (B)");
    assert_eq!(recorded[0]["evidence"]["writes_under_way"], json!(2));
    // One of the two was answered before the signal left.
    assert_eq!(recorded[1]["evidence"]["writes_under_way"], json!(1));
    assert!(world.writes.lock().unwrap().is_empty());
}

#[test]
fn where_nobody_writes_the_fault_begins_all_the_same() {
    let world = led_by(&[Some("B"), Some("A")]);
    // time itself is tested: it waits for a second.
    let (said, ineffective) = play_in(world.clone(), vec![on("kill", Part::Leader, 1, 20, When::Writing)]);
    assert!(said.contains(&"Kill B".to_owned()), "{said:?}");
    assert_eq!(world.recorded.lock().unwrap()[1]["evidence"]["writes_under_way"], json!(0));
    assert!(ineffective.is_empty(), "{ineffective:?}");
}
