//! What the load costs: recorded operations a second with `rate = 0`, as ratios within one run.
//!
//! `cargo bench --bench load`. Client and server share the machine, as nodes and harness do. Beside the recorded load
//! the same server is asked by
//!
//! - `raw`: connections that write fixed bytes and read until the answer is whole, which is what `wrk` does;
//! - `unrecorded`: the harness's client without the history;
//! - `hyper`: hyper's client connections, unrecorded, for comparison;
//! - `wrk` itself, where it is installed.
//!
//! Each is measured in turns, several times, and the best counts: other work on the machine only takes away. Processor
//! time (of client and server together) still tells on a busy machine: two cores have two seconds
//! of it a second to give.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::client::{Client, Protocol, Request};
use harness::history::recorder::{Asked, Completion, Recorder};
use harness::history::{Number, Outcome, Sessions, Value, Version};
use harness::load::{self, Plan, Targets};
use harness::workload::LoadSpec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CLIENTS: u32 = 50;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(2);
/// What issue 2 asks for.
const WANTED_RATE: f64 = 60_000.0;
const WANTED_RATIO: f64 = 0.5;

const BODY: &str = r#"{"ok":true,"node":"A","key":"k1","value":17,"ts":9,"origin":"A"}"#;
const GET: &str = "GET /get?key=k1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    // `cargo test --benches` passes no `--bench`: then once through, quickly, to see that it works.
    let measuring = std::env::args().any(|arg| arg == "--bench");
    let (rounds, round) = if measuring { (ROUNDS, ROUND) } else { (1, Duration::from_millis(100)) };
    let folder = std::env::temp_dir().join(format!("harness-bench-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(&folder, rounds, round, measuring);
    std::fs::remove_dir_all(&folder)?;
    measured
}

/// A way to ask the server: requests a second.
type Way = fn(SocketAddr, Duration, &Path) -> Result<f64, Error>;

const WAYS: [(&str, Way); 4] = [
    ("raw", |server, round, _| raw_load(server, round)),
    ("hyper, unrecorded", |server, round, _| hyper_load(server, round)),
    ("unrecorded", |server, round, _| unrecorded_load(server, round)),
    ("recorded", recorded_load),
];

/// The best of a way's rounds.
#[derive(Clone, Copy, Default)]
struct Best {
    rate: f64,
    cpu_us: f64,
}

fn measure(folder: &Path, rounds: usize, round: Duration, measuring: bool) -> Result<(), Error> {
    let server = serve()?;
    let (mut best, mut wrk) = ([Best::default(); WAYS.len()], 0.0_f64);
    for _ in 0..rounds {
        for (best, (_, way)) in best.iter_mut().zip(WAYS) {
            let (begun, before_us) = (Instant::now(), cpu_us()?);
            let rate = way(server, round, &folder.join("history.jsonl"))?;
            let cpu_us = (cpu_us()? - before_us) / (rate * begun.elapsed().as_secs_f64());
            best.rate = best.rate.max(rate);
            best.cpu_us = if best.cpu_us > 0.0 { best.cpu_us.min(cpu_us) } else { cpu_us };
        }
        wrk = wrk.max(wrk_load(server, round).unwrap_or_default());
    }
    println!("{CLIENTS} connections, one small answer each, client and server on one machine");
    let [raw, .., recorded] = best;
    for (best, (name, _)) in best.iter().zip(WAYS) {
        println!(
            "  {name:18} {:>8.0}/s  {:4.2} of raw   {:5.1} µs of processor each, {:4.2} of raw",
            best.rate,
            best.rate / raw.rate,
            best.cpu_us,
            raw.cpu_us / best.cpu_us,
        );
    }
    if wrk > 0.0 {
        println!("  wrk                {wrk:>8.0}/s");
    } else {
        println!("  wrk is not installed: raw stands in for it");
    }
    let wanted = [
        ("recorded operations a second", recorded.rate, WANTED_RATE),
        ("of the raw (or wrk's) rate", recorded.rate / raw.rate.max(wrk), WANTED_RATIO),
    ];
    for (what, got, wanted) in wanted.into_iter().filter(|_| measuring) {
        let word = if got >= wanted { "reached" } else { "MISSED" };
        println!("  {word}: {got:.2} {what}, {wanted} wanted");
    }
    recorder(&folder.join("recorder.jsonl"), if measuring { 1_000_000 } else { 1000 })
}

/// Processor time of client and server so far. Other work on the machine hardly touches it.
fn cpu_us() -> Result<f64, Error> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(us(usage.user_time()) + us(usage.system_time()))
}

