//! Cuts: what is held, what arrives at the heal, and what never does.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use harness::network::Options;

use super::support::*;

#[test]
fn a_cut_holds_and_its_end_delivers_in_order() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    opener.write_all(b"before ").unwrap();
    expect_bytes(&mut node, b"before ");
    bench.set("A", "B", CUT);
    opener.write_all(b"during ").unwrap();
    wait_until("the bytes to be held", || bench.out().held_bytes_now == 7);
    expect_silence(&mut node);
    // The other direction goes on.
    node.write_all(b"hello?").unwrap();
    expect_bytes(&mut opener, b"hello?");
    bench.set("A", "B", PLAIN);
    opener.write_all(b"after").unwrap();
    expect_bytes(&mut node, b"during after");
    let counters = bench.out();
    assert_eq!((counters.held_bytes, counters.held_bytes_now, counters.held_connections), (7, 0, 1));
    assert_eq!(bench.back().held_bytes, 0);
}

#[test]
fn what_passed_is_known_piece_by_piece() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    let mut seen = Vec::new();
    let mut pieces = |count: usize| {
        wait_until("the pieces", || {
            let beyond =
                bench.network.take_passages(|from, to, passage| seen.push((format!("{from}>{to}"), passage)));
            assert_eq!(beyond, 0);
            seen.len() >= count
        });
        std::mem::take(&mut seen)
    };
    opener.write_all(b"at once").unwrap();
    expect_bytes(&mut node, b"at once");
    let (way, quick) = pieces(1).remove(0);
    assert_eq!((way.as_str(), quick.bytes, quick.datagram), ("A>B", 7, false));
    assert_eq!(quick.handed_on, Some(quick.received));

    bench.set("A", "B", CUT);
    opener.write_all(b"held").unwrap();
    wait_until("the bytes to be held", || bench.out().held_bytes_now == 4);
    let healed = std::time::Instant::now();
    bench.set("A", "B", PLAIN);
    expect_bytes(&mut node, b"held");
    let (_, held) = pieces(1).remove(0);
    assert!(
        held.bytes == 4 && held.received < healed && held.handed_on.is_some_and(|at| at > healed),
        "{held:?}"
    );

    bench.set("A", "B", CUT);
    opener.write_all(b"never").unwrap();
    wait_until("the bytes to be held", || bench.out().held_bytes_now == 5);
    reset(opener);
    let (_, lost) = pieces(1).remove(0);
    assert_eq!((lost.bytes, lost.handed_on), (5, None));
}

#[test]
fn a_cut_of_the_answers_holds_them_alone() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    bench.set("B", "A", CUT);
    opener.write_all(b"question").unwrap();
    expect_bytes(&mut node, b"question");
    node.write_all(b"answer").unwrap();
    wait_until("the answer to be held", || bench.back().held_bytes_now == 6);
    expect_silence(&mut opener);
    bench.set("B", "A", PLAIN);
    expect_bytes(&mut opener, b"answer");
}

#[test]
fn what_was_under_way_arrives_although_its_sender_has_closed() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    bench.set("A", "B", CUT);
    opener.write_all(b"last words").unwrap();
    drop(opener);
    wait_until("the bytes to be held", || bench.out().held_bytes_now == 10);
    expect_silence(&mut node);
    bench.set("A", "B", PLAIN);
    expect_bytes(&mut node, b"last words");
    expect_end(&mut node);
}

#[test]
fn an_end_is_held_like_bytes() {
    let bench = bench();
    let (opener, mut node) = bench.pair();
    bench.set("A", "B", CUT);
    opener.shutdown(Shutdown::Write).unwrap();
    wait_until("the end to be held", || bench.out().held_connections == 1);
    expect_silence(&mut node);
    bench.set("A", "B", PLAIN);
    expect_end(&mut node);
}

#[test]
fn a_reset_in_a_cut_takes_back_what_was_held() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    bench.set("A", "B", CUT);
    opener.write_all(b"never mind").unwrap();
    wait_until("the bytes to be held", || bench.out().held_bytes_now == 10);
    reset(opener);
    wait_until("them to be discarded", || bench.out().discarded_bytes == 10);
    expect_silence(&mut node);
    bench.set("A", "B", PLAIN);
    expect_reset(&mut node);
}

#[test]
fn a_cut_takes_in_a_bounded_amount_and_loses_nothing() {
    let options = Options { hold_limit: 64 * 1024, ..Options::default() };
    let bench = bench_with(&options, "127.0.0.1");
    let (mut opener, mut node) = bench.pair();
    bench.set("A", "B", CUT);
    let data = random_bytes(64 << 20);
    opener.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while let Ok(more) = opener.write(&data[sent..]) {
        sent += more;
        assert!(sent < data.len(), "the sender is not to get rid of all in a cut");
    }
    // It reads in pieces of 64 KiB, so it may be past the limit by less than one.
    let held = bench.out().held_bytes;
    assert!((1..128 * 1024).contains(&held), "{held} bytes held");
    expect_silence(&mut node);
    bench.set("A", "B", PLAIN);
    expect_bytes(&mut node, &data[..sent]);
}

#[test]
fn a_connection_attempted_in_a_cut_arrives_if_its_opener_waits() {
    for (from, to) in [("A", "B"), ("B", "A")] {
        let bench = bench();
        bench.set(from, to, CUT);
        let mut opener = bench.connect();
        opener.write_all(b"let me in").unwrap();
        wait_until("it to be held", || bench.out().held_bytes_now == 9);
        let cut_lane = bench.network.counters(from, to).unwrap();
        assert_eq!((cut_lane.held_opens, cut_lane.held_opens_now, cut_lane.held_connections), (1, 1, 1));
        assert!(bench.nothing_to_accept());
        bench.set(from, to, PLAIN);
        let mut node = bench.accept();
        expect_bytes(&mut node, b"let me in");
        node.write_all(b"come").unwrap();
        expect_bytes(&mut opener, b"come");
        assert_eq!(bench.network.counters(from, to).unwrap().held_opens_now, 0);
        assert_eq!(bench.out().discarded_connections, 0);
    }
}

#[test]
fn a_connection_attempted_in_a_cut_is_no_more_when_its_opener_has_gone() {
    type Leave = fn(TcpStream);
    for leave in [drop as Leave, reset as Leave] {
        let bench = bench();
        bench.set("A", "B", CUT);
        let mut opener = bench.connect();
        opener.write_all(b"let me in").unwrap();
        wait_until("it to be held", || bench.out().held_bytes_now == 9);
        leave(opener);
        bench.set("A", "B", PLAIN);
        wait_until("it to be discarded", || bench.out().discarded_connections == 1);
        wait_until("its bytes to be discarded", || bench.out().discarded_bytes == 9);
        // The first that arrives is one that was opened later.
        let mut opener = bench.connect();
        opener.write_all(b"now").unwrap();
        let mut node = bench.accept();
        expect_bytes(&mut node, b"now");
        assert!(bench.nothing_to_accept());
        assert_eq!(bench.out().held_bytes_now, 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_opener_that_has_only_half_closed_still_waits() {
    let bench = bench();
    bench.set("A", "B", CUT);
    let mut opener = bench.connect();
    opener.write_all(b"one request").unwrap();
    opener.shutdown(Shutdown::Write).unwrap();
    wait_until("it to be held", || bench.out().held_bytes_now == 11);
    bench.set("A", "B", PLAIN);
    let mut node = bench.accept();
    expect_bytes(&mut node, b"one request");
    expect_end(&mut node);
    node.write_all(b"one answer").unwrap();
    expect_bytes(&mut opener, b"one answer");
}
