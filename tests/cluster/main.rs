//! Node processes, well-behaved and hostile, under a real warden.
//!
//! Python nodes are skipped, with a word, where there is no python3.
#![cfg(target_os = "linux")]

mod guard;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use harness::cluster::{Cluster, ClusterError, ExitStatus, Launch, NodeEvent, NodeSpec, NodeState, Signal};

/// How long to wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long anything may outlive a run.
const AFTERLIFE: Duration = Duration::from_secs(2);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A cluster of scripts in a directory of its own.
struct Fixture {
    dir: tempfile::TempDir,
    cluster: Cluster,
    events: Receiver<NodeEvent>,
}

fn spec(dir: &Path, id: &str, argv: &[&str]) -> NodeSpec {
    NodeSpec {
        id: id.into(),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: dir.join(id),
        log_path: dir.join(format!("nodes/{id}.log")),
        log_limit_bytes: 1 << 20,
        ports: Vec::new(),
        jail: harness::sandbox::Jail::default(),
        links: Vec::new(),
        console: None,
    }
}

fn launch(specs: impl FnOnce(&Path) -> Vec<NodeSpec>) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let (sender, events) = channel();
    let program = Some(PathBuf::from(env!("CARGO_BIN_EXE_harness")));
    let launch = Launch { run_id: "test".into(), epoch: Instant::now(), program };
    let cluster = Cluster::launch(launch, specs(dir.path()), sender).unwrap();
    Fixture { dir, cluster, events }
}

fn sh(script: &str) -> Fixture {
    launch(|dir| vec![spec(dir, "A", &["/bin/sh", "-c", script])])
}

/// A node in Python, which finds its ports in PORTS; `None`, with a word, where there is no Python.
fn python(script: &str, ports: &[u16]) -> Option<Fixture> {
    if Command::new("python3").arg("-V").output().is_err() {
        eprintln!("skipped: there is no python3");
        return None;
    }
    Some(launch(|dir| {
        let mut spec = spec(dir, "A", &["python3", "-c", script]);
        spec.ports = ports.to_vec();
        let listed: Vec<String> = ports.iter().map(u16::to_string).collect();
        spec.env.insert("PORTS".into(), listed.join(" "));
        vec![spec]
    }))
}

impl Fixture {
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("nodes/A.log")).unwrap()
    }

    fn event(&self) -> NodeEvent {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    fn wait_line(&self, line: &str) {
        let printed = || self.cluster.log_tail("A", 100).iter().any(|printed| printed == line);
        eventually(line, printed);
    }

    fn wait_processes(&self, count: usize) -> Vec<u32> {
        eventually("processes", || self.cluster.pids("A").len() == count);
        self.cluster.pids("A")
    }
}

/// Processes with `token` in their command line or environment.
fn alive(token: &str) -> Vec<u32> {
    let has = |pid: u32, file: &str| {
        let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        text.windows(token.len()).any(|window| window == token.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id() && (has(*pid, "cmdline") || has(*pid, "environ"))).collect()
}

fn exists(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ") && !stat.contains(") X ")
}

/// Sends a signal behind the harness's back.
fn send(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -{signal} {pid}");
}

#[test]
fn a_node_that_exits_at_once_is_an_event_with_its_last_words() {
    let fixture = sh("echo hello; echo 'no such option: --id' >&2; exit 3");
    let pid = fixture.cluster.start("A").unwrap();
    let NodeEvent::Exited { node, pid: ended, status, asked, left_behind, log_tail, .. } = fixture.event()
    else {
        panic!("an exit was expected")
    };
    assert_eq!((node.as_str(), ended, asked, left_behind), ("A", pid, false, 0));
    assert_eq!(status, ExitStatus { code: Some(3), signal: None });
    assert!(log_tail.contains(&"hello".to_owned()) && log_tail.contains(&"no such option: --id".to_owned()));
    assert_eq!(fixture.cluster.state("A"), Some(NodeState::Ended(status)));
    assert!(matches!(fixture.cluster.kill("A"), Err(ClusterError::NotRunning { .. })));

    fixture.cluster.start("A").unwrap();
    assert_eq!(fixture.cluster.wait_exit("A", soon()), Some(status));
    let log = fixture.log();
    assert_eq!(log.matches(" out  hello\n").count(), 2, "{log}");
    assert_eq!(log.matches(" err  no such option: --id\n").count(), 2, "{log}");
    assert_eq!(log.matches(" ---  starting: /bin/sh -c").count(), 2, "{log}");
    assert_eq!(log.matches(&format!(" ---  ended, pid {pid}: exit code 3\n")).count(), 1, "{log}");
}

