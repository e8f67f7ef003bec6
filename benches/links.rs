//! What links cost, as ratios to a bare copy in the same run: `cargo bench --bench links -- [--quick] [NAME…]`.
//!
//! The bare copy is an accept loop and `copy_bidirectional_with_sizes` with 64 KiB buffers, on a runtime of the same
//! kind. Rounds alternate between the two, as the machine's mood changes; the median of the rounds' ratios counts. For
//! datagrams it is a loop of `recv_from` and `send_to` each way.
//!
//! `guard` is what it costs a node that each of its datagrams with an address is looked at before it leaves: this program
//! sends to itself, once as a node of a run and once as any process, in turns. A datagram of a connected socket has no
//! address, and should cost nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::network::{Endpoint, LinkPolicy, Network, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};

const BUFFER: usize = 64 * 1024;
const REQUEST: usize = 64;

struct Plan {
    rounds: usize,
    round: Duration,
    samples: u32,
}

fn main() {
    if std::env::args().any(|argument| argument == SENDER) {
        return send_to_itself();
    }
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let plan = if quick {
        Plan { rounds: 3, round: Duration::from_millis(150), samples: 100 }
    } else {
        Plan { rounds: 9, round: Duration::from_millis(400), samples: 300 }
    };
    let names: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|asked| name.contains(asked.as_str()));

    if wanted("memory") {
        memory();
    }
    let ways = Ways::open();
    let measures: [(&str, &str, Measure); 5] = [
        ("bulk, 1 stream", "GB/s", |to, plan| bulk(to, 1, plan)),
        ("bulk, 4 streams", "GB/s", |to, plan| bulk(to, 4, plan)),
        ("requests, 1 connection", "k/s", |to, plan| requests(to, 1, plan)),
        ("requests, 50 connections", "k/s", |to, plan| requests(to, 50, plan)),
        ("new connections", "k/s", connections),
    ];
    println!(
        "{:26} {:>9} {:>9} {:>9}        link/bare (target 0.95)",
        "no fault set", "direct", "bare", "link"
    );
    for (name, unit, measure) in measures {
        if wanted(name) {
            compare(name, unit, measure, &ways, &plan);
        }
    }
    let ways_of_datagrams = Ways { bare: ways.bare_datagrams, ..ways };
    let measures: [(&str, &str, Measure); 2] = [
        ("datagrams, 1 on its way", "k/s", |to, plan| datagrams(to, 1, plan)),
        ("datagrams, 64 on their way", "k/s", |to, plan| datagrams(to, 64, plan)),
    ];
    for (name, unit, measure) in measures {
        if wanted(name) {
            compare(name, unit, measure, &ways_of_datagrams, &plan);
        }
    }
    if wanted("guard") {
        guard(plan.rounds.div_ceil(2));
    }
    if wanted("delay") {
        delays("delay overshoots by, ms", &ways_of_datagrams, || {
            one_way(ways_of_datagrams.link, plan.samples)
        });
        delays("the same of datagrams, ms", &ways_of_datagrams, || {
            one_way_datagrams(ways_of_datagrams.link, plan.samples)
        });
    }
}

/// Ways to the same server.
struct Ways {
    direct: SocketAddr,
    bare: SocketAddr,
    bare_datagrams: SocketAddr,
    link: SocketAddr,
    network: Network,
    _runtimes: [Runtime; 2],
}

impl Ways {
    fn open() -> Self {
        let server = runtime(1, "server");
        let direct = server.block_on(async { serve(listener().await) });
        let proxy = runtime(2, "bare");
        let bare = proxy.block_on(async { bare_copy(listener().await, direct) });
        server.block_on(echo(direct));
        let bare_datagrams = proxy.block_on(bare_forward(direct));
        let nodes = [
            Endpoint { id: "A".into(), ports: vec![] },
            Endpoint { id: "B".into(), ports: vec![direct.port()] },
        ];
        let network = Network::start(&nodes, &Options::default()).expect("the links");
        let link = network.address("A", "B", direct.port()).expect("a link");
        Self { direct, bare, bare_datagrams, link, network, _runtimes: [server, proxy] }
    }
}

fn runtime(workers: usize, name: &str) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name(name)
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port")
}

