//! The harness ended from outside: nothing of the run is left, and what was recorded can be read.

use std::path::Path;
use std::time::{Duration, Instant};

use harness::history::reader;
use harness::seed::Rng;
use nix::sys::signal::Signal;

use crate::support::{Ended, Lab, Running, Spec, python, side_by_side};

/// How many runs are killed, and how many are under way at a time.
const RUNS: usize = 30;
const WIDTH: usize = 6;

/// Busy from beginning to end: a kill, a pause and a cut lie over one another, and a new process starts.
fn busy(name: &'static str) -> Spec {
    let load = "rate = 150\nduration = \"20s\"\nkeys = 6\nrotate = \"300ms\"";
    let mut spec = Spec { load, ..Spec::new(name) };
    for round in 0..10 {
        let at = |ms: u64| format!("{}ms", 100 + round * 1000 + ms);
        spec = spec.fault(&at(0), "400ms", "kill = \"B\"").fault(&at(200), "500ms", "pause = \"C\"").fault(
            &at(300),
            "600ms",
            "partition = [[\"A\"], [\"B\", \"C\"]]",
        );
    }
    spec
}

/// Waits until the history has `event` in it, and is therefore there.
fn recorded(lab: &Lab, running: &mut Running, event: &str) {
    running.until(event, || {
        let folders = lab.folders();
        let history = folders.last().map(|folder| folder.join("history.jsonl"));
        history.and_then(|path| std::fs::read_to_string(path).ok()).is_some_and(|text| text.contains(event))
    });
}

/// Whatever was recorded reads as a history: nobody panics, and a verdict is reached.
fn is_readable(lab: &Lab, path: &Path) {
    let (code, out, err) = lab.check(path);
    assert!(matches!(code, Some(0 | 1 | 3)), "{code:?}\n{out}{err}");
    // The bundled node is correct: no cut through its history may make it look otherwise.
    assert_ne!(code, Some(1), "{out}{err}");
    let history = reader::read(path).unwrap();
    assert_eq!(history.contract.nodes, ["A", "B", "C"]);
}

#[test]
fn thirty_kills_leave_nothing_but_a_history() {
    let mut rng = Rng::new(2024, "moments of death");
    // Some while the nodes are still starting, the others under load and faults.
    let cases: Vec<_> = (0..RUNS)
        .map(|run| if run % 5 == 0 { ("\"run\"", rng.below(100)) } else { ("\"main\"", rng.below(3_000)) })
        .map(|moment| ("a killed run", moment))
        .collect();
    let moments = std::sync::Mutex::new(Vec::new());
    side_by_side(WIDTH, &cases, |&(event, after_ms)| {
        let lab = busy("killed").lab();
        let mut running = lab.start(&["--quiet"]);
        // The first line is there before the first process: from then on there is something to be left.
        recorded(&lab, &mut running, event);
        let moment = Instant::now() + Duration::from_millis(after_ms);
        running.until("its moment", || Instant::now() >= moment);
        running.signal(Signal::SIGKILL);
        drop(running);
        lab.nothing_left();
        let history = lab.history();
        is_readable(&lab, &history);
        let ops = reader::read(&history).unwrap().ops.len();
        moments.lock().unwrap().push(ops);
    });
    // The moments are spread over all of a run, setup included.
    let moments = moments.into_inner().unwrap();
    assert!(moments.contains(&0) && moments.iter().any(|ops| *ops > 20), "{moments:?}");
}

/// Also a node that ignores SIGTERM, and one that left its parent, group and session behind.
#[test]
fn a_kill_takes_hostile_nodes_with_it() {
    let cases = ["hostile/forks.py", "hostile/daemonises.py", "hostile/never_ready.py"];
    side_by_side(3, &cases.map(|script| (script, script)), |script| {
        let Some(node) = python(script) else { return };
        let lab = Spec { node, ..busy("hostile") }.lab();
        let mut running = lab.start(&["--quiet"]);
        running.until("the nodes have started", || {
            lab.processes().iter().filter(|(_, line)| line.contains(script)).count() >= 3
        });
        running.signal(Signal::SIGKILL);
        drop(running);
        lab.nothing_left();
        is_readable(&lab, &lab.history());
    });
}

/// Ends a run by signals while its load is on.
fn interrupted(signals: &[Signal]) -> (Lab, Ended) {
    let lab = busy("interrupted").lab();
    let mut running = lab.start(&[]);
    recorded(&lab, &mut running, "\"type\":\"ok\"");
    for signal in signals {
        running.signal(*signal);
    }
    let asked = Instant::now();
    let ended = running.wait();
    assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?}", asked.elapsed());
    lab.nothing_left();
    is_readable(&lab, &lab.history());
    (lab, ended)
}

#[test]
fn an_interrupt_ends_the_run_early_and_says_so() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (lab, ended) = interrupted(&[signal]);
        ended.expect_code(130);
        assert!(ended.stdout.contains("interrupted"), "{}", ended.stdout);
        let results = lab.last_results();
        assert_eq!(results["verdict"], "unknown", "{results}");
        assert!(results["load"]["ok"].as_u64().unwrap() > 0);
    }
}

#[test]
fn an_interrupt_in_setup_and_in_the_settle_phase_ends_the_run_too() {
    let Some(node) = python("hostile/never_ready.py") else { return };
    let lab = Spec { node, ..Spec::new("setup") }.lab();
    let mut running = lab.start(&["--quiet"]);
    recorded(&lab, &mut running, "\"start\"");
    running.signal(Signal::SIGINT);
    let asked = Instant::now();
    running.wait().expect_code(130);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    lab.nothing_left();

    // These replicas never agree.
    let spec = Spec {
        settle: "10m",
        load: "rate = 90\nduration = \"2s\"\nkeys = 6\nrotate = \"300ms\"",
        ..Spec::new("settle")
    };
    let lab = spec.bug("fire-and-forget").fault("300ms", "1s", "kill = \"B\"").lab();
    let mut running = lab.start(&["--quiet"]);
    recorded(&lab, &mut running, "\"snapshot\"");
    running.signal(Signal::SIGINT);
    let asked = Instant::now();
    running.wait().expect_code(130);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    lab.nothing_left();
}

/// Who asks twice means at once.
#[test]
fn the_second_interrupt_does_not_wait() {
    let lab = busy("twice").lab();
    let mut running = lab.start(&["--quiet"]);
    recorded(&lab, &mut running, "\"kill\"");
    running.signal(Signal::SIGINT);
    // Two signals of one kind sent in one breath are one signal to the kernel.
    let ended = loop {
        if !running.is_running() {
            break running.wait();
        }
        running.signal(Signal::SIGINT);
        std::thread::sleep(Duration::from_millis(1));
    };
    ended.expect_code(130);
    lab.nothing_left();
    is_readable(&lab, &lab.history());
}

#[test]
fn a_killed_warden_breaks_the_run_and_is_told() {
    let lab = busy("warden").lab();
    let mut running = lab.start(&[]);
    recorded(&lab, &mut running, "\"kill\"");
    let warden = lab.processes().into_iter().find(|(_, line)| line.trim_end().ends_with(" warden"));
    let (warden, _) = warden.expect("the run has a warden");
    assert_ne!(warden, running.pid());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(warden as i32), Signal::SIGKILL).unwrap();
    let ended = running.wait();
    lab.nothing_left();
    ended.expect_code(4);
    assert!(ended.stdout.contains("warden"), "{}", ended.stdout);
    is_readable(&lab, &lab.history());
}