#[test]
fn what_cannot_be_executed_is_said() {
    let fixture = launch(|dir| vec![spec(dir, "A", &["/no/such/program", "x"])]);
    let error = fixture.cluster.start("A").unwrap_err().to_string();
    let expected = "node A: cannot start `/no/such/program x`: No such file or directory (os error 2)";
    assert_eq!(error, expected);
    assert_eq!(fixture.cluster.state("A"), Some(NodeState::NotStarted));
    assert_eq!(fixture.cluster.wait_exit("A", soon()), None);
    assert_eq!(fixture.cluster.start("B").unwrap_err().to_string(), "there is no node B; there are A");
    assert!(fixture.log().contains("---  node A: cannot start"));
}

#[test]
fn a_node_has_its_directory_environment_and_group() {
    let script = "pwd; echo $HARNESS_NODE $PYTHONUNBUFFERED; read line || echo no stdin; exec sleep 1000";
    let fixture = sh(script);
    let pid = fixture.cluster.start("A").unwrap();
    fixture.wait_line("no stdin");
    let tail = fixture.cluster.log_tail("A", 10);
    assert!(tail[0].ends_with("/A"), "{tail:?}");
    assert_eq!(tail[1], "A 1");
    assert_eq!(fixture.cluster.log_stats("A").lines, 3);
    let processes = fixture.cluster.processes("A");
    assert_eq!(processes.len(), 1);
    assert_eq!((processes[0].group as u32, processes[0].parent as u32), (pid, fixture.cluster.warden_pid()));
    let again = fixture.cluster.start("A");
    assert!(matches!(again, Err(ClusterError::AlreadyRunning { pid: running, .. }) if running == pid));
}

#[test]
fn signals_the_warden_ignores_still_reach_nodes() {
    let fixture = sh("exec sleep 1000");
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGQUIT] {
        fixture.cluster.start("A").unwrap();
        fixture.cluster.signal("A", signal).unwrap();
        let status = fixture.cluster.wait_exit("A", soon()).unwrap();
        assert_eq!(status.signal, Some(signal as i32));
    }
}

#[test]
fn a_signal_leaves_at_once() {
    let fixture = sh("exec sleep 1000");
    fixture.cluster.start("A").unwrap();
    let mut taken: Vec<Duration> = Vec::new();
    for _ in 0..51 {
        let asked = Instant::now();
        let evidence = fixture.cluster.signal("A", Signal::SIGCONT).unwrap();
        taken.push(evidence.at - asked);
    }
    taken.sort();
    // The median: the machine may be busy with other tests now and then.
    assert!(taken[25] < Duration::from_millis(2), "{taken:?}");
}

#[test]
fn a_stubborn_child_dies_with_its_node() {
    let fixture = sh("(trap '' TERM HUP INT; while :; do sleep 0.1; done) & wait");
    for how in ["kill", "stop", "by itself"] {
        let leader = fixture.cluster.start("A").unwrap();
        eventually("a child", || fixture.cluster.pids("A").len() >= 2);
        let pids = fixture.cluster.pids("A");
        match how {
            "kill" => drop(fixture.cluster.kill("A").unwrap()),
            "stop" => {
                let evidence = fixture.cluster.stop("A", Duration::from_secs(10)).unwrap();
                assert_eq!((evidence.kill, evidence.status.unwrap().signal), (None, Some(15)));
            }
            _ => send("KILL", leader),
        }
        let NodeEvent::Exited { asked, left_behind, .. } = fixture.event() else { panic!("an exit") };
        assert_eq!((asked, left_behind > 0), (how != "by itself", how == "by itself"));
        assert!(!pids.into_iter().any(exists), "{how}");
    }
    assert!(fixture.log().contains("left behind"));
}

