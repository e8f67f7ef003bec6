//! What the operating system says of processes: who is whose child, in which group, in which state.
//!
//! On Linux it is read from `/proc`; elsewhere from `ps`, which knows neither environments nor start times.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// A process id as the kernel counts.
pub(crate) type Pid = libc::pid_t;

/// Names the run in each node's environment: what left its group, its session and its parent is known by it.
pub(crate) const RUN_VARIABLE: &str = "HARNESS_RUN";
/// Names the node in its environment.
pub(crate) const NODE_VARIABLE: &str = "HARNESS_NODE";

/// One row of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: Pid,
    /// Its parent's.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// Its session; 0 where the system does not tell.
    pub session: Pid,
    /// `R` running, `S` or `D` asleep, `T` or `t` stopped, `Z` or `X` dead (proc_pid_stat(5)).
    pub state: char,
}

impl Process {
    /// Whether it still exists as more than an entry its parent has not collected.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    /// Whether it is stopped by a signal, or dead: it certainly runs no code.
    pub fn is_still(&self) -> bool {
        matches!(self.state, 'T' | 't' | 'Z' | 'X')
    }
}

/// Every process there is. Not a snapshot: a process may come or go while it is being read, so whoever kills by
/// it must look again until nothing is left.
#[cfg(target_os = "linux")]
pub(crate) fn table() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok());
    pids.filter_map(lookup).collect()
}

/// One process, if it exists.
#[cfg(target_os = "linux")]
pub(crate) fn lookup(pid: Pid) -> Option<Process> {
    parse_stat(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether a process runs no code of its own: it is dead, traced and halted, or a stop signal has reached it.
///
/// One thread in state `T` is enough. Whichever thread takes SIGSTOP up tells all others to stop before it does so
/// itself (signal(7); do_signal_stop in the kernel), and they stop before their next instruction in user mode. On a busy machine
/// they may wait for a processor to do so for longer than the stop lasts, and read `R` until then.
#[cfg(target_os = "linux")]
pub(crate) fn is_still(process: &Process) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", process.pid)) else { return true };
    let stat = |task: std::fs::DirEntry| parse_stat(&std::fs::read(task.path().join("stat")).ok()?);
    threads_are_still(&tasks.flatten().filter_map(stat).collect::<Vec<_>>())
}

#[cfg(target_os = "linux")]
fn threads_are_still(threads: &[Process]) -> bool {
    threads.iter().any(|thread| thread.state == 'T') || threads.iter().all(Process::is_still)
}

/// How long the thread of a process that waited longest for a processor, ready to run, has done so: nanoseconds of
/// run_delay (Documentation/scheduler/sched-stats). Zero where the kernel does not count it.
#[cfg(target_os = "linux")]
pub(crate) fn starved(pid: Pid) -> Duration {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let delay = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Duration::from_nanos(tasks.flatten().filter_map(delay).max().unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn starved(_pid: Pid) -> Duration {
    Duration::ZERO
}

/// `pid (comm) state ppid pgrp session …`; comm may hold spaces, parentheses and newlines.
#[cfg(target_os = "linux")]
fn parse_stat(stat: &[u8]) -> Option<Process> {
    let text = String::from_utf8_lossy(stat);
    let (head, tail) = text.rsplit_once(')')?;
    let mut fields = tail.split_ascii_whitespace();
    Some(Process {
        pid: head.split_once(' ')?.0.parse().ok()?,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        session: fields.next()?.parse().ok()?,
    })
}

/// Whether the process was started with `RUN_VARIABLE=run` and, where asked, `NODE_VARIABLE=node`.
#[cfg(target_os = "linux")]
fn is_marked(pid: Pid, run: &str, node: Option<&str>) -> bool {
    let Some(environment) = environment(pid) else { return false };
    let has = |name: &str, value: &str| {
        environment.split(|byte| *byte == 0).any(|entry| {
            entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
                == Some(value.as_bytes())
        })
    };
    has(RUN_VARIABLE, run) && node.is_none_or(|node| has(NODE_VARIABLE, node))
}

/// The environment a process was started with; `None` where it may not be read.
///
/// While a process is in execve(2), what is read may end early, or be empty: it is read again until it has its full length.
#[cfg(target_os = "linux")]
fn environment(pid: Pid) -> Option<Vec<u8>> {
    const LONGEST_EXEC: Duration = Duration::from_secs(1);
    let began = std::time::Instant::now();
    loop {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        if environment_bytes(pid).is_none_or(|bytes| bytes == environment.len() as u64)
            || began.elapsed() > LONGEST_EXEC
        {
            return Some(environment);
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// The length of a process's environment, by where that begins and ends (`env_start` and `env_end`, fields 50 and 51 of
/// proc_pid_stat(5)); `None` for a dead process. In execve(2) these mean nothing before `endcode` (field 27) is set: the
/// length is `u64::MAX` until then.
#[cfg(target_os = "linux")]
fn environment_bytes(pid: Pid) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&stat);
    let (_, tail) = text.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    if matches!(fields.first(), Some(&("Z" | "X" | "x"))) {
        return None;
    }
    let field =
        |number: usize| fields.get(number - 3).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Some(if field(27) == 0 { u64::MAX } else { field(51).saturating_sub(field(50)) })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn table() -> Vec<Process> {
    let listing = std::process::Command::new("ps").args(["-A", "-o", "pid=,ppid=,pgid=,stat="]).output();
    let Ok(listing) = listing else { return Vec::new() };
    String::from_utf8_lossy(&listing.stdout).lines().filter_map(parse_ps).collect()
}

/// Whether a process is stopped, or dead.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_still(process: &Process) -> bool {
    process.is_still()
}

#[cfg(not(target_os = "linux"))]
fn is_marked(_pid: Pid, _run: &str, _node: Option<&str>) -> bool {
    false
}

/// A line of `ps -o pid=,ppid=,pgid=,stat=`.
#[cfg(any(test, not(target_os = "linux")))]
fn parse_ps(line: &str) -> Option<Process> {
    let mut fields = line.split_ascii_whitespace();
    Some(Process {
        pid: fields.next()?.parse().ok()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        session: 0,
        state: fields.next()?.chars().next()?,
    })
}

/// The direct children of a process. Cheap where the kernel lists them (CONFIG_PROC_CHILDREN): one read a thread.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    if let Some(listed) = listed_children(pid) {
        return listed;
    }
    table().into_iter().filter(|process| process.parent == pid).map(|process| process.pid).collect()
}

/// As [`children`], but only if that is cheap.
#[cfg(target_os = "linux")]
pub(crate) fn listed_children(pid: Pid) -> Option<Vec<Pid>> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let listed = std::fs::read_to_string(task.path().join("children")).ok()?;
        found.extend(listed.split_ascii_whitespace().filter_map(|word| word.parse::<Pid>().ok()));
    }
    Some(found)
}