fn bare_copy(listener: TcpListener, upstream: SocketAddr) -> SocketAddr {
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(upstream).await?;
                copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER).await
            });
        }
    });
    address
}

/// A first byte of 0 asks for all that follows to be swallowed, 1 for requests to be echoed.
fn serve(listener: TcpListener) -> SocketAddr {
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    if stream.read_u8().await? == 0 {
        let mut buffer = vec![0; 4 * BUFFER];
        while stream.read(&mut buffer).await? > 0 {}
        // Only now is all of it through.
        return stream.write_all(b".").await;
    }
    let mut request = [0; REQUEST];
    while stream.read_exact(&mut request).await.is_ok() {
        stream.write_all(&request).await?;
    }
    Ok(())
}

/// Sends every datagram back to where it came from.
async fn echo(at: SocketAddr) {
    let socket = UdpSocket::bind(at).await.expect("the port of the listener, for datagrams");
    tokio::spawn(async move {
        let mut buffer = vec![0; BUFFER];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            socket.send_to(&buffer[..length], from).await.expect("to be sent");
        }
    });
}

/// What a link does for one client, and nothing else.
async fn bare_forward(upstream: SocketAddr) -> SocketAddr {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let near = Arc::new(bind().await.expect("a free port"));
    let far = Arc::new(bind().await.expect("a free port"));
    let address = near.local_addr().expect("its address");
    let client = Arc::new(AtomicU64::new(0));
    let (there, back) = ((Arc::clone(&near), Arc::clone(&far)), (far, near));
    let known = Arc::clone(&client);
    tokio::spawn(async move {
        let mut buffer = vec![0; BUFFER];
        while let Ok((length, from)) = there.0.recv_from(&mut buffer).await {
            known.store(from.port().into(), Ordering::Relaxed);
            there.1.send_to(&buffer[..length], upstream).await.expect("to be sent");
        }
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; BUFFER];
        while let Ok((length, _)) = back.0.recv_from(&mut buffer).await {
            let to = (Ipv4Addr::LOCALHOST, client.load(Ordering::Relaxed) as u16);
            back.1.send_to(&buffer[..length], to).await.expect("to be sent");
        }
    });
    address
}

/// Measures how much is done, in the unit of the table, and in how many seconds.
type Measure = fn(SocketAddr, &Plan) -> Done;

struct Done {
    amount: f64,
    seconds: f64,
}

impl Done {
    fn rate(&self) -> f64 {
        self.amount / self.seconds
    }
}

