//! Delays and rates, and that nothing is lost under them.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::network::LinkPolicy;
use harness::seed::Rng;

use super::support::*;

#[test]
fn a_delay_keeps_the_order_and_is_never_shorter_than_asked() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    let (delay, jitter) = (Duration::from_millis(30), Duration::from_millis(20));
    bench.set("A", "B", LinkPolicy { delay, jitter, ..PLAIN });
    let begun = Instant::now();
    let sender = thread::spawn(move || {
        for number in 0..100_u64 {
            let sent = u64::try_from(begun.elapsed().as_nanos()).unwrap();
            opener.write_all(&[number.to_le_bytes(), sent.to_le_bytes()].concat()).unwrap();
            thread::sleep(Duration::from_micros(500)); // time itself is tested: messages of their own, not one
        }
        opener
    });
    for expected in 0..100_u64 {
        let mut message = [0; 16];
        node.read_exact(&mut message).unwrap();
        let number = u64::from_le_bytes(message[..8].try_into().unwrap());
        let sent = Duration::from_nanos(u64::from_le_bytes(message[8..].try_into().unwrap()));
        assert_eq!(number, expected);
        assert!(begun.elapsed() - sent >= delay, "message {number} came early");
    }
    let mut opener = sender.join().unwrap();
    assert_eq!(bench.out().delayed_bytes, 1600);
    assert!(bench.out().max_delay_added_ns >= 30_000_000);
    // An end is delayed like bytes; answers are not.
    node.write_all(b"at once").unwrap();
    expect_bytes(&mut opener, b"at once");
    assert_eq!(bench.back().delayed_bytes, 0);
    let closed = Instant::now();
    opener.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut node);
    assert!(closed.elapsed() >= delay);
}

#[test]
fn a_lifted_delay_holds_nothing_back() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    bench.set("A", "B", LinkPolicy { delay: Duration::from_secs(3600), ..PLAIN });
    opener.write_all(b"an hour").unwrap();
    opener.shutdown(Shutdown::Write).unwrap();
    wait_until("it to be taken in", || bench.out().delayed_bytes == 7);
    bench.set("A", "B", PLAIN);
    expect_bytes(&mut node, b"an hour");
    expect_end(&mut node);
}

#[test]
fn what_a_cut_held_takes_the_delay_after_the_heal() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    let delay = Duration::from_millis(50);
    bench.set("A", "B", LinkPolicy { delay, ..CUT });
    opener.write_all(b"late").unwrap();
    wait_until("it to be held", || bench.out().held_bytes_now == 4);
    let healed = Instant::now();
    bench.set("A", "B", LinkPolicy { delay, ..PLAIN });
    expect_bytes(&mut node, b"late");
    assert!(healed.elapsed() >= delay);
}

#[test]
fn a_rate_holds_over_all_connections_and_is_shared() {
    let bench = bench();
    let rate = 400_000;
    let pairs = [bench.pair(), bench.pair()];
    bench.set("A", "B", LinkPolicy { rate: Some(rate), ..PLAIN });
    let begun = Instant::now();
    let half = 100_000;
    let transfers = pairs.map(|(mut opener, mut node)| {
        thread::spawn(move || {
            opener.write_all(&vec![7; half]).unwrap();
            node.read_exact(&mut vec![0; half]).unwrap();
            begun.elapsed()
        })
    });
    let took = transfers.map(|transfer| transfer.join().unwrap());
    let longest = took.into_iter().max().unwrap();
    // A turn (a hundredth of a second) each may go in advance.
    let least = Duration::from_secs_f64(2.0 * half as f64 / rate as f64 - 0.05);
    assert!(longest >= least, "{took:?}: faster than the rate");
    assert!(longest < least * 3, "{took:?}: far slower than the rate");
    let shortest = took.into_iter().min().unwrap();
    assert!(shortest > longest.mul_f64(0.7), "{took:?}: not shared evenly");
    assert!(bench.out().throttled_bytes > 100_000);
}

#[test]
fn nothing_is_lost_or_changed_under_changing_policies() {
    const PIECE: usize = 40_000;
    let bench = bench();
    let (opener, node) = bench.pair();
    let over = Arc::new(AtomicBool::new(false));
    let ends = [(opener.try_clone().unwrap(), node.try_clone().unwrap()), (node, opener)];
    let transfers = ends.map(|(mut sender, mut receiver)| {
        sender.set_write_timeout(None).unwrap();
        receiver.set_read_timeout(None).unwrap();
        let over = Arc::clone(&over);
        let sending = thread::spawn(move || {
            let (mut stream, mut sent) = (Stream(Rng::new(7, "bytes")), 0);
            while !over.load(Ordering::Relaxed) {
                sender.write_all(&stream.piece(PIECE)).unwrap();
                sent += PIECE;
            }
            sender.shutdown(Shutdown::Write).unwrap();
            sent
        });
        let receiving = thread::spawn(move || {
            let (mut stream, mut received, mut piece) = (Stream(Rng::new(7, "bytes")), 0, vec![0; PIECE]);
            while let Ok(()) = receiver.read_exact(&mut piece) {
                assert!(piece == stream.piece(PIECE), "other bytes than were sent, after {received}");
                received += PIECE;
            }
            received
        });
        (sending, receiving)
    });
    let mut rng = Rng::new(7, "policies");
    let ms = Duration::from_millis;
    for _ in 0..100 {
        for (from, to) in [("A", "B"), ("B", "A")] {
            let policy = match rng.below(5) {
                0 => CUT,
                1 => LinkPolicy { delay: ms(rng.below(8)), jitter: ms(rng.below(8)), ..CUT },
                2 => LinkPolicy { delay: ms(rng.below(8)), jitter: ms(rng.below(8)), ..PLAIN },
                3 => LinkPolicy { rate: Some(20_000_000), delay: ms(rng.below(4)), ..PLAIN },
                _ => PLAIN,
            };
            bench.set(from, to, policy);
        }
        thread::sleep(ms(rng.between(1, 10))); // time itself is tested: each policy gets some
    }
    over.store(true, Ordering::Relaxed);
    bench.set("A", "B", PLAIN);
    bench.set("B", "A", PLAIN);
    for ((sending, receiving), counters) in transfers.into_iter().zip([Bench::out, Bench::back]) {
        let sent = sending.join().unwrap();
        assert_eq!(receiving.join().unwrap(), sent);
        wait_until("the count", || counters(&bench).bytes == sent as u64);
        let counters = counters(&bench);
        assert!(counters.held_bytes > 0 && counters.delayed_bytes > 0, "{counters:?}: nothing was tried");
        assert_eq!((counters.discarded_bytes, counters.held_bytes_now), (0, 0));
    }
    wait_until("the connection to be over", || bench.network.open_connections("A", "B").unwrap() == 0);
}

#[test]
fn a_delay_does_not_lower_the_throughput() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    bench.set("A", "B", LinkPolicy { delay: Duration::from_millis(100), ..PLAIN });
    let data = random_bytes(32 << 20);
    let sent = data.clone();
    let begun = Instant::now();
    let sender = thread::spawn(move || {
        opener.write_all(&sent).unwrap();
        opener
    });
    expect_bytes(&mut node, &data);
    // A queue of a megabyte would let 10 MB/s through, and take 3.3 s.
    assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
    drop(sender.join().unwrap());
}