#[test]
fn a_node_that_ignores_sigterm_is_killed_after_the_grace_time() {
    let fixture = sh("trap '' TERM; echo up; while :; do sleep 0.05; done");
    fixture.cluster.start("A").unwrap();
    fixture.wait_line("up");
    let evidence = fixture.cluster.stop("A", Duration::from_millis(150)).unwrap();
    assert!(evidence.kill.unwrap().at - evidence.term.at >= Duration::from_millis(150));
    assert_eq!(evidence.status, Some(ExitStatus { code: None, signal: Some(9) }));
}

#[test]
fn pausing_is_proved_and_a_paused_node_can_be_killed() {
    let fixture = sh("(while :; do :; done) & sleep 1000 & while :; do :; done");
    fixture.cluster.start("A").unwrap();
    fixture.wait_processes(3);
    for _ in 0..5 {
        fixture.cluster.signal("A", Signal::SIGSTOP).unwrap();
        assert!(fixture.cluster.wait_state("A", NodeState::Stopped, soon()));
        assert!(fixture.cluster.processes("A").iter().all(|process| process.state == 'T'));
        fixture.cluster.signal("A", Signal::SIGCONT).unwrap();
        assert!(fixture.cluster.wait_state("A", NodeState::Running, soon()));
    }
    fixture.cluster.signal("A", Signal::SIGSTOP).unwrap();
    assert!(fixture.cluster.wait_state("A", NodeState::Stopped, soon()));
    let pids = fixture.cluster.pids("A");
    fixture.cluster.kill("A").unwrap();
    assert_eq!(fixture.cluster.wait_exit("A", soon()).unwrap().signal, Some(9));
    assert!(!pids.into_iter().any(exists));
}

/// Daemonises as the textbook says, with a clean environment if asked to.
const DAEMON: &str = r#"
import os, sys, time
def daemonise(clean):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execve("/bin/sleep", ["sleep", "1000"], {} if clean else os.environ)
        os._exit(0)
    os.wait()
"#;

#[test]
fn a_daemon_is_stopped_and_killed_with_its_node() {
    let script = format!("{DAEMON}\ndaemonise(False)\nprint('up')\ntime.sleep(1000)");
    let Some(fixture) = python(&script, &[]) else { return };
    for round in 1..4 {
        let leader = fixture.cluster.start("A").unwrap();
        eventually("up", || fixture.cluster.log_stats("A").lines == round);
        let pids = fixture.wait_processes(2);
        let daemon = pids.into_iter().find(|pid| *pid != leader).unwrap();
        let evidence = fixture.cluster.signal("A", Signal::SIGSTOP).unwrap();
        assert_eq!(evidence.strays, [daemon]);
        assert!(fixture.cluster.wait_state("A", NodeState::Stopped, soon()));
        fixture.cluster.kill("A").unwrap();
        fixture.cluster.wait_exit("A", soon()).unwrap();
        assert!(!exists(daemon) && !exists(leader));
    }
}

#[test]
fn a_child_with_a_session_and_environment_of_its_own_is_killed_with_its_parent() {
    let script = "import subprocess, time\n\
                  subprocess.Popen(['/bin/sleep', '1000'], env={}, start_new_session=True)\n\
                  print('up')\ntime.sleep(1000)";
    let Some(fixture) = python(script, &[]) else { return };
    let leader = fixture.cluster.start("A").unwrap();
    fixture.wait_line("up");
    let child = fixture.wait_processes(2).into_iter().find(|pid| *pid != leader).unwrap();
    let evidence = fixture.cluster.kill("A").unwrap();
    assert_eq!(evidence.strays, [child]);
    fixture.cluster.wait_exit("A", soon()).unwrap();
    eventually("the child dies", || !exists(child));
}

