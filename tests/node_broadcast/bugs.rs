//! Each bug as real processes have it; the simulation in `src/node/broadcast/tests` knows each by what it breaks, many times
//! over.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use super::support::{Chat, eventually};

/// Three processes that each say `rounds` lines, while `meanwhile` happens and p3 misses some of what is sent to it. What
/// each delivered.
fn talk(bug: &str, loss: u64, rounds: usize, meanwhile: impl Fn(&Chat, usize)) -> Vec<Vec<String>> {
    let root = tempfile::tempdir().unwrap();
    let flags = ["--evict-after", "0", "--bug", bug];
    let mut chat = Chat::start(3, if bug.is_empty() { &flags[..2] } else { &flags }, root.path());
    chat.lose_to(2, loss);
    for round in 0..rounds {
        meanwhile(&chat, round);
        for process in &mut chat.processes {
            process.say(&format!("{} {round:03}", process.id));
        }
    }
    chat.lose_to(2, 0);
    let count = |chat: &Chat| chat.processes.iter().map(|process| process.texts().len()).collect::<Vec<_>>();
    let mut last = (count(&chat), 0);
    // Nothing new for two seconds: that is all there will be. Of correct processes all of it is known.
    eventually("it is quiet", || {
        let now = count(&chat);
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        let done =
            if bug.is_empty() { last.0.iter().all(|count| *count == rounds * 3) } else { last.1 > 200 };
        if done { Ok(()) } else { Err(format!("{last:?}")) }
    });
    chat.processes.iter().map(|process| process.texts()).collect()
}

/// Whether two deliver two messages in different orders.
fn differ(heard: &[Vec<String>]) -> bool {
    let at = |texts: &[String], text: &String| texts.iter().position(|other| other == text);
    heard.iter().any(|one| {
        heard.iter().any(|other| {
            let common: Vec<usize> = one.iter().filter_map(|text| at(other, text)).collect();
            !common.is_sorted()
        })
    })
}

/// Whether one delivers something twice.
fn doubled(heard: &[Vec<String>]) -> bool {
    heard.iter().any(|texts| texts.iter().collect::<BTreeSet<_>>().len() < texts.len())
}

/// Whether one lacks what another delivered.
fn lacks(heard: &[Vec<String>]) -> bool {
    heard.iter().any(|one| heard.iter().any(|other| other.iter().any(|text| !one.contains(text))))
}

/// Whether one sender's messages are out of its order.
fn overtaken(heard: &[Vec<String>]) -> bool {
    heard.iter().any(|texts| {
        let of = |sender: &str| texts.iter().filter(|text| text.starts_with(sender)).collect::<Vec<_>>();
        ["p1", "p2", "p3"].iter().any(|sender| !of(sender).is_sorted())
    })
}

/// A bug, lines of each, and what it breaks.
type Case = (&'static str, usize, fn(&[Vec<String>]) -> bool);

#[test]
fn each_bug_shows_and_the_correct_node_shows_none() {
    let cases: [Case; 4] = [
        ("deliver-on-arrival", 200, differ),
        ("no-sender-tie-break", 200, differ),
        ("min-proposal", 200, differ),
        ("not-fifo", 50, overtaken),
    ];
    std::thread::scope(|scope| {
        for (bug, rounds, breaks) in cases {
            scope.spawn(move || assert!(breaks(&talk(bug, 0, rounds, |_, _| {})), "{bug}"));
        }
        // One after the other: all that is said at once is in so few datagrams that none of them may be lost.
        let one_by_one = |chat: &Chat, round: usize| {
            if let Some(before) = round.checked_sub(1) {
                chat.processes[0].hears(&format!("p1 {before:03}"));
            }
        };
        scope.spawn(move || assert!(lacks(&talk("no-retransmit", 400, 25, one_by_one)), "no-retransmit"));
        scope.spawn(move || {
            assert!(doubled(&talk("duplicates-on-retry", 400, 25, one_by_one)), "duplicates-on-retry");
        });
        scope.spawn(|| {
            let heard = talk("", 200, 100, |_, _| {});
            assert!(!differ(&heard) && !doubled(&heard) && !lacks(&heard) && !overtaken(&heard), "{heard:?}");
        });
    });
}

#[test]
fn a_fallback_after_a_timeout_tears_the_order() {
    // Cut off for longer than the fallback takes, all of them talking.
    let cut = |chat: &Chat, round: usize| {
        if round == 20 {
            // What one has said and not agreed on would hold up the others.
            eventually("nothing is under way", || {
                let counts: Vec<_> = chat.processes.iter().map(|process| process.texts().len()).collect();
                if counts == [60, 60, 60] { Ok(()) } else { Err(format!("{counts:?}")) }
            });
            chat.isolate(2, true);
        }
        if round == 40 {
            eventually("both sides go on alone", || {
                let on =
                    |rank: usize, text: &str| chat.processes[rank].texts().iter().any(|heard| heard == text);
                if on(0, "p1 039") && on(2, "p3 039") { Ok(()) } else { Err("not yet".into()) }
            });
            chat.isolate(2, false);
        }
    };
    assert!(differ(&talk("timeout-fallback", 0, 60, cut)));
}

#[test]
fn a_fallback_shows_under_a_pause_too() {
    let pause = |chat: &Chat, round: usize| {
        if round % 20 == 10 {
            chat.processes[1].signal(Signal::SIGSTOP);
        }
        if round % 20 == 15 {
            let last = format!("p1 {:03}", round - 1);
            chat.processes[0].hears(&last);
            chat.processes[2].hears(&last);
            chat.processes[1].signal(Signal::SIGCONT);
        }
    };
    assert!(differ(&talk("timeout-fallback", 0, 60, pause)));
}

#[test]
fn a_reply_comes_before_what_it_answers() {
    let replies = |bug: &str, rounds: usize| {
        let root = tempfile::tempdir().unwrap();
        let flags = ["--evict-after", "0", "--bug", bug];
        let mut chat = Chat::start(3, if bug.is_empty() { &flags[..2] } else { &flags }, root.path());
        chat.processes[0].say("first");
        chat.agree(&[0, 1, 2], 1);
        for round in 0..rounds {
            // p1 loses most of what it sends, so the two others hear p1's last word at different times.
            chat.lose_from(0, 600);
            chat.processes[0].say(&format!("question {round}"));
            eventually("somebody hears it", || {
                let heard = |rank: usize| chat.processes[rank].texts().contains(&format!("question {round}"));
                if heard(1) || heard(2) { Ok(()) } else { Err(String::new()) }
            });
            let quick = if chat.processes[1].texts().contains(&format!("question {round}")) { 1 } else { 2 };
            chat.processes[quick].say(&format!("reply {round}"));
            chat.processes[3 - quick].hears(&format!("reply {round}"));
            chat.lose_from(0, 0);
            chat.processes[3 - quick].hears(&format!("question {round}"));
            let texts = chat.processes[3 - quick].texts();
            let at = |text: String| texts.iter().position(|heard| *heard == text);
            if at(format!("reply {round}")) < at(format!("question {round}")) {
                return Some(round);
            }
        }
        None
    };
    assert_eq!(replies("", 5), None);
    assert!(replies("not-causal", 40).is_some());
}
