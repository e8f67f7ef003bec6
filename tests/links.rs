//! Links against real sockets: what a proxy does must be what the network it stands for would do.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::network::{Addressing, Endpoint, LinkCounters, LinkPolicy, Network, NetworkError, Options};
#[cfg(target_os = "linux")]
use harness::network::{Sighting, Trouble};
use harness::seed::Rng;
use socket2::SockRef;

const LONG: Duration = Duration::from_secs(20);
const CUT: LinkPolicy =
    LinkPolicy { cut: true, reset: false, delay: Duration::ZERO, jitter: Duration::ZERO, rate: None };
const RESET: LinkPolicy = LinkPolicy { cut: false, reset: true, ..CUT };
const PLAIN: LinkPolicy = LinkPolicy { cut: false, ..CUT };

/// A node A without a server, a node B that is this listener, and the links between them.
struct Bench {
    network: Network,
    listener: TcpListener,
    link: SocketAddr,
}

fn bench() -> Bench {
    bench_with(&Options::default(), "127.0.0.1")
}

fn bench_with(options: &Options, host: &str) -> Bench {
    let port = free_port();
    let listener = TcpListener::bind((host, port)).unwrap();
    let network = Network::start(&endpoints(port), options).unwrap();
    let link = network.address("A", "B", port).unwrap();
    Bench { network, listener, link }
}

/// B at `port`; A's own port is of no use to anybody.
fn endpoints(port: u16) -> [Endpoint; 2] {
    [Endpoint { id: "A".into(), ports: vec![free_port()] }, Endpoint { id: "B".into(), ports: vec![port] }]
}

/// Below the ports that systems hand out by themselves, or somebody's outgoing connection may take it meanwhile.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() * 61;
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(15_000 + (first + next) % 15_000).unwrap();
        let taken = |host: &&str| {
            TcpListener::bind((*host, port)).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
        };
        if !["127.0.0.1", "::1", "0.0.0.0"].iter().any(taken) {
            return port;
        }
    }
}

impl Bench {
    fn connect(&self) -> TcpStream {
        patient(TcpStream::connect(self.link).unwrap())
    }

    /// Fails rather than wait for ever.
    fn accept(&self) -> TcpStream {
        self.listener.set_nonblocking(true).unwrap();
        let mut accepted = None;
        wait_until("a connection to arrive", || {
            accepted = self.listener.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        patient(stream)
    }

    fn nothing_to_accept(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        matches!(self.listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    fn pair(&self) -> (TcpStream, TcpStream) {
        let opener = self.connect();
        (opener, self.accept())
    }

    fn set(&self, from: &str, to: &str, policy: LinkPolicy) {
        self.network.set(from, to, policy).unwrap();
    }

    fn out(&self) -> LinkCounters {
        self.network.counters("A", "B").unwrap()
    }

    fn back(&self) -> LinkCounters {
        self.network.counters("B", "A").unwrap()
    }
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn expect_bytes(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert!(bytes == expected, "other bytes than were sent");
}

fn expect_end(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "expected the end of the stream");
}

fn expect_reset(stream: &mut TcpStream) {
    let kind = stream.read(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::ConnectionReset));
}

/// To be used once the proxy is known to hold what was sent: then no time need pass.
fn expect_silence(stream: &mut TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let kind = stream.read(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::WouldBlock));
    stream.set_nonblocking(false).unwrap();
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn connect_error(address: SocketAddr) -> Option<ErrorKind> {
    TcpStream::connect(address).err().map(|error| error.kind())
}

#[test]
fn bytes_pass_both_ways_and_are_counted() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    opener.write_all(b"question").unwrap();
    expect_bytes(&mut node, b"question");
    node.write_all(b"an answer").unwrap();
    expect_bytes(&mut opener, b"an answer");
    // Counted once handed on: the receiver may be first.
    let (out, back) = (
        LinkCounters { bytes: 8, connections: 1, ..LinkCounters::default() },
        LinkCounters { bytes: 9, ..LinkCounters::default() },
    );
    wait_until("the count", || (bench.out(), bench.back()) == (out, back));
}

#[cfg(target_os = "linux")]
#[test]
fn a_link_has_the_port_of_its_node_and_an_address_of_its_own() {
    let (first, second) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = [&first, &second].map(|listener| listener.local_addr().unwrap().port());
    let nodes = [
        Endpoint { id: "A".into(), ports: vec![] },
        Endpoint { id: "B".into(), ports: ports.to_vec() },
        Endpoint { id: "C".into(), ports: vec![] },
    ];
    let network = Network::start(&nodes, &Options::default()).unwrap();
    for port in ports {
        let from_a = network.address("A", "B", port).unwrap();
        let from_c = network.address("C", "B", port).unwrap();
        assert_eq!((from_a.port(), from_c.port()), (port, port));
        assert_ne!(from_a.ip(), from_c.ip());
        assert!(from_a.ip().is_loopback() && from_a.ip() != first.local_addr().unwrap().ip());
        TcpStream::connect(from_a).unwrap();
        TcpStream::connect(from_c).unwrap();
    }
}

#[test]
fn a_half_close_passes_through_and_the_answer_still_comes() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    opener.write_all(b"all of it").unwrap();
    opener.shutdown(Shutdown::Write).unwrap();
    expect_bytes(&mut node, b"all of it");
    expect_end(&mut node);
    node.write_all(b"received").unwrap();
    expect_bytes(&mut opener, b"received");
    node.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut opener);
    wait_until("the connection to be over", || bench.network.open_connections("A", "B").unwrap() == 0);

