//! Links of nodes that are down, paused, elsewhere than expected, or that go past them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use harness::network::{Addressing, Endpoint, Network, Options};
#[cfg(target_os = "linux")]
use harness::network::{Sighting, Trouble};

use super::support::*;

#[test]
fn a_link_refuses_while_its_node_is_down_and_accepts_once_it_is_up() {
    let _no_forks = FORKS.read();
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
    let _no_forks = FORKS.read();
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
        let mut command = Command::new("bash");
        let command = command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let forking = FORKS.write();
        let mut node = command.spawn().unwrap();
        drop(forking);
        let mut open = [0; 5];
        node.stdout.take().unwrap().read_exact(&mut open).unwrap();
        let before = bypass.sightings().iter().map(|sighting| sighting.connections).sum::<u64>();
        let processes = [(id.to_owned(), vec![node.id()])];
        let found = bypass.look(|| processes.to_vec()).unwrap();
        assert_eq!(found, u64::from(expected), "{id} connected to {address}");
        // The same connection is not counted twice.
        assert_eq!(bypass.look(|| processes.to_vec()).unwrap(), 0);
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