/// The recorder by itself, from one thread and from two.
fn recorder(path: &Path, operations: u64) -> Result<(), Error> {
    for threads in [1, 2] {
        let recorder = Recorder::create(path)?;
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let recorder = &recorder;
                scope.spawn(move || record(recorder, thread, operations / threads));
            }
        });
        let written = recorder.written();
        let elapsed_s = begun.elapsed().as_secs_f64();
        println!(
            "recorder, {threads} thread(s): {:.0} events/s, {:.0} bytes each, {:.2} µs each",
            written.events as f64 / elapsed_s,
            written.bytes as f64 / written.events as f64,
            elapsed_s * 1e6 / written.events as f64,
        );
    }
    Ok(())
}

fn record(recorder: &Recorder, process: u64, operations: u64) {
    let version = Version { ts: Number::Int(9), origin: "A".into() };
    for number in 0..operations {
        let value = Value::int(number as i64);
        let asked = Asked { process, f: "write", key: Some("k1"), value: &value, node: "A" };
        recorder.invoke(asked);
        let how = Completion { outcome: Outcome::Ok, version: Some(&version), ..Completion::default() };
        recorder.complete(asked, how);
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn recorded_load(server: SocketAddr, round: Duration, path: &Path) -> Result<f64, Error> {
    let spec = LoadSpec {
        size: 0,
        subscribers: 0,
        repeat: 0.0,
        kind: "register".into(),
        clients: CLIENTS,
        rate: 0.0,
        duration: round,
        keys: 8,
        rotate: None,
        burst: 1,
        mix: vec![("read".into(), 1), ("write".into(), 1)],
        sessions: Sessions::Sticky,
        routes: BTreeMap::new(),
    };
    let protocol = Protocol::load("lab2", Path::new("."))?;
    let recorder = Recorder::create(path)?;
    let targets = Targets::new(protocol, recorder, &[("A".into(), server)], Duration::from_secs(1), None);
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let plan = Arc::new(Plan::new(&spec, 1, 1));
    let stats = runtime()?.block_on(load::run(plan, targets, Instant::now(), stopped));
    if stats.counts.ok != stats.counts.total() {
        return Err(format!("operations that are not ok: {stats:?}").into());
    }
    Ok(stats.achieved_rate)
}

fn unrecorded_load(server: SocketAddr, round: Duration) -> Result<f64, Error> {
    let protocol = Protocol::load("lab2", Path::new("."))?;
    in_parallel(round, move |done, end| {
        let mut client = Client::new(Arc::clone(&protocol), server, Duration::from_secs(1));
        async move {
            while Instant::now() < end {
                let write = done.fetch_add(1, Ordering::Relaxed) % 2 == 0;
                let value = if write { Value::int(17) } else { Value::Nil };
                let f = if write { "write" } else { "read" };
                client.perform(&Request::new(f, "k1", &value)).await;
            }
            Ok(())
        }
    })
}

fn raw_load(server: SocketAddr, round: Duration) -> Result<f64, Error> {
    in_parallel(round, move |done, end| async move {
        let mut stream = tokio::net::TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let mut answer = vec![0; 4096];
        let length = answer_bytes().len();
        while Instant::now() < end {
            stream.write_all(GET.as_bytes()).await?;
            let mut read = 0;
            while read < length {
                read += stream.read(&mut answer[read..]).await?;
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
}

fn hyper_load(server: SocketAddr, round: Duration) -> Result<f64, Error> {
    use http_body_util::{BodyExt, Empty};
    in_parallel(round, move |done, end| async move {
        let stream = tokio::net::TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(Io(stream)).await?;
        tokio::spawn(connection);
        while Instant::now() < end {
            let request = hyper::Request::get("/get?key=k1").header("Host", "127.0.0.1");
            let request = request.body(Empty::<bytes::Bytes>::new())?;
            let answer = sender.send_request(request).await?.into_body().collect().await?;
            assert_eq!(answer.to_bytes().len(), BODY.len());
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), Error>(())
    })
}

fn in_parallel<F>(
    round: Duration,
    client: impl Fn(Arc<AtomicU64>, Instant) -> F + Send + Sync + 'static,
) -> Result<f64, Error>
where
    F: Future<Output = Result<(), Error>> + 'static,
{
    let done = Arc::new(AtomicU64::new(0));
    let (begun, client) = (Instant::now(), Arc::new(client));
    let end = begun + round;
    // Two single-threaded runtimes: the errors need not be Send, and it is what wrk does.
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (done, client) = (Arc::clone(&done), Arc::clone(&client));
            std::thread::spawn(move || -> Result<(), String> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime.map_err(|error| error.to_string())?, async {
                    let clients: Vec<_> = (0..CLIENTS / 2)
                        .map(|_| tokio::task::spawn_local(client(Arc::clone(&done), end)))
                        .collect();
                    for client in clients {
                        let ended = client.await.map_err(|error| error.to_string())?;
                        ended.map_err(|error| error.to_string())?;
                    }
                    Ok(())
                })
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a client panicked")??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

fn wrk_load(server: SocketAddr, round: Duration) -> Option<f64> {
    let seconds = format!("{}s", round.as_secs().max(1));
    let connections = CLIENTS.to_string();
    let output = Command::new("wrk")
        .args(["-t2", "-c", &connections, "-d", &seconds, &format!("http://{server}/get?key=k1")])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())
}

fn answer_bytes() -> &'static [u8] {
    static ANSWER: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    ANSWER.get_or_init(|| {
        let length = BODY.len();
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{BODY}")
            .into_bytes()
    })
}

/// The trivial server: answers every request the same, without reading it further than its end. It has a runtime of its
/// own.
fn serve() -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    std::thread::spawn(move || -> Result<Infallible, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| error.to_string())?;
            loop {
                let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
                tokio::spawn(answer(stream));
            }
        })
    });
    wait_until_served(address)?;
    Ok(address)
}

fn wait_until_served(address: SocketAddr) -> Result<(), Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(GET.as_bytes())?;
    let mut answer = vec![0; answer_bytes().len()];
    stream.read_exact(&mut answer)?;
    Ok(())
}

async fn answer(mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = vec![0; 4096];
    let mut have = 0;
    loop {
        let count = stream.read(&mut request[have..]).await?;
        if count == 0 {
            return Ok(());
        }
        have += count;
        // One request at a time: a head, and a body if it has one (the harness sends head and body in one piece).
        if memchr::memmem::find(&request[..have], b"\r\n\r\n").is_some() {
            stream.write_all(answer_bytes()).await?;
            have = 0;
        }
    }
}

/// hyper's view of a tokio stream.
struct Io(tokio::net::TcpStream);

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        mut cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let mut chunk = [0; 4096];
        let room = cursor.remaining().min(chunk.len());
        let mut buffer = tokio::io::ReadBuf::new(&mut chunk[..room]);
        let read = tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut self.0), context, &mut buffer);
        cursor.put_slice(buffer.filled());
        read
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(std::pin::Pin::new(&mut self.0), context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(std::pin::Pin::new(&mut self.0), context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(std::pin::Pin::new(&mut self.0), context)
    }
}