#[test]
fn a_hundred_megabytes_of_output_cost_little() {
    let fixture =
        sh("head -c 100000000 /dev/zero | tr '\\0' 'x'; echo; yes 'a line of output' | head -n 100000; \
                      echo the end");
    fixture.cluster.start("A").unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    assert_eq!(fixture.cluster.wait_exit("A", deadline).unwrap().code, Some(0));
    let log = fixture.log();
    assert!(log.len() < 1_300_000, "{}", log.len());
    let stats = fixture.cluster.log_stats("A");
    assert!(stats.bytes > 101_700_000 && stats.bytes - stats.dropped_bytes <= 1 << 20, "{stats:?}");
    assert_eq!(fixture.cluster.log_tail("A", 1), ["the end"]);
    let last: Vec<&str> = log.lines().rev().take(2).collect();
    assert!(last[0].ends_with("bytes) beyond the limit"), "{last:?}");
    assert!(last[1].ends_with("| the end"), "{last:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn waiting_for_a_processor_is_counted() {
    let crowd = 3 * std::thread::available_parallelism().map_or(1, usize::from);
    let ids: Vec<String> = (0..crowd).map(|number| format!("n{number}")).collect();
    let spin = ["/bin/sh", "-c", "while :; do :; done"];
    let fixture = launch(|dir| ids.iter().map(|id| spec(dir, id, &spin)).collect());
    for id in &ids {
        fixture.cluster.start(id).unwrap();
    }
    let long = Duration::from_millis(50);
    eventually("somebody waits", || ids.iter().any(|id| fixture.cluster.starved(id) > long));
}

/// All descendants of a process, by the kernel's own lists.
fn below(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(listed.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        next += 1;
    }
    found.remove(0);
    found
}

#[test]
fn shutdown_leaves_nothing_alive() {
    let script = format!("{DAEMON}\ndaemonise(True)\ndaemonise(False)\nprint('up')\ntime.sleep(1000)");
    let Some(fixture) = python(&script, &[]) else { return };
    let leader = fixture.cluster.start("A").unwrap();
    fixture.wait_line("up");
    let warden = fixture.cluster.warden_pid();
    eventually("a node and two daemons", || below(warden).len() == 3);
    let pids = below(warden);
    assert!(pids.contains(&leader));
    let began = Instant::now();
    fixture.cluster.shutdown().unwrap();
    assert!(began.elapsed() < AFTERLIFE, "{:?}", began.elapsed());
    assert!(!pids.into_iter().any(exists) && !exists(warden));
    fixture.cluster.shutdown().unwrap();
    assert!(matches!(fixture.cluster.start("A"), Err(ClusterError::ShutDown)));
    assert!(fixture.log().ends_with("ended with the run\n"));
}

#[test]
fn a_panic_leaves_nothing_alive() {
    let fixture = sh("sleep 1000 & sleep 1000");
    fixture.cluster.start("A").unwrap();
    let pids = fixture.wait_processes(3);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _owned = fixture;
        std::panic::resume_unwind(Box::new("as it happens"));
    }));
    assert!(panicked.is_err() && !pids.into_iter().any(exists));
}