fn compare(name: &str, unit: &str, measure: Measure, ways: &Ways, plan: &Plan) {
    let (mut directs, mut bares, mut links, mut ratios) = (vec![], vec![], vec![], vec![]);
    let mut efforts = vec![];
    for round in 0..=plan.rounds {
        let direct = measure(ways.direct, plan);
        let before = ["bare", "links"].map(cpu_seconds);
        let (bare, link) = if round % 2 == 0 {
            let bare = measure(ways.bare, plan);
            (bare, measure(ways.link, plan))
        } else {
            let link = measure(ways.link, plan);
            (measure(ways.bare, plan), link)
        };
        let [bare_cpu, link_cpu] =
            [(0, "bare"), (1, "links")].map(|(at, name)| cpu_seconds(name) - before[at]);
        // The first round warms up.
        if round > 0 {
            directs.push(direct.rate());
            bares.push(bare.rate());
            links.push(link.rate());
            ratios.push(link.rate() / bare.rate());
            efforts.push((bare_cpu / bare.amount) / (link_cpu / link.amount));
        }
    }
    let [direct, bare, link, ratio] = [directs, bares, links, ratios.clone()].map(median);
    let (least, most) =
        ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), r| (least.min(*r), most.max(*r)));
    let effort = median(efforts);
    println!(
        "{name:26} {direct:9.2} {bare:9.2} {link:9.2} {unit:5}  {ratio:.2} ({least:.2} to {most:.2}), {effort:.2} per CPU second"
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn connect(to: SocketAddr) -> std::net::TcpStream {
    let stream = std::net::TcpStream::connect(to).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    stream
}

fn bulk(to: SocketAddr, streams: usize, plan: &Plan) -> Done {
    let until = Instant::now() + plan.round;
    let begun = Instant::now();
    let senders: Vec<_> = (0..streams)
        .map(|_| {
            thread::spawn(move || {
                let mut stream = connect(to);
                stream.write_all(&[0]).expect("a byte");
                let (piece, mut sent) = (vec![7; 4 * BUFFER], 0_usize);
                while Instant::now() < until {
                    sent += stream.write(&piece).expect("a piece");
                }
                stream.shutdown(std::net::Shutdown::Write).expect("an end");
                stream.read_exact(&mut [0]).expect("the receipt");
                sent
            })
        })
        .collect();
    let sent: usize = senders.into_iter().map(|sender| sender.join().expect("a sender")).sum();
    Done { amount: sent as f64 / 1e9, seconds: begun.elapsed().as_secs_f64() }
}

fn requests(to: SocketAddr, connections: usize, plan: &Plan) -> Done {
    let round = plan.round;
    let clients = Builder::new_current_thread().enable_all().build().expect("a runtime");
    clients.block_on(async move {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(to).await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            stream.write_all(&[1]).await.expect("a byte");
            streams.push(stream);
        }
        let begun = Instant::now();
        let clients: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                tokio::spawn(async move {
                    let (mut answer, mut done) = ([0; REQUEST], 0_u64);
                    while begun.elapsed() < round {
                        stream.write_all(&[7; REQUEST]).await.expect("a request");
                        stream.read_exact(&mut answer).await.expect("an answer");
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let mut done = 0;
        for client in clients {
            done += client.await.expect("a client");
        }
        Done { amount: done as f64 / 1e3, seconds: begun.elapsed().as_secs_f64() }
    })
}

fn connections(to: SocketAddr, plan: &Plan) -> Done {
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let clients = [(); 8].map(|()| {
        let (over, done) = (Arc::clone(&over), Arc::clone(&done));
        thread::spawn(move || {
            let mut question = [7; REQUEST + 1];
            question[0] = 1;
            while !over.load(Ordering::Relaxed) {
                let mut stream = connect(to);
                stream.write_all(&question).expect("a request");
                stream.read_exact(&mut [0; REQUEST]).expect("an answer");
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    thread::sleep(plan.round);
    let seconds = begun.elapsed().as_secs_f64();
    let amount = done.load(Ordering::Relaxed) as f64 / 1e3;
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a client");
    }
    Done { amount, seconds }
}

fn talk(to: SocketAddr) -> std::net::UdpSocket {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.connect(to).expect("a peer");
    // A lost one is made up for after so long.
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    socket
}

/// There and back, so many on their way at a time.
fn datagrams(to: SocketAddr, window: usize, plan: &Plan) -> Done {
    let socket = talk(to);
    let begun = Instant::now();
    let (mut done, mut missing) = (0_u64, window);
    while begun.elapsed() < plan.round {
        for _ in 0..missing {
            socket.send(&[7; REQUEST]).expect("to be sent");
        }
        missing = match socket.recv(&mut [0; REQUEST]) {
            Ok(_) => {
                done += 1;
                1
            }
            Err(_) => window,
        };
    }
    Done { amount: done as f64 / 1e3, seconds: begun.elapsed().as_secs_f64() }
}

/// The argument that makes this program a node of its own.
const SENDER: &str = "--send-to-itself";

/// Prints how long a datagram takes, there and read again, and then waits to be ended.
fn send_to_itself() {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let own = socket.local_addr().expect("its address");
    let micros = |send: &dyn Fn()| {
        let (begun, mut batches) = (Instant::now(), vec![]);
        while begun.elapsed() < Duration::from_millis(300) || batches.is_empty() {
            let batch = Instant::now();
            for _ in 0..100 {
                send();
                socket.recv(&mut [0; REQUEST]).expect("what was sent");
            }
            batches.push(batch.elapsed().as_secs_f64() * 1e6 / 100.0);
        }
        median(batches)
    };
    let addressed = micros(&|| assert_eq!(socket.send_to(&[7; REQUEST], own).expect("to be sent"), REQUEST));
    socket.connect(own).expect("a peer");
    let connected = micros(&|| assert_eq!(socket.send(&[7; REQUEST]).expect("to be sent"), REQUEST));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let guarded = status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]));
    println!("MEASURED {guarded} {addressed} {connected}");
    println!("READY");
    // Its end is the end of the run, or at once where nobody types.
    std::io::stdin().read_to_end(&mut Vec::new()).expect("stdin");
}

/// Microseconds a datagram, as a node of a run and as any process.
fn guard(rounds: usize) {
    let folder = std::env::temp_dir().join(format!("harness-bench-guard-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (mut guarded, mut free) = (vec![], vec![]);
    for _ in 0..rounds {
        guarded.push(as_node(&folder));
        free.push(alone());
    }
    std::fs::remove_dir_all(&folder).expect("our own folder");
    if guarded.iter().any(|(guarded, _)| !guarded) || free.iter().any(|(guarded, _)| *guarded) {
        println!("\nguard: not measured, as nodes are not guarded here or this process is itself");
        return;
    }
    println!("\n{:26} {:>9} {:>9} {:>9}", "a datagram to itself, µs", "free", "guarded", "at most");
    for (at, name) in ["with an address", "of a connected socket"].into_iter().enumerate() {
        // The best of the rounds, as other work only adds; and the worst, as much hangs on where the kernel lets the two run.
        let least = |rounds: &[Measured]| rounds.iter().map(|of| of.1[at]).fold(f64::MAX, f64::min);
        let most = guarded.iter().map(|of| of.1[at]).fold(0.0, f64::max);
        println!("{name:26} {:9.2} {:9.2} {most:9.2}", least(&free), least(&guarded));
    }
}

type Measured = (bool, [f64; 2]);

fn alone() -> Measured {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let output = command.arg(SENDER).stdin(Stdio::null()).output().expect("itself");
    measured(&String::from_utf8_lossy(&output.stdout))
}

fn as_node(folder: &Path) -> Measured {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let protocol = "name = \"itself\"\nabout = \"nothing\"\ntransport = \"stdio\"\ndeliver = '^D (?P<value>.*)$'\n\
                    [ready]\nmatch = '^READY'\n[broadcast]\nline = \"{{ value }}\"\n";
    write("protocol.toml", protocol.to_owned());
    let itself = std::env::current_exe().expect("this program");
    let workload = write(
        "workload.toml",
        format!(
            "name = \"itself\"\nseed = 7\n[cluster]\nnodes = [\"A\"]\ncommand = \"{} {SENDER}\"\n\
             [client]\nprotocol = \"protocol.toml\"\n[load]\nkind = \"broadcast\"\nclients = 1\nrate = 1\n\
             duration = \"1s\"\n[settle]\nwithin = \"1s\"\n[checks]\navailability = \"reported\"\n",
            itself.display()
        ),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    let results = folder.join("results");
    command.arg("run").arg(&workload).args(["--json", "--quiet", "--results"]).arg(&results);
    let output = command.stdin(Stdio::null()).output().expect("the harness");
    let log = std::fs::read_to_string(results.join("itself/latest/nodes/A.log")).unwrap_or_else(|error| {
        panic!("no log of the node ({error}): {}", String::from_utf8_lossy(&output.stderr))
    });
    measured(&log)
}

fn measured(printed: &str) -> Measured {
    let line = printed.lines().find_map(|line| line.split_once("MEASURED ")).expect("what it measured").1;
    let words: Vec<_> = line.split_whitespace().collect();
    let [guarded, addressed, connected] = words[..] else { panic!("three words: {line}") };
    (guarded == "true", [addressed, connected].map(|micros| micros.parse().expect("microseconds")))
}

fn delays(title: &str, ways: &Ways, mut one_way: impl FnMut() -> Vec<f64>) {
    println!("\n{title:26} {:>9} {:>9}", "median", "p99     (targets 0.2 and 1)");
    let asked = [0, 1, 2, 5, 10, 20, 50, 100];
    let mut undelayed = 0.0;
    for ms in asked {
        let policy = LinkPolicy { delay: Duration::from_millis(ms), ..LinkPolicy::default() };
        ways.network.set("A", "B", policy).expect("a link");
        let mut took = one_way();
        took.sort_by(f64::total_cmp);
        let [median, p99] = [took[took.len() / 2], took[took.len() * 99 / 100]].map(|took| took - ms as f64);
        if ms == 0 {
            undelayed = median;
            println!("without (latency)          {median:9.3} {p99:9.3}");
        } else {
            println!("{ms:3} ms                     {:9.3} {:9.3}", median - undelayed, p99 - undelayed);
        }
    }
    ways.network.set("A", "B", LinkPolicy::default()).expect("a link");
}

/// Milliseconds there and, undelayed, back.
fn one_way(to: SocketAddr, samples: u32) -> Vec<f64> {
    let mut stream = connect(to);
    let mut answers = stream.try_clone().expect("another handle");
    stream.write_all(&[1]).expect("a byte");
    let epoch = Instant::now();
    let receiver = thread::spawn(move || {
        let mut took = Vec::new();
        let mut answer = [0; REQUEST];
        while answers.read_exact(&mut answer).is_ok() {
            let sent = u64::from_le_bytes(*answer.first_chunk().expect("a stamp"));
            took.push((epoch.elapsed().as_nanos() as u64 - sent) as f64 / 1e6);
        }
        took
    });
    for _ in 0..samples {
        let mut request = [0; REQUEST];
        request[..8].copy_from_slice(&(epoch.elapsed().as_nanos() as u64).to_le_bytes());
        stream.write_all(&request).expect("a request");
        thread::sleep(Duration::from_millis(2));
    }
    stream.shutdown(std::net::Shutdown::Write).expect("an end");
    receiver.join().expect("the receiver")
}

/// The same by datagrams.
fn one_way_datagrams(to: SocketAddr, samples: u32) -> Vec<f64> {
    let socket = talk(to);
    let answers = socket.try_clone().expect("another handle");
    answers.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let epoch = Instant::now();
    let receiver = thread::spawn(move || {
        let mut took = Vec::new();
        let mut answer = [0; REQUEST];
        while took.len() < samples as usize && answers.recv(&mut answer).is_ok() {
            let sent = u64::from_le_bytes(*answer.first_chunk().expect("a stamp"));
            took.push((epoch.elapsed().as_nanos() as u64 - sent) as f64 / 1e6);
        }
        took
    });
    for _ in 0..samples {
        let mut request = [0; REQUEST];
        request[..8].copy_from_slice(&(epoch.elapsed().as_nanos() as u64).to_le_bytes());
        socket.send(&request).expect("to be sent");
        thread::sleep(Duration::from_millis(2));
    }
    receiver.join().expect("the receiver")
}

/// What this process's threads of that name have used: the ratio that another's load disturbs least. 0 where unknown.
fn cpu_seconds(thread_name: &str) -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let used = tasks.filter_map(|task| {
        let task = task.ok()?.path();
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        let schedule = std::fs::read_to_string(task.join("schedstat")).ok()?;
        (name.trim() == thread_name).then(|| schedule.split(' ').next()?.parse::<u64>().ok())?
    });
    used.sum::<u64>() as f64 / 1e9
}

/// Eleven nodes have 110 links; each carries a request and then falls idle, its connection open.
fn memory() {
    let listeners: Vec<_> = (0..11)
        .map(|_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
        .collect();
    let nodes: Vec<_> = listeners
        .iter()
        .enumerate()
        .map(|(at, listener)| {
            let port = listener.local_addr().expect("its address").port();
            Endpoint { id: format!("n{at}"), ports: vec![port] }
        })
        .collect();
    let Some(before) = resident_bytes() else {
        println!("memory: not measured on this system\n");
        return;
    };
    let network = Network::start(&nodes, &Options::default()).expect("the links");
    let mut open = Vec::new();
    for from in &nodes {
        for (to, listener) in nodes.iter().zip(&listeners).filter(|(to, _)| to.id != from.id) {
            let mut opener = connect(network.address(&from.id, &to.id, to.ports[0]).expect("a link"));
            opener.write_all(&[7; REQUEST]).expect("a request");
            let (mut node, _) = listener.accept().expect("it");
            node.read_exact(&mut [0; REQUEST]).expect("the request");
            open.push((opener, node));
        }
    }
    let grown = resident_bytes().unwrap_or(before).saturating_sub(before);
    let hundred = grown as f64 / open.len() as f64 * 100.0 / 1e6;
    println!("memory: {hundred:.2} MB a hundred idle links, each with a connection (target 5)\n");
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}
