//! The guard: what nodes may bind, and where they connect.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use harness::cluster::{NodeEvent, NodeState, Signal, ports};

use super::{eventually, launch, python, soon, spec};

/// Binds in threads, because a bind then comes from a thread that is not its process's first.
const BINDER: &str = r#"
import socket, threading, os
ports = [int(port) for port in os.environ["PORTS"].split()]
def tcp(family, host, port, v6only=None):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if v6only is not None: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    s.bind((host, port)); s.listen(5)
    return s
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", ports[0]))
    def receive():
        text, sender = s.recvfrom(100); print("received", text.decode(), "from", sender[0])
    threading.Thread(target=receive, daemon=True).start()
    return s
def serve(s):
    while True:
        c, _ = s.accept(); c.sendall(b"here"); c.close()
def bind(name, make):
    try: s = make()
    except OSError as e: return print(name, "error", e.errno)
    print(name, s.getsockname()[0])
    if s.type == socket.SOCK_STREAM: threading.Thread(target=serve, args=(s,), daemon=True).start()
def run(name, make):
    t = threading.Thread(target=bind, args=(name, make)); t.start(); t.join()
run("any", lambda: tcp(socket.AF_INET, "0.0.0.0", ports[0]))
run("empty", lambda: tcp(socket.AF_INET, "", ports[1]))
run("dual", lambda: tcp(socket.AF_INET6, "::", ports[2], 0))
run("six", lambda: tcp(socket.AF_INET6, "::", ports[3], 1))
run("again", lambda: tcp(socket.AF_INET, "0.0.0.0", ports[0]))
run("other", lambda: tcp(socket.AF_INET, "0.0.0.0", 0))
run("udp", udp)
if os.fork() == 0:
    bind("forked", lambda: tcp(socket.AF_INET, "0.0.0.0", ports[4])); os._exit(0)
os.wait()
print("done")
threading.Event().wait()
"#;

/// Found out without the code under test, which falls back in silence.
fn kernel_can_guard() -> bool {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    // SAFETY: both calls take integers alone; the descriptors live as long as the test process.
    let borrowed = unsafe {
        let own = libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0);
        libc::syscall(libc::SYS_pidfd_getfd, own, libc::STDERR_FILENO, 0)
    };
    actions.split_whitespace().any(|action| action == "user_notif") && borrowed >= 0
}

#[test]
fn wildcard_binds_are_narrowed_to_loopback() {
    let block = ports::allocate(5, None).unwrap();
    let ports: Vec<u16> = block.ports().collect();
    let Some(fixture) = python(BINDER, &ports) else { return };
    fixture.cluster.start("A").unwrap();
    fixture.wait_line("done");
    if !kernel_can_guard() {
        return eprintln!("skipped: seccomp user notification or pidfd_getfd is not to be had here");
    }
    assert!(fixture.cluster.is_guarded("A"));
    let expected = [
        "any 127.0.0.1",
        "empty 127.0.0.1",
        "dual ::ffff:127.0.0.1",
        "six ::1",
        &format!("again error {}", libc::EADDRINUSE),
        "other 0.0.0.0",
        "udp 127.0.0.1",
        "forked 127.0.0.1",
        "done",
    ];
    assert_eq!(fixture.cluster.log_tail("A", 20), expected);
    for port in &ports[..3] {
        // A link can have the node's own port on an address of its own, and the node answers on loopback.
        TcpListener::bind(("127.77.1.1", *port)).unwrap();
        let mut answer = String::new();
        TcpStream::connect(("127.0.0.1", *port)).unwrap().read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "here");
    }
    let link = UdpSocket::bind(("127.77.1.1", ports[0])).unwrap();
    link.send_to(b"to the node", ("127.0.0.1", ports[0])).unwrap();
    fixture.wait_line("received to the node from 127.77.1.1");
}

#[test]
fn a_guarded_node_is_killed_and_restarted_amid_its_binds() {
    let script = "import socket, os\nprint('up')\n\
                  while True:\n s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n \
                  s.bind(('', int(os.environ['PORTS']))); s.close()";
    let block = ports::allocate(1, None).unwrap();
    let Some(fixture) = python(script, &[block.first()]) else { return };
    for round in 1..21 {
        fixture.cluster.start("A").unwrap();
        eventually("up", || fixture.cluster.log_stats("A").lines == round);
        if round % 2 == 0 {
            fixture.cluster.signal("A", Signal::SIGSTOP).unwrap();
            assert!(fixture.cluster.wait_state("A", NodeState::Stopped, soon()));
        }
        fixture.cluster.kill("A").unwrap();
        let status = fixture.cluster.wait_exit("A", soon()).unwrap();
        assert_eq!(status.signal, Some(9), "{:?}", fixture.cluster.log_tail("A", 10));
    }
}

