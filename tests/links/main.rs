//! Links against real sockets: what a proxy does must be what the network it stands for would do.

mod cuts;
mod datagrams;
mod nodes;
mod pace;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use harness::network::{Endpoint, LinkCounters, Network, NetworkError, Options};

use support::*;

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
fn connections_leave_nothing_behind() {
    let _no_forks = FORKS.read();
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
