//! `harness node broadcast` as processes: over real sockets, killed, paused and cut off.

mod bugs;
mod faults;
mod support;

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use support::{Chat, HARNESS, eventually};

#[test]
fn lines_in_deliveries_out_over_udp_and_tcp() {
    std::thread::scope(|scope| {
        for flags in [&[][..], &["--tcp"]] {
            scope.spawn(move || {
                let root = tempfile::tempdir().unwrap();
                let mut chat = Chat::start(3, flags, root.path());
                chat.processes[0].say("hello  \u{1}wörld ");
                chat.processes[0].say("\n");
                chat.processes[0].hears("hello  \u{1}wörld ");
                chat.processes[1].hears("hello  \u{1}wörld ");
                chat.processes[1].say("an answer");
                assert_eq!(chat.agree(&[0, 1, 2], 2), ["hello  \u{1}wörld ", "an answer"]);

                let lines = chat.processes[0].lines();
                let view: Vec<&str> = lines[1].split(' ').collect();
                let group: u64 = view[1].parse().unwrap();
                assert_eq!(view, ["VIEW", &group.to_string(), "1", "0", "p1,p2,p3"]);
                assert_eq!(lines[0].split(' ').take(2).collect::<Vec<_>>(), ["READY", "p1"]);
                assert_eq!(lines[2], format!("SENT p1:{group}:1 hello  \u{1}wörld "), "p1 founded the group");
                assert_eq!(lines[3], format!("DELIVER 1 p1 p1:{group}:1 hello  \u{1}wörld "));

                chat.processes[2].close_stdin();
                chat.processes[0].say("nobody speaks there any more");
                chat.processes[2].hears("nobody speaks there any more");
                chat.processes[2].signal(Signal::SIGTERM);
                assert_eq!(chat.processes[2].wait().code(), Some(0));
            });
        }
    });
}

#[test]
fn a_line_that_is_no_message_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut chat = Chat::start(1, &[], root.path());
    let alone = &mut chat.processes[0];
    let longest = "\u{1}".repeat(8192);
    alone.say(&format!("{longest}x"));
    alone.tells("REFUSED", "the line has more than 8192 bytes");
    alone.say(&longest);
    alone.hears(&longest);
    alone.say("\r");
    alone.say("last");
    alone.hears("last");
    assert_eq!(alone.texts().len(), 2);
}

#[test]
fn what_cannot_be_started_says_why() {
    let root = tempfile::tempdir().unwrap();
    let run = |table: &str, flags: &[&str]| {
        std::fs::write(root.path().join("peers"), table).unwrap();
        let words = ["node", "broadcast", "--id", "p1", "--config", "peers"];
        let mut command = Command::new(HARNESS);
        command.args(words).args(flags).current_dir(root.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = run("p2 127.0.0.1 1", &[]);
    assert_eq!(code, Some(2));
    assert!(
        message.contains("peers: there is no \"p1\", only p2: its own row says where it listens"),
        "{message}"
    );
    let (code, message) = run("p1 127.0.0.1 1 2", &[]);
    assert_eq!(code, Some(2));
    assert!(message.contains("peers: line 1: \"p1 127.0.0.1 1 2\", expected ID HOST PORT"), "{message}");
    let (code, message) = run("p1 127.0.0.1 1", &["--bug", "not-casual"]);
    assert_eq!(code, Some(2));
    assert!(message.contains("a similar value exists: 'not-causal'"), "{message}");
    let taken = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, message) = run(&format!("p1 127.0.0.1 {port}"), &[]);
    assert_eq!(code, Some(1));
    assert!(message.contains(&format!("p1: cannot listen on 127.0.0.1:{port}: ")), "{message}");
}

#[test]
fn ten_talk_at_once_over_a_network_that_loses_and_doubles() {
    let root = tempfile::tempdir().unwrap();
    let mut chat = Chat::start(10, &[], root.path());
    chat.lose(100);
    for round in 0..10 {
        for process in &mut chat.processes {
            process.say(&format!("{} {round}", process.id));
        }
    }
    let texts = chat.agree(&(0..10).collect::<Vec<_>>(), 100);
    for n in 1..=10 {
        let id = format!("p{n} ");
        let mine: Vec<&String> = texts.iter().filter(|text| text.starts_with(&id)).collect();
        let expected: Vec<String> = (0..10).map(|round| format!("p{n} {round}")).collect();
        assert_eq!(mine, expected.iter().collect::<Vec<_>>(), "each once, in its sender's order");
    }
}

#[test]
fn more_is_not_taken_than_can_be_kept() {
    let root = tempfile::tempdir().unwrap();
    let mut chat = Chat::start(2, &["--evict-after", "0"], root.path());
    chat.isolate(1, true);
    // Less than a pipe holds.
    for line in 0..1000 {
        chat.processes[0].say(&format!("line {line}"));
    }
    let sent = |chat: &Chat| chat.processes[0].told("SENT").len();
    eventually("as many are taken as may be", || {
        if sent(&chat) == 128 { Ok(()) } else { Err(sent(&chat).to_string()) }
    });
    assert_eq!(chat.processes[0].texts().len(), 0, "and none is delivered while one cannot be heard");
    chat.isolate(1, false);
    let expected: Vec<String> = (0..1000).map(|line| format!("line {line}")).collect();
    assert_eq!(chat.agree(&[0, 1], 1000), expected);
}
