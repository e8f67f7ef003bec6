//! Datagrams through links: boundaries, addresses, and what befalls them on their way.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use harness::network::{Addressing, Endpoint, LinkCounters, LinkPolicy, Mishaps, Network, Options};

use super::support::*;

/// Two nodes, each with one socket for everything, as gossiping nodes have.
struct Talk {
    network: Network,
    a: UdpSocket,
    b: UdpSocket,
    /// Where A was told that B is, and the other way round.
    b_for_a: SocketAddr,
    a_for_b: SocketAddr,
}

fn socket(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

fn talk() -> Talk {
    talk_with(&Options::default())
}

fn talk_with(options: &Options) -> Talk {
    // Not below the ephemeral ports as nodes' ports are: these sockets exist all along.
    let (a, b) = (socket(0), socket(0));
    let [port_a, port_b] = [&a, &b].map(|socket| socket.local_addr().unwrap().port());
    let nodes =
        [Endpoint { id: "A".into(), ports: vec![port_a] }, Endpoint { id: "B".into(), ports: vec![port_b] }];
    let network = Network::start(&nodes, options).unwrap();
    let b_for_a = network.address("A", "B", port_b).unwrap();
    let a_for_b = network.address("B", "A", port_a).unwrap();
    Talk { network, a, b, b_for_a, a_for_b }
}

impl Talk {
    fn set(&self, policy: LinkPolicy) {
        self.network.set("A", "B", policy).unwrap();
    }

    fn out(&self) -> LinkCounters {
        self.network.counters("A", "B").unwrap()
    }

    fn back(&self) -> LinkCounters {
        self.network.counters("B", "A").unwrap()
    }

    fn send(&self, text: &[u8]) {
        self.a.send_to(text, self.b_for_a).unwrap();
    }

    /// Numbers from A to B, never more of them unaccounted for than sockets can hold.
    fn send_numbers(&self, count: u32) {
        for number in 0..count {
            self.send(&number.to_be_bytes());
            if number % 50 == 49 {
                wait_until("some to get through", || accounted_for(&self.out()) > u64::from(number) - 20);
            }
        }
        wait_until("all to get through", || accounted_for(&self.out()) >= u64::from(count));
    }
}

/// How many of those sent have met their fate, copies aside.
fn accounted_for(counters: &LinkCounters) -> u64 {
    let lost = counters.dropped_datagrams + counters.cut_datagrams + counters.overflowed_datagrams;
    (counters.datagrams + lost).saturating_sub(counters.duplicated_datagrams)
}

fn mishaps(mishaps: Mishaps) -> LinkPolicy {
    LinkPolicy { mishaps, ..PLAIN }
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 70_000];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(length);
    (buffer, from)
}

/// All that has arrived: to be used once nothing is on its way any more.
fn all(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_nonblocking(true).unwrap();
    let mut all = Vec::new();
    let mut buffer = vec![0; 70_000];
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        all.push(buffer[..length].to_vec());
    }
    socket.set_nonblocking(false).unwrap();
    all
}

fn numbers(datagrams: &[Vec<u8>]) -> Vec<u32> {
    datagrams.iter().map(|bytes| u32::from_be_bytes(bytes[..].try_into().unwrap())).collect()
}

#[test]
fn boundaries_are_kept_and_everybody_is_known_by_one_address() {
    for addressing in [Addressing::default(), Addressing::Ports] {
        let talk = talk_with(&Options { addressing, ..Options::default() });
        for length in [0, 1, 1_400, 60_000] {
            let bytes = random_bytes(length + 8)[..length].to_vec();
            talk.send(&bytes);
            let (received, from) = receive(&talk.b);
            assert_eq!(received.len(), length);
            assert!(received == bytes, "other bytes than were sent");
            // What the table of peers says, so that B may look A up in it.
            assert_eq!(from, talk.a_for_b);
            // By the address it came from, which is also the one by the table.
            talk.b.send_to(b"answer", from).unwrap();
            assert_eq!(receive(&talk.a), (b"answer".to_vec(), talk.b_for_a));
        }
        wait_until("the count", || (talk.out().datagrams, talk.back().datagrams) == (4, 4));
        assert_eq!((talk.out().bytes, talk.back().bytes), (61_401, 24));
    }
}

