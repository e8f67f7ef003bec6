//! Kills, pauses and partitions: nobody guesses, and nobody is left behind.

use nix::sys::signal::Signal;

use super::support::{Chat, Process, eventually};

#[test]
fn a_killed_process_is_removed_by_a_majority_and_its_next_life_let_in() {
    std::thread::scope(|scope| {
        for flags in [&["--evict-after", "1000"][..], &["--evict-after", "1000", "--tcp"]] {
            scope.spawn(move || {
                let root = tempfile::tempdir().unwrap();
                let mut chat = Chat::start(3, flags, root.path());
                chat.processes[1].say("before");
                chat.agree(&[0, 1, 2], 1);
                chat.processes[1].kill();
                chat.processes[0].say("while it is dead");
                chat.view(&[0, 2], "p1,p3");
                chat.agree(&[0, 2], 2);
                chat.processes[1].start();
                chat.whole();
                chat.processes[1].say("back");
                chat.processes[2].hears("back");
                let texts = chat.agree(&[0, 2], 3);
                assert_eq!(texts, ["before", "while it is dead", "back"]);
                chat.processes[1].hears("back");
                assert_eq!(chat.processes[1].texts(), ["back"], "it begins where its view begins");
                assert!(chat.processes[1].told("DELIVER")[0].starts_with("3 p2 "), "at the same position");
            });
        }
    });
}

#[test]
fn a_silent_process_is_waited_for_if_asked_for_and_a_new_life_of_it_is_not_silence() {
    let root = tempfile::tempdir().unwrap();
    let mut chat = Chat::start(3, &["--evict-after", "0"], root.path());
    chat.processes[2].signal(Signal::SIGSTOP);
    chat.processes[0].say("one");
    chat.processes[0].tells("SENT", "one");
    chat.processes[1].say("two");
    chat.processes[1].tells("SENT", "two");
    assert_eq!(chat.processes[0].texts().len() + chat.processes[1].texts().len(), 0);
    chat.processes[2].signal(Signal::SIGCONT);
    chat.agree(&[0, 1, 2], 2);
    chat.processes[2].kill();
    chat.processes[2].start();
    chat.whole();
    chat.processes[2].say("three");
    chat.agree(&[0, 1], 3);
}

/// One is frozen, or cut off, for longer than the others wait, and says something meanwhile.
fn left_behind(flags: &[&str], leave: impl Fn(&Chat, bool)) {
    let root = tempfile::tempdir().unwrap();
    let mut chat = Chat::start(3, flags, root.path());
    chat.processes[0].say("before");
    chat.agree(&[0, 1, 2], 1);
    leave(&chat, true);
    chat.processes[2].say("alone");
    chat.processes[0].say("together");
    chat.view(&[0, 1], "p1,p2");
    chat.processes[0].hears("together");
    chat.agree(&[0, 1], 2);
    leave(&chat, false);
    chat.processes[2].tells("EVICTED", "");
    chat.whole();
    chat.processes[0].say("again");
    chat.processes.iter().for_each(|process| process.hears("again"));
    let (others, texts) = (chat.processes[0].texts(), chat.processes[2].texts());
    assert_eq!(others, chat.processes[1].texts());
    assert_eq!(texts[0], "before");
    assert_eq!(
        texts[1..],
        others[others.len() - texts.len() + 1..],
        "a gap where it was out, and nothing else"
    );
    assert!(!texts.contains(&"together".to_owned()), "{texts:?}");
}

#[test]
fn a_process_that_was_left_behind_learns_it_and_is_let_in_again() {
    std::thread::scope(|scope| {
        let freeze = |chat: &Chat, frozen| {
            chat.processes[2].signal(if frozen { Signal::SIGSTOP } else { Signal::SIGCONT });
        };
        scope.spawn(move || left_behind(&["--evict-after", "1000"], freeze));
        scope.spawn(move || left_behind(&["--evict-after", "1000", "--tcp"], freeze));
        scope.spawn(|| left_behind(&["--evict-after", "1000"], |chat, cut| chat.isolate(2, cut)));
    });
}

#[test]
fn a_pause_shorter_than_the_patience_costs_nothing() {
    let root = tempfile::tempdir().unwrap();
    // Longer than this test may take.
    let mut chat = Chat::start(3, &["--evict-after", "120000"], root.path());
    for round in 0..5 {
        chat.processes[1].signal(Signal::SIGSTOP);
        for process in &mut chat.processes {
            process.say(&format!("{} {round}", process.id));
        }
        chat.processes[0].tells("SENT", &format!("p1 {round}"));
        chat.processes[1].signal(Signal::SIGCONT);
        chat.agree(&[0, 1, 2], (round + 1) * 3);
    }
    assert!(chat.processes.iter().all(|process| process.told("VIEW").len() == 1));
}

#[test]
fn half_of_four_cannot_go_on_and_do_not() {
    let root = tempfile::tempdir().unwrap();
    let mut chat = Chat::start(4, &["--evict-after", "300"], root.path());
    chat.processes[3].signal(Signal::SIGSTOP);
    chat.processes[2].signal(Signal::SIGSTOP);
    chat.processes[0].say("is anybody there");
    chat.processes[0].tells("SENT", "is anybody there");
    // time itself is tested: ten times what it takes to suspect someone
    std::thread::sleep(std::time::Duration::from_secs(3));
    for process in &chat.processes[..2] {
        assert_eq!((process.texts().len(), process.told("VIEW").len()), (0, 1), "{:?}", process.lines());
    }
    chat.processes[2].signal(Signal::SIGCONT);
    chat.processes[1].hears("is anybody there");
    chat.processes[3].signal(Signal::SIGCONT);
    chat.whole();
}

#[test]
fn when_a_majority_dies_the_rest_say_so_and_all_begin_again() {
    let root = tempfile::tempdir().unwrap();
    let mut chat = Chat::start(3, &["--evict-after", "500"], root.path());
    chat.processes[0].say("before");
    chat.agree(&[0, 1, 2], 1);
    let group =
        |process: &Process| process.told("VIEW").last().unwrap().split(' ').next().unwrap().to_owned();
    let first = group(&chat.processes[2]);
    chat.processes[0].kill();
    chat.processes[1].kill();
    chat.processes[0].start();
    chat.processes[1].start();
    chat.processes[2].tells("DISSOLVED", "");
    eventually("all are in a new group", || {
        let groups: Vec<String> =
            chat.processes.iter().filter(|one| !one.members().is_empty()).map(group).collect();
        let new = groups.len() == 3 && groups.iter().all(|group| *group == groups[0] && *group != first);
        if new { Ok(()) } else { Err(format!("{groups:?}")) }
    });
    chat.processes[2].say("after");
    chat.processes[0].hears("after");
    assert!(chat.processes[0].told("DELIVER")[0].starts_with("1 p3 "));
}

#[test]
fn two_go_on_when_one_was_killed_and_is_back() {
    let root = tempfile::tempdir().unwrap();
    let mut chat = Chat::start(2, &[], root.path());
    chat.processes[1].say("before");
    chat.agree(&[0, 1], 1);
    chat.processes[1].kill();
    chat.processes[0].say("nobody hears this yet");
    chat.processes[0].tells("SENT", "nobody");
    chat.processes[1].start();
    chat.whole();
    chat.processes[0].hears("nobody hears this yet");
    chat.processes[1].say("after");
    chat.processes[0].hears("after");
    assert_eq!(chat.processes[0].texts(), ["before", "nobody hears this yet", "after"]);
}