#[test]
fn the_loss_of_the_warden_is_an_event_and_leaves_nothing_alive() {
    for round in 0..20 {
        let fixture =
            sh("(trap '' TERM HUP; while :; do sleep 0.1; done) & (setsid sleep 1000 &); sleep 1000");
        fixture.cluster.start("A").unwrap();
        // Another moment of the node's start each time: time itself is tested.
        std::thread::sleep(Duration::from_millis(round));
        let mark = fixture.cluster.run_mark().to_owned();
        send("KILL", fixture.cluster.warden_pid());
        within(AFTERLIFE, "nothing left", || alive(&mark).is_empty());
        loop {
            match fixture.event() {
                NodeEvent::WardenLost { status, survivors, .. } => {
                    assert_eq!((status.signal, survivors.len()), (Some(9), 0));
                    break;
                }
                // The kernel's SIGKILL and the warden's own may be seen in either order.
                NodeEvent::Exited { node, .. } => assert_eq!(node, "A"),
                event @ NodeEvent::Connects { .. } => panic!("{event:?}"),
            }
        }
        assert!(matches!(fixture.cluster.start("A"), Err(ClusterError::WardenLost)));
        assert!(fixture.cluster.wait_exit("A", soon()).is_some());
        fixture.cluster.shutdown().unwrap();
    }
}

#[test]
fn the_warden_shrugs_off_what_a_terminal_sends_and_is_not_called_harness() {
    let fixture = sh("exec sleep 1000");
    fixture.cluster.start("A").unwrap();
    let warden = fixture.cluster.warden_pid();
    for signal in ["INT", "TERM", "HUP", "QUIT", "TSTP"] {
        send(signal, warden);
    }
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{warden}/{file}")).unwrap();
    assert_eq!(read("comm"), "warden\n");
    assert!(!read("cmdline").contains("harness"));
    // It still serves.
    fixture.cluster.kill("A").unwrap();
    assert!(fixture.cluster.wait_exit("A", soon()).is_some());
    fixture.cluster.start("A").unwrap();
}

#[test]
fn the_warden_is_not_for_people() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_harness")).arg("warden").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing to do by hand"));
}

const DRIVER: &str = "HARNESS_TEST_DRIVER";

/// The other process of [`nothing_outlives_a_kill_of_the_harness`]. By itself it does nothing.
#[test]
fn driver() {
    let Ok(token) = std::env::var(DRIVER) else { return };
    let quiet = format!("exec sleep 1000.{token}");
    let forks = format!(
        "(trap '' TERM HUP INT; while :; do sleep 0.05; done) & (setsid sleep 1000.{token} &); \
         sleep 1000.{token} & wait"
    );
    let dodges =
        format!("env -i setsid sh -c '(sleep 1000.{token} &); exec sleep 1000.{token}' & kill -STOP $$");
    let scripts = [quiet, forks, dodges];
    let fixture = launch(|dir| {
        let nodes = ["A", "B", "C"].iter().zip(&scripts);
        nodes.map(|(id, script)| spec(dir, id, &["/bin/sh", "-c", script])).collect()
    });
    println!("driving {} {}", fixture.cluster.warden_pid(), fixture.cluster.run_mark());
    std::io::stdout().flush().unwrap();
    for node in ["A", "C"] {
        fixture.cluster.start(node).unwrap();
    }
    loop {
        fixture.cluster.start("B").unwrap();
        fixture.cluster.kill("B").unwrap();
        fixture.cluster.wait_exit("B", soon()).unwrap();
    }
}

#[test]
fn nothing_outlives_a_kill_of_the_harness() {
    for round in 0..30_u64 {
        let token = format!("{}{round:02}", std::process::id());
        let mut driver = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "driver", "--nocapture"])
            .env(DRIVER, &token)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("driving ")).unwrap();
        let (_, said) = line.split_once("driving ").unwrap();
        let (warden, mark) = said.split_once(' ').unwrap();
        // Another moment each time, from before the first node to long after the last: time itself is tested.
        std::thread::sleep(Duration::from_millis(round * 7 % 90));
        driver.kill().unwrap();
        driver.wait().unwrap();
        let (warden, needle) = (warden.parse().unwrap(), format!("1000.{token}"));
        within(AFTERLIFE, "nothing left", || {
            !exists(warden) && alive(mark).is_empty() && alive(&needle).is_empty()
        });
    }
}