#[test]
fn the_answer_to_a_socket_of_its_own_choice_is_under_the_policy_of_its_way() {
    let talk = talk();
    let asker = socket(0);
    asker.connect(talk.b_for_a).unwrap();
    asker.send(b"question").unwrap();
    let (question, from) = receive(&talk.b);
    assert_eq!(question, b"question");
    assert_ne!(from, talk.a_for_b);
    if cfg!(target_os = "linux") {
        assert_eq!(from.ip(), talk.a_for_b.ip(), "another socket of the same node");
    }
    talk.b.send_to(b"answer", from).unwrap();
    // Connected: nothing but what comes from B's own address is received.
    assert_eq!(asker.recv(&mut [0; 16]).unwrap(), 6);

    talk.network.set("B", "A", CUT).unwrap();
    asker.send(b"again").unwrap();
    assert_eq!(receive(&talk.b), (b"again".to_vec(), from), "the way there is open, and it is the same flow");
    talk.b.send_to(b"lost", from).unwrap();
    wait_until("the loss", || talk.back().cut_datagrams == 1);
    talk.network.set("B", "A", PLAIN).unwrap();
    talk.b.send_to(b"found", from).unwrap();
    let mut buffer = [0; 16];
    let length = asker.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"found");

    // From yet another socket of B's: it comes from a face of that one, and what is sent there arrives there.
    let other = socket(0);
    let second = socket(0);
    second.send_to(b"hello", talk.b_for_a).unwrap();
    let (_, from) = receive(&talk.b);
    other.send_to(b"from elsewhere", from).unwrap();
    let (text, elsewhere) = receive(&second);
    assert_eq!(text, b"from elsewhere");
    second.send_to(b"to elsewhere", elsewhere).unwrap();
    assert_eq!(receive(&other), (b"to elsewhere".to_vec(), from));
}

#[test]
fn a_cut_loses_in_silence_each_way_by_itself() {
    let talk = talk();
    talk.set(LinkPolicy { delay: Duration::from_secs(3600), ..PLAIN });
    talk.send(b"on its way");
    wait_until("it to be delayed", || talk.out().delayed_datagrams == 1);
    talk.set(CUT);
    wait_until("the loss of what is on the wire when it is cut", || talk.out().cut_datagrams == 1);
    talk.send(b"lost");
    wait_until("it to be lost", || talk.out().cut_datagrams == 2);
    talk.b.send_to(b"the other way", talk.a_for_b).unwrap();
    assert_eq!(receive(&talk.a).0, b"the other way");
    talk.set(PLAIN);
    talk.send(b"healed");
    assert_eq!(receive(&talk.b).0, b"healed", "nothing of what was lost is sent again");
    wait_until("the count", || talk.out().datagrams == 1);
    assert_eq!((talk.back().datagrams, talk.back().cut_datagrams), (1, 0));
    let mut fates = Vec::new();
    talk.network.take_passages(|from, _, passage| {
        if from == "A" {
            fates.push((passage.bytes, passage.handed_on.is_some()));
        }
    });
    assert_eq!(fates, [(10, false), (4, false), (6, true)]);
}

#[test]
fn a_delay_counts_from_the_receipt_of_each() {
    let talk = talk();
    let delay = Duration::from_millis(60);
    talk.set(LinkPolicy { delay, ..PLAIN });
    // time itself is tested
    let begun = Instant::now();
    for text in [b"1", b"2", b"3"] {
        talk.send(text);
    }
    let order: Vec<_> = (0..3).map(|_| receive(&talk.b).0).collect();
    let took = begun.elapsed();
    assert_eq!(order, [b"1", b"2", b"3"]);
    assert!(took >= delay, "{took:?}");
    assert!(took < Duration::from_secs(30), "one after the other: {took:?}");
    wait_until("the count", || talk.out().delayed_datagrams == 3);
    assert!(talk.out().max_delay_added_ns >= delay.as_nanos() as u64);

    talk.set(LinkPolicy { delay: Duration::from_secs(3600), ..PLAIN });
    talk.send(b"late");
    wait_until("it to be delayed", || talk.out().delayed_datagrams == 4);
    talk.set(PLAIN);
    assert_eq!(receive(&talk.b).0, b"late", "a shorter delay holds for what is on its way");
}

#[test]
fn jitter_lets_them_overtake_each_other() {
    let talk = talk();
    talk.set(LinkPolicy { jitter: Duration::from_millis(50), ..PLAIN });
    talk.send_numbers(40);
    let arrived = numbers(&all(&talk.b));
    let mut sorted = arrived.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..40).collect::<Vec<_>>());
    assert_ne!(arrived, sorted);
    assert!(talk.out().reordered_datagrams > 0);
}

