//! A link to try things on, and patience with the sockets at its ends.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use harness::cluster::ports::{self, PortBlock};
use harness::network::{Endpoint, LinkCounters, LinkPolicy, Mishaps, Network, Options};
use harness::seed::Rng;
use socket2::SockRef;

pub const LONG: Duration = Duration::from_secs(60);

pub const CUT: LinkPolicy = LinkPolicy {
    cut: true,
    reset: false,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
    rate: None,
    mishaps: Mishaps::NONE,
};
pub const RESET: LinkPolicy = LinkPolicy { cut: false, reset: true, ..CUT };

pub const PLAIN: LinkPolicy = LinkPolicy { cut: false, ..CUT };

/// A node A without a server, a node B that is this listener, and the links between them.
pub struct Bench {
    pub network: Network,
    pub listener: TcpListener,
    pub link: SocketAddr,
}

pub fn bench() -> Bench {
    bench_with(&Options::default(), "127.0.0.1")
}

pub fn bench_with(options: &Options, host: &str) -> Bench {
    let port = free_port();
    let listener = TcpListener::bind((host, port)).unwrap();
    let network = Network::start(&endpoints(port), options).unwrap();
    let link = network.address("A", "B", port).unwrap();
    Bench { network, listener, link }
}

/// B at `port`; A's own port is of no use to anybody.
pub fn endpoints(port: u16) -> [Endpoint; 2] {
    [Endpoint { id: "A".into(), ports: vec![free_port()] }, Endpoint { id: "B".into(), ports: vec![port] }]
}

/// Until it executes, a process that is started has a copy of every socket: a listener closed meanwhile goes on accepting, and its
/// port is taken. Who starts one writes; who expects a closed listener to be gone reads.
pub static FORKS: RwLock<()> = RwLock::new(());

/// Of this test alone until it is over, also where somebody runs the harness meanwhile.
pub fn free_port() -> u16 {
    static KEPT: Mutex<Vec<PortBlock>> = Mutex::new(Vec::new());
    let block = ports::allocate(1, None).unwrap();
    let port = block.first();
    KEPT.lock().unwrap().push(block);
    port
}

impl Bench {
    pub fn connect(&self) -> TcpStream {
        patient(TcpStream::connect(self.link).unwrap())
    }

    /// Fails rather than wait for ever.
    pub fn accept(&self) -> TcpStream {
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

    pub fn nothing_to_accept(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        matches!(self.listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    pub fn pair(&self) -> (TcpStream, TcpStream) {
        let opener = self.connect();
        (opener, self.accept())
    }

    pub fn set(&self, from: &str, to: &str, policy: LinkPolicy) {
        self.network.set(from, to, policy).unwrap();
    }

    pub fn out(&self) -> LinkCounters {
        self.network.counters("A", "B").unwrap()
    }

    pub fn back(&self) -> LinkCounters {
        self.network.counters("B", "A").unwrap()
    }
}

pub fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub fn expect_bytes(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert!(bytes == expected, "other bytes than were sent");
}

pub fn expect_end(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "expected the end of the stream");
}

pub fn expect_reset(stream: &mut TcpStream) {
    let kind = stream.read(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::ConnectionReset));
}

/// To be used once the proxy is known to hold what was sent: then no time need pass.
pub fn expect_silence(stream: &mut TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let kind = stream.read(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::WouldBlock));
    stream.set_nonblocking(false).unwrap();
}

pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

pub fn connect_error(address: SocketAddr) -> Option<ErrorKind> {
    TcpStream::connect(address).err().map(|error| error.kind())
}

/// As a node that starts again would: what is left of its connections must not keep it from its port.
pub fn bind(port: u16) -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

pub fn random_bytes(length: usize) -> Vec<u8> {
    Stream(Rng::new(7, "bytes")).piece(length)
}

/// An endless stream that both ends can make.
pub struct Stream(pub Rng);

impl Stream {
    pub fn piece(&mut self, length: usize) -> Vec<u8> {
        (0..length / 8).flat_map(|_| self.0.bits().to_le_bytes()).collect()
    }
}