/// As [`children`], but only if that is cheap.
#[cfg(not(target_os = "linux"))]
pub(crate) fn listed_children(_pid: Pid) -> Option<Vec<Pid>> {
    None
}

/// All descendants of `roots`, the roots included.
pub(crate) fn descendants(table: &[Process], roots: impl IntoIterator<Item = Pid>) -> HashSet<Pid> {
    let mut by_parent: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for process in table {
        by_parent.entry(process.parent).or_default().push(process.pid);
    }
    let mut found = HashSet::new();
    let mut open: Vec<Pid> = roots.into_iter().collect();
    while let Some(pid) = open.pop() {
        if found.insert(pid) {
            open.extend(by_parent.get(&pid).into_iter().flatten());
        }
    }
    found
}

/// All processes of a run: descendants of its warden, members of the warden's session, and those that carry the
/// run's mark, the warden itself excluded. Dead ones that were not collected are included.
pub(crate) fn of_run(table: &[Process], warden: Pid, run: &str) -> Vec<Process> {
    let kin = descendants(table, [warden]);
    let belongs = |process: &&Process| {
        kin.contains(&process.pid) || process.session == warden || is_marked(process.pid, run, None)
    };
    table.iter().filter(|process| process.pid != warden).filter(belongs).cloned().collect()
}