#[test]
fn a_share_is_lost_and_the_seed_says_which() {
    let survivors = |seed, extra| {
        let talk = talk_with(&Options { seed, ..Options::default() });
        talk.set(mishaps(Mishaps { drop: 0.5, duplicate: extra, ..Mishaps::NONE }));
        talk.send_numbers(200);
        let mut arrived = numbers(&all(&talk.b));
        assert_eq!(talk.out().datagrams, arrived.len() as u64);
        assert_eq!(
            talk.out().dropped_datagrams + talk.out().datagrams - talk.out().duplicated_datagrams,
            200
        );
        arrived.dedup();
        arrived
    };
    let first = survivors(1, 0.0);
    assert!((60..140).contains(&first.len()), "{}", first.len());
    assert_eq!(first, survivors(1, 0.0));
    assert_eq!(first, survivors(1, 0.5), "duplicates change nothing of what is lost");
    assert_ne!(first, survivors(2, 0.0));
}

#[test]
fn a_share_arrives_twice() {
    let talk = talk();
    talk.set(mishaps(Mishaps { duplicate: 0.5, ..Mishaps::NONE }));
    talk.send_numbers(100);
    let arrived = numbers(&all(&talk.b));
    let twice = talk.out().duplicated_datagrams;
    assert!((20..80).contains(&twice), "{twice}");
    assert_eq!(arrived.len() as u64, 100 + twice);
    let mut once = arrived.clone();
    once.dedup();
    assert_eq!(once, (0..100).collect::<Vec<_>>(), "a copy is right behind");
}

#[test]
fn a_share_is_overtaken() {
    let talk = talk();
    let within = Duration::from_secs(3600);
    talk.set(mishaps(Mishaps { reorder: 0.3, reorder_within: within, ..Mishaps::NONE }));
    for number in 0..100_u32 {
        talk.send(&number.to_be_bytes());
    }
    // The last of those held back wait for ever, now that nothing comes behind them: the heal lets them go.
    wait_until("most to arrive", || talk.out().datagrams > 90);
    talk.set(PLAIN);
    wait_until("all to arrive", || talk.out().datagrams == 100);
    let arrived = numbers(&all(&talk.b));
    let mut sorted = arrived.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    let reordered = talk.out().reordered_datagrams;
    assert!((10..60).contains(&reordered), "{reordered}");
    let mut newest = 0;
    let behind = arrived.iter().filter(|number| {
        newest = newest.max(**number);
        **number < newest
    });
    assert_eq!(behind.count() as u64, reordered, "counted is what was overtaken");

    talk.set(mishaps(Mishaps { reorder: 1.0, reorder_within: within, ..Mishaps::NONE }));
    for number in 100..150_u32 {
        talk.send(&number.to_be_bytes());
    }
    wait_until("most to arrive", || talk.out().datagrams > 140);
    assert!(talk.out().datagrams < 150, "the last one waits to be overtaken");
    assert!(talk.out().reordered_datagrams > reordered, "where all are held back they overtake each other");
    talk.set(PLAIN);
    wait_until("all to arrive", || talk.out().datagrams == 150);
    assert_eq!(all(&talk.b).len(), 50);

    talk.set(mishaps(Mishaps { reorder: 1.0, reorder_within: Duration::from_millis(5), ..Mishaps::NONE }));
    talk.send(b"alone");
    assert_eq!(receive(&talk.b).0, b"alone", "what nothing overtakes does not wait for ever");
}

#[test]
fn a_share_is_damaged_and_keeps_its_length() {
    let talk = talk();
    talk.set(mishaps(Mishaps { corrupt: 0.5, ..Mishaps::NONE }));
    for _ in 0..100 {
        talk.send(&[0; 100]);
        receive(&talk.b).0.iter().for_each(drop);
    }
    talk.set(mishaps(Mishaps { corrupt: 1.0, ..Mishaps::NONE }));
    let before = talk.out().corrupted_datagrams;
    assert!((20..80).contains(&before), "{before}");
    for _ in 0..50 {
        talk.send(&[0; 100]);
        let (bytes, _) = receive(&talk.b);
        assert_eq!(bytes.len(), 100);
        let flipped: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        assert!((1..=3).contains(&flipped), "{flipped} bits");
    }
    assert_eq!(talk.out().corrupted_datagrams, before + 50);
    talk.send(&[]);
    assert_eq!(receive(&talk.b).0.len(), 0, "of nothing nothing can be damaged");
}