    let (mut opener, mut node) = bench.pair();
    node.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut opener);
    opener.write_all(b"still here").unwrap();
    expect_bytes(&mut node, b"still here");
}

#[test]
fn a_reset_arrives_as_a_reset() {
    let bench = bench();
    let (opener, mut node) = bench.pair();
    reset(opener);
    expect_reset(&mut node);
    let (mut opener, node) = bench.pair();
    reset(node);
    expect_reset(&mut opener);
    wait_until("both to be over", || bench.network.open_connections("A", "B").unwrap() == 0);
}

#[test]
fn an_answer_to_one_who_has_gone_resets_the_node() {
    let bench = bench();
    let (opener, mut node) = bench.pair();
    drop(opener);
    expect_end(&mut node);
    wait_until("a write to fail", || node.write_all(b"anybody?").is_err());
    wait_until("the connection to be over", || bench.network.open_connections("A", "B").unwrap() == 0);
}

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
            thread::sleep(Duration::from_micros(500));
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
fn a_reset_policy_resets_what_is_open_and_what_comes() {
    let bench = bench();
    let (mut opener, mut node) = bench.pair();
    bench.set("A", "B", RESET);
    expect_reset(&mut opener);
    expect_reset(&mut node);
    // It may even be reset before `connect` has returned.
    match TcpStream::connect(bench.link) {
        Ok(opener) => expect_reset(&mut patient(opener)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(bench.nothing_to_accept());
    wait_until("both to be counted", || bench.out().reset_connections == 2);
    bench.set("A", "B", PLAIN);
    let (mut opener, mut node) = bench.pair();
    // One that is lifted at once has been none the less.
    bench.set("B", "A", RESET);
    bench.set("B", "A", PLAIN);
    expect_reset(&mut opener);
    expect_reset(&mut node);
}

#[test]
fn a_link_refuses_while_its_node_is_down_and_accepts_once_it_is_up() {
    let port = free_port();
    for addressing in [Addressing::default(), Addressing::Ports] {
        let network =
            Network::start(&endpoints(port), &Options { addressing, ..Options::default() }).unwrap();
        let link = network.address("A", "B", port).unwrap();
        assert_eq!(connect_error(link), Some(ErrorKind::ConnectionRefused));
        for _ in 0..3 {
            let listener = bind(port);
            network.node_up("B").unwrap();
            // No waiting: this is what the hint is for.
            let opener = TcpStream::connect(link).unwrap();
            let (mut node, _) = listener.accept().unwrap();
            network.node_down("B").unwrap();
            assert_eq!(connect_error(link), Some(ErrorKind::ConnectionRefused));
            // What is open is the node's own affair.
            (&opener).write_all(b"go on").unwrap();
            expect_bytes(&mut node, b"go on");
        }
        // Without hints it is found out.
        network.node_up("B").unwrap();
        let listener = bind(port);
        wait_until("the link to open", || connect_error(link).is_none());
        drop(listener);
        wait_until("the link to close", || connect_error(link) == Some(ErrorKind::ConnectionRefused));
        assert_eq!(network.troubles(), []);
    }
}

/// As a node that starts again would: what is left of its connections must not keep it from its port.
fn bind(port: u16) -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

#[test]
fn a_paused_node_accepts_as_its_kernel_would() {
    // Nobody ever calls accept on this one.
    let bench = bench();
    let mut opener = bench.connect();
    opener.write_all(b"when you wake up").unwrap();
    wait_until("the node's kernel to take it", || bench.out().bytes == 16);
    let mut node = bench.accept();
    expect_bytes(&mut node, b"when you wake up");
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_that_is_down_behind_a_cut_is_silent_not_refusing() {
    let Bench { network, listener, link } = bench();
    let port = listener.local_addr().unwrap().port();
    network.set("A", "B", CUT).unwrap();
    network.node_down("B").unwrap();
    drop(listener);
    let mut opener = patient(TcpStream::connect(link).unwrap());
    opener.write_all(b"patience").unwrap();
    wait_until("it to be held", || network.counters("A", "B").unwrap().held_bytes_now == 8);
    // Started again before the heal: it gets what waited.
    let listener = bind(port);
    network.node_up("B").unwrap();
    network.set("A", "B", PLAIN).unwrap();
    let (mut node, _) = listener.accept().unwrap();
    expect_bytes(&mut node, b"patience");
    // Not started again: the refusal comes through at the heal.
    network.set("A", "B", CUT).unwrap();
    network.node_down("B").unwrap();
    drop(listener);
    let mut opener = patient(TcpStream::connect(link).unwrap());
    wait_until("it to be held", || network.counters("A", "B").unwrap().held_opens_now == 1);
    network.set("A", "B", PLAIN).unwrap();
    expect_reset(&mut opener);
    assert_eq!(connect_error(link), Some(ErrorKind::ConnectionRefused));
}

#[test]
fn a_node_on_the_other_loopback_address_is_reached() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 here: nothing to reach");
        return;
    }
    let bench = bench_with(&Options::default(), "::1");
    let (mut opener, mut node) = bench.pair();
    opener.write_all(b"six").unwrap();
    expect_bytes(&mut node, b"six");
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_that_takes_its_port_on_every_address_is_named() {
    let bench = bench_with(&Options::default(), "0.0.0.0");
    let port = bench.listener.local_addr().unwrap().port();
    wait_until("the trouble", || !bench.network.troubles().is_empty());
    assert_eq!(bench.network.troubles(), [Trouble::WildcardConflict { node: "B".into(), port }]);
    // Links with ports of their own do not mind.
    let bench = bench_with(&Options { addressing: Addressing::Ports, ..Options::default() }, "0.0.0.0");
    let (mut opener, mut node) = bench.pair();
    opener.write_all(b"fine").unwrap();
    expect_bytes(&mut node, b"fine");
    assert_eq!(bench.network.troubles(), []);
}

fn random_bytes(length: usize) -> Vec<u8> {
    Stream(Rng::new(7, "bytes")).piece(length)
}

/// An endless stream that both ends can make.
struct Stream(Rng);

impl Stream {
    fn piece(&mut self, length: usize) -> Vec<u8> {
        (0..length / 8).flat_map(|_| self.0.bits().to_le_bytes()).collect()
    }
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
        thread::sleep(ms(rng.between(1, 10)));
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

#[test]
fn connections_leave_nothing_behind() {
    let bench = bench();
    for round in 0..20 {
        let pairs: Vec<_> = (0..10).map(|_| bench.pair()).collect();
        for (at, (mut opener, mut node)) in pairs.into_iter().enumerate() {
            opener.write_all(b"x").unwrap();
            expect_bytes(&mut node, b"x");
            match at % 4 {
                0 => drop(opener),
                1 => reset(opener),
                2 => drop(node),
                _ => reset(node),
            }
        }
        wait_until("all to be over", || bench.network.open_connections("A", "B").unwrap() == 0);
        assert_eq!(bench.out().connections, (round + 1) * 10);
    }
    let (mut opener, mut node) = bench.pair();
    let link = bench.link;
    bench.network.shutdown();
    assert_eq!(connect_error(link), Some(ErrorKind::ConnectionRefused));
    for end in [&mut opener, &mut node] {
        let ended = end.read(&mut [0; 1]);
        assert!(
            matches!(ended, Ok(0)) || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
        );
    }
}

#[test]
fn what_is_not_there_is_named() {
    let port = free_port();
    let network = Network::start(&endpoints(port), &Options::default()).unwrap();
    assert_eq!(
        network.set("A", "X", CUT).unwrap_err().to_string(),
        "network: there is no link A → X; links join two different nodes out of A, B"
    );
    assert!(matches!(network.counters("A", "A"), Err(NetworkError::NoLink { .. })));
    assert!(matches!(network.address("A", "B", 1), Err(NetworkError::NoPort { port: 1, .. })));
    assert!(matches!(network.node_up("C"), Err(NetworkError::NoNode(..))));
    let twice = [endpoints(port), endpoints(port)].concat();
    assert!(matches!(Network::start(&twice, &Options::default()), Err(NetworkError::SameId(_))));
    let [_, b] = endpoints(port);
    let same_port = [b.clone(), Endpoint { id: "C".into(), ports: b.ports }];
    assert!(matches!(Network::start(&same_port, &Options::default()), Err(NetworkError::SamePort { .. })));
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_that_goes_past_its_link_is_noticed() {
    use std::process::{Command, Stdio};

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let real = listener.local_addr().unwrap();
    let nodes = [
        Endpoint { id: "A".into(), ports: vec![] },
        Endpoint { id: "B".into(), ports: vec![real.port()] },
        Endpoint { id: "C".into(), ports: vec![] },
    ];
    let network = Network::start(&nodes, &Options::default()).unwrap();
    let link = network.address("A", "B", real.port()).unwrap();
    let mut bypass = network.bypass().unwrap();
    let mut look_at = |id: &str, address: SocketAddr, expected: bool| {
        let script = format!("exec 3<>/dev/tcp/{}/{}; echo open; read line", address.ip(), address.port());
        let mut node = Command::new("bash")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut open = [0; 5];
        node.stdout.take().unwrap().read_exact(&mut open).unwrap();
        let before = bypass.sightings().iter().map(|sighting| sighting.connections).sum::<u64>();
        let processes = [(id.to_owned(), vec![node.id()])];
        let found = bypass.look(&processes).unwrap();
        assert_eq!(found, u64::from(expected), "{id} connected to {address}");
        // The same connection is not counted twice.
        assert_eq!(bypass.look(&processes).unwrap(), 0);
        drop(node.stdin.take());
        node.wait().unwrap();
        let after = bypass.sightings();
        assert_eq!(after.iter().map(|sighting| sighting.connections).sum::<u64>(), before + found);
        after
    };
    assert_eq!(look_at("A", link, false), []);
    assert_eq!(look_at("B", real, false), []);
    let expected = |from: &str, address, link_of: Option<&str>| Sighting {
        from: from.into(),
        to: "B".into(),
        address,
        link_of: link_of.map(Into::into),
        connections: 1,
    };
    let direct = expected("A", real, None);
    let mut seen = vec![direct];
    assert_eq!(look_at("A", real, true), seen);
    // An address that was told to A alone.
    seen.push(expected("C", link, Some("A")));
    assert_eq!(look_at("C", link, true), seen);
}