/// All processes of one node: its group, their descendants, and those of the run that left both but carry the
/// node's mark. `leader` is the process that was started.
pub(crate) fn of_node(table: &[Process], warden: Pid, leader: Pid, run: &str, node: &str) -> Vec<Process> {
    let in_group = table.iter().filter(|process| process.group == leader || process.pid == leader);
    let mut found = descendants(table, in_group.map(|process| process.pid));
    let kin = descendants(table, [warden]);
    let marked = table.iter().filter(|process| {
        let candidate = kin.contains(&process.pid) && process.pid != warden && process.is_alive();
        candidate && !found.contains(&process.pid) && is_marked(process.pid, run, Some(node))
    });
    let marked: Vec<Pid> = marked.map(|process| process.pid).collect();
    found.extend(descendants(table, marked));
    table.iter().filter(|process| found.contains(&process.pid)).cloned().collect()
}

/// How a child ended (exit code or signal), if it has, without collecting it: its pid stays its own.
///
/// # Errors
/// ECHILD when it is not a child of this process.
pub(crate) fn peek_end(pid: Pid) -> std::io::Result<Option<(Option<i32>, Option<i32>)>> {
    // SAFETY: an all-zero siginfo_t is valid, and waitid fills it in.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` outlives the call.
    if unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, flags) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: waitid filled in the fields of a child's end, or left the pid zero.
    let (ended, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match (ended, info.si_code) {
        (0, _) => None,
        (_, libc::CLD_EXITED) => Some((Some(status), None)),
        _ => Some((None, Some(status))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_hostile_name_does_not_confuse_the_table() {
        let process = parse_stat(b"42 (a) R 1 (b\n) S 7 42 40 0 -1").unwrap();
        assert_eq!(process, Process { pid: 42, parent: 7, group: 42, session: 40, state: 'S' });
        assert_eq!(parse_stat(b"42 (half"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn one_stopped_thread_tells_of_all() {
        let threads = |states: &str| -> Vec<Process> {
            states.chars().map(|state| Process { pid: 1, parent: 0, group: 1, session: 1, state }).collect()
        };
        for still in ["T", "TTT", "RTS", "TR", "Zt", "Z", ""] {
            assert!(threads_are_still(&threads(still)), "{still}");
        }
        for running in ["R", "S", "ZS", "tR", "DS"] {
            assert!(!threads_are_still(&threads(running)), "{running}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_mark_is_seen_in_the_middle_of_an_exec_too() {
        let again = "exec /bin/sh -c \"$0\" \"$0\"";
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", again, again])
            .env(RUN_VARIABLE, "exec")
            .env(NODE_VARIABLE, "A")
            .spawn()
            .unwrap();
        let pid = child.id() as Pid;
        let missed = (0..20_000).filter(|_| !is_marked(pid, "exec", Some("A"))).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(missed, 0);
    }

    #[test]
    fn a_line_of_ps() {
        let expected = Process { pid: 42, parent: 7, group: 41, session: 0, state: 'S' };
        assert_eq!(parse_ps("   42  7 41 Ss+"), Some(expected));
        assert_eq!(parse_ps("PID"), None);
    }

    #[test]
    fn this_process_is_in_the_table_below_its_parent() {
        let table = table();
        let own = std::process::id() as Pid;
        let row = table.iter().find(|process| process.pid == own).unwrap();
        assert!(row.is_alive() && !row.is_still());
        assert!(descendants(&table, [row.parent]).contains(&own));
        assert!(!descendants(&table, [own]).contains(&row.parent));
    }

    #[test]
    fn a_node_is_its_group_and_their_descendants() {
        let process = |pid, parent, group| Process { pid, parent, group, session: 1, state: 'S' };
        // 10 leads; 11 is in its group; 12 left the group below 11; 20 belongs to another node.
        let table = [process(1, 0, 1), process(10, 1, 10), process(11, 10, 10)];
        let table = [&table[..], &[process(12, 11, 12), process(20, 1, 20)]].concat();
        let pids = |found: Vec<Process>| found.iter().map(|process| process.pid).collect::<Vec<_>>();
        assert_eq!(pids(of_node(&table, 1, 10, "no such run", "A")), [10, 11, 12]);
        assert_eq!(pids(of_run(&table, 1, "no such run")), [10, 11, 12, 20]);
    }
}