#[test]
fn a_rate_delays_and_then_overflows() {
    let talk = talk();
    talk.set(LinkPolicy { rate: Some(20_000), ..PLAIN });
    // time itself is tested
    let begun = Instant::now();
    for _ in 0..6 {
        talk.send(&[7; 1_000]);
    }
    for _ in 0..6 {
        receive(&talk.b);
    }
    // The first leaves at once.
    assert!(begun.elapsed() >= Duration::from_millis(240), "{:?}", begun.elapsed());
    wait_until("the count", || talk.out().datagrams == 6);
    assert!(talk.out().throttled_datagrams >= 4);
    talk.set(LinkPolicy { rate: Some(1), ..PLAIN });
    for sent in 0..40 {
        talk.send(&[7; 10_000]);
        wait_until("it to be taken in", || {
            let out = talk.out();
            out.throttled_datagrams + out.overflowed_datagrams + out.datagrams > sent + 10
        });
    }
    assert!(talk.out().overflowed_datagrams >= 10, "{:?}", talk.out());
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_is_opened_again_is_sent_to_again() {
    let (port, asker_port) = (free_port(), free_port());
    let nodes = [
        Endpoint { id: "A".into(), ports: vec![asker_port] },
        Endpoint { id: "B".into(), ports: vec![port] },
    ];
    let network = Network::start(&nodes, &Options::default()).unwrap();
    let asker = socket(asker_port);
    asker.connect(network.address("A", "B", port).unwrap()).unwrap();
    for round in 0..3 {
        let node = socket(port);
        node.set_nonblocking(true).unwrap();
        // What is sent before the link has seen the socket is lost.
        wait_until(&format!("something to arrive in round {round}"), || {
            let _ = asker.send(b"hello");
            node.recv(&mut [0; 5]).is_ok()
        });
        drop(node);
        wait_until("a refusal", || asker.send(b"anybody?").is_err());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn where_nobody_receives_datagrams_are_refused() {
    let port = free_port();
    let asker_port = free_port();
    let nodes = [
        Endpoint { id: "A".into(), ports: vec![asker_port] },
        Endpoint { id: "B".into(), ports: vec![port] },
    ];
    let network = Network::start(&nodes, &Options::default()).unwrap();
    let link = network.address("A", "B", port).unwrap();
    let asker = socket(asker_port);
    asker.connect(link).unwrap();
    let refused = || {
        let sent = asker.send(b"anybody?");
        sent.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    wait_until("a refusal", refused);
    let node = socket(port);
    network.node_up("B").unwrap();
    // The last refusal may still be told.
    wait_until("it to be sent", || asker.send(b"hello").is_ok());
    assert_eq!(receive(&node), (b"hello".to_vec(), network.address("B", "A", asker_port).unwrap()));
    // While it is cut no refusal comes through either.
    network.set("B", "A", CUT).unwrap();
    drop(node);
    network.node_down("B").unwrap();
    asker.send(b"in silence").unwrap();
    wait_until("it to pass", || network.counters("A", "B").unwrap().datagrams == 2);
    asker.send(b"in silence").unwrap();
    network.set("B", "A", PLAIN).unwrap();
    wait_until("a refusal", refused);
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_node_sent_before_it_died_still_arrives_and_from_its_address() {
    let talk = talk();
    talk.set(LinkPolicy { delay: Duration::from_secs(3600), ..PLAIN });
    talk.send(b"last words");
    wait_until("it to be delayed", || talk.out().delayed_datagrams == 1);
    let Talk { network, a, b, a_for_b, .. } = talk;
    drop(a);
    network.node_down("A").unwrap();
    network.set("A", "B", PLAIN).unwrap();
    assert_eq!(receive(&b), (b"last words".to_vec(), a_for_b));
}

#[test]
fn a_fresh_socket_for_each_datagram_is_no_leak() {
    let talk = talk();
    let asker = socket(0);
    asker.send_to(b"first", talk.b_for_a).unwrap();
    receive(&talk.b);
    let mut held = Vec::new();
    for number in 0..1_200_u32 {
        let asker = socket(0);
        asker.send_to(&number.to_be_bytes(), talk.b_for_a).unwrap();
        let (text, from) = receive(&talk.b);
        assert_eq!(numbers(&[text]), [number]);
        talk.b.send_to(b"yes", from).unwrap();
        receive(&asker);
        // Kept, or the system gives the same port again.
        held.push(asker);
    }
    #[cfg(target_os = "linux")]
    {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(open < held.len() + 512 + 400, "{open} descriptors, other tests' included");
    }
    asker.send_to(b"still here", talk.b_for_a).unwrap();
    let (text, from) = receive(&talk.b);
    assert_eq!(text, b"still here");
    talk.b.send_to(b"yes", from).unwrap();
    receive(&asker);
}

#[test]
fn impairments_of_datagrams_leave_streams_alone() {
    use std::io::Write;
    let bench = bench();
    let all = Mishaps { drop: 1.0, duplicate: 1.0, reorder: 1.0, corrupt: 1.0, ..Mishaps::NONE };
    bench.set("A", "B", mishaps(all));
    let (mut opener, mut node) = bench.pair();
    let bytes = random_bytes(200_000);
    opener.write_all(&bytes).unwrap();
    expect_bytes(&mut node, &bytes);
    assert_eq!(bench.out().datagrams, 0);
}