/// Connects here and there, each for a moment, from threads and a child; one is refused.
const WALKER: &str = r#"
import ctypes, os, socket, struct, subprocess, sys, threading
mine, other, link = [int(port) for port in os.environ['PORTS'].split()] [:3]
def visit(host, port, kind=socket.SOCK_STREAM, family=socket.AF_INET):
    try:
        socket.socket(family, kind).connect((host, port))
    except OSError:
        pass
visit('127.77.3.1', other)
visit('127.0.0.1', other, kind=socket.SOCK_DGRAM)
mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
mouth.sendto(b'by the link', ('127.77.3.1', other))
mouth.sendto(b'to nobody known', ('127.0.0.1', link + 1))
mouth.sendto(b'past it', ('127.0.0.1', other))
mouth.sendmsg([b'by the link'], [], 0, ('127.77.3.1', other))
mouth.sendmsg([b'past', b' it'], [], 0, ('127.77.3.2', other))
mouth.connect(('127.77.3.1', other)); mouth.send(b'by the link'); mouth.sendmsg([b'by the link'])
libc = ctypes.CDLL(None, use_errno=True)
name = struct.pack('=H', socket.AF_INET) + struct.pack('!H4s8x', other, socket.inet_aton('127.77.3.3'))
buffer = ctypes.create_string_buffer(name, 16)
null = struct.pack('=QIIQQQQii', 0, 0, 0, 0, 0, 0, 0, 0, 0) + bytes(8)
second = struct.pack('=QIIQQQQii', ctypes.addressof(buffer), 16, 0, 0, 0, 0, 0, 0, 0) + bytes(8)
both = ctypes.create_string_buffer((null + second).ljust(128, b'\0'), 128)
assert libc.sendmmsg(mouth.fileno(), both, 2, 0) == 2, ctypes.get_errno()
left, right = socket.socketpair(); left.sendmsg([b'of no concern']); assert right.recv(20) == b'of no concern'
visit('127.0.0.1', link + 1)
visit('127.0.0.1', other)
thread = threading.Thread(target=visit, args=('0.0.0.0', other)); thread.start(); thread.join()
subprocess.run([sys.executable, '-c', 'import socket; socket.create_connection(("127.77.3.2", %d))' % other])
visit('::ffff:127.0.0.1', mine, family=socket.AF_INET6)
print('done')
import time; time.sleep(60)
"#;

#[test]
fn connects_past_the_links_are_told() {
    let block = ports::allocate(4, None).unwrap();
    let ports: Vec<u16> = block.ports().collect();
    let other = ports[1];
    let real = TcpListener::bind(("127.0.0.1", other)).unwrap();
    let link = TcpListener::bind(("127.77.3.1", other)).unwrap();
    let foreign_link = TcpListener::bind(("127.77.3.2", other)).unwrap();
    // Or a datagram to the link would be refused.
    let _receives = UdpSocket::bind(("127.77.3.1", other)).unwrap();
    if Command::new("python3").arg("-V").output().is_err() {
        return eprintln!("skipped: there is no python3");
    }
    let fixture = launch(|dir| {
        let mut walker = spec(dir, "A", &["python3", "-c", WALKER]);
        walker.ports = ports[..3].to_vec();
        walker.links = vec![link.local_addr().unwrap()];
        let words: Vec<String> = ports.iter().map(u16::to_string).collect();
        walker.env.insert("PORTS".into(), words.join(" "));
        vec![walker]
    });
    fixture.cluster.start("A").unwrap();
    if !kernel_can_guard() {
        return eprintln!("skipped: seccomp user notification or pidfd_getfd is not to be had here");
    }
    let past_by = |host: &str, port: u16, datagrams| (String::from("A"), format!("{host}:{port}"), datagrams);
    let past = |host, port| past_by(host, port, false);
    let expected = [
        past_by("127.0.0.1", other, true),
        past_by("127.0.0.1", other, true),
        past_by("127.77.3.2", other, true),
        past_by("127.77.3.3", other, true),
        past("127.0.0.1", other),
        past("127.0.0.1", other),
        past("127.77.3.2", other),
        past("127.0.0.1", ports[0]),
    ];
    for expected in expected {
        match fixture.event() {
            NodeEvent::Connects { node, address, datagrams } => {
                assert_eq!((node, address.to_string(), datagrams), expected);
            }
            event => panic!("{event:?}"),
        }
    }
    fixture.wait_line("done");
    assert!(fixture.events.try_recv().is_err(), "nothing else is told");
    drop((real, foreign_link));
}
