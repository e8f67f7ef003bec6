//! How busy the machine is, and whether a run on it may be held against anybody.
//!
//! A share of busy CPUs says little: a machine may be at work all the time and still wake up every sleeper at once. What
//! hurts a run is that a process which could go on has to wait, so a thread measures just that: it sleeps for a moment, again
//! and again, and sees how late it wakes.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::record::HostLoad;

/// How long the watch sleeps each time.
const NAP: Duration = Duration::from_millis(10);
/// A wake-up so late is counted: ten times a healthy machine's worst.
const LATE: Duration = Duration::from_millis(50);
/// The share of late wake-ups from which on a machine is overloaded.
const LATE_SHARE: f64 = 0.05;
/// A single wake-up so late is too much: usual timeouts of clients are one or two seconds.
const STANDSTILL: Duration = Duration::from_millis(1_000);
/// Less memory than this, and the system swaps or kills.
const LEAST_MEMORY: u64 = 64 << 20;
/// How often memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(500);

/// Watches the machine until it is dropped.
#[derive(Debug)]
pub struct HostWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    windows: Mutex<Windows>,
    stop: Condvar,
}

#[derive(Debug, Default)]
struct Windows {
    open: BTreeMap<u64, Window>,
    next: u64,
    stopped: bool,
}

#[derive(Clone, Debug, Default)]
struct Window {
    naps: u64,
    late: u64,
    latest: Duration,
    available: Option<u64>,
}

/// What the machine was like over some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Weather {
    /// As records have it.
    pub load: HostLoad,
    /// Why a failure in that time proves little; `None`: it was calm.
    pub overload: Option<String>,
    /// How much CPU time all processes took, seconds; `None`: the system does not tell.
    pub cpu_s: Option<f64>,
}

/// A stretch of time that is being watched.
#[derive(Debug)]
pub struct Stretch<'a> {
    watch: &'a HostWatch,
    id: u64,
    cpu: Option<Cpu>,
}

impl HostWatch {
    /// Begins to watch. Without a thread of its own it sees nothing, and every stretch is calm.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("host".into()).spawn(move || own.watch()).ok();
        HostWatch { shared, thread }
    }

    /// A stretch of time begins.
    pub fn begin(&self) -> Stretch<'_> {
        let mut windows = self.shared.lock();
        let id = windows.next;
        windows.next += 1;
        windows.open.insert(id, Window { available: available(), ..Window::default() });
        Stretch { watch: self, id, cpu: Cpu::now() }
    }
}

impl Drop for HostWatch {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell; a panic in it has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Counts are whole after each change, so a poisoned lock is as good.
    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut memory_at = Instant::now();
        let mut windows = self.lock();
        while !windows.stopped {
            let asleep = Instant::now();
            windows = self.stop.wait_timeout(windows, NAP).unwrap_or_else(PoisonError::into_inner).0;
            let late = asleep.elapsed().saturating_sub(NAP);
            let memory = (memory_at.elapsed() > MEMORY_EVERY).then(available).flatten();
            if memory.is_some() {
                memory_at = Instant::now();
            }
            for window in windows.open.values_mut() {
                window.add(late, memory);
            }
        }
    }
}

impl Window {
    fn add(&mut self, late: Duration, memory: Option<u64>) {
        self.naps += 1;
        self.late += u64::from(late >= LATE);
        self.latest = self.latest.max(late);
        self.available = match (self.available, memory) {
            (Some(least), Some(now)) => Some(least.min(now)),
            (one, other) => one.or(other),
        };
    }

    fn overload(&self) -> Option<String> {
        let share = self.late as f64 / self.naps.max(1) as f64;
        if self.latest >= STANDSTILL {
            return Some(format!("the machine stood still for {} ms", self.latest.as_millis()));
        }
        if share >= LATE_SHARE {
            let (percent, late) = (share * 100.0, LATE.as_millis());
            return Some(format!(
                "processes had to wait for a CPU: {percent:.0}% of wake-ups were {late} ms late"
            ));
        }
        match self.available {
            Some(available) if available < LEAST_MEMORY => {
                Some(format!("the machine had only {} MiB of memory left", available >> 20))
            }
            _ => None,
        }
    }
}

impl Stretch<'_> {
    /// It is over.
    pub fn end(self) -> Weather {
        let window = self.watch.shared.lock().open.remove(&self.id).unwrap_or_default();
        let spent = self.cpu.zip(Cpu::now()).map(|(before, after)| after.since(before));
        let busy = spent.map_or(0.0, |spent| spent.busy / spent.total.max(f64::MIN_POSITIVE));
        Weather {
            overload: window.overload(),
            load: HostLoad {
                busy: (busy.clamp(0.0, 1.0) * 1e3).round() / 1e3,
                late_ms: u64::try_from(window.latest.as_millis()).unwrap_or(u64::MAX),
                available: window.available.unwrap_or(0),
            },
            cpu_s: spent.map(|spent| spent.busy),
        }
    }
}

/// CPU time of all CPUs together since the system started, s.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    busy: f64,
    total: f64,
}

impl Cpu {
    fn now() -> Option<Self> {
        // SAFETY: sysconf has no preconditions.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Self::parse(&fs::read_to_string("/proc/stat").ok()?, ticks as f64)
    }

    /// The first line of /proc/stat (proc_stat(5)): user nice system idle iowait irq softirq steal; guests are in user. What the
    /// hypervisor took for others counts as busy.
    fn parse(text: &str, ticks: f64) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<f64> =
            line.split_ascii_whitespace().take(8).map(|field| field.parse().unwrap_or(0.0)).collect();
        let idle = fields.get(3)? + fields.get(4)?;
        let total: f64 = fields.iter().sum();
        Some(Cpu { busy: (total - idle) / ticks, total: total / ticks })
    }

    fn since(self, before: Cpu) -> Cpu {
        Cpu { busy: (self.busy - before.busy).max(0.0), total: (self.total - before.total).max(0.0) }
    }
}

/// MemAvailable of /proc/meminfo, bytes.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib << 10)
}

/// How many runs a machine bears side by side where nobody says: one for every two CPUs, as a run is three nodes and a
/// harness that all want to wake up on time; one for every 768 MiB of free memory; and no more than 32.
pub fn usual_jobs() -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get());
    jobs_for(cpus, available())
}

fn jobs_for(cpus: usize, available: Option<u64>) -> usize {
    let by_memory = available.map_or(usize::MAX, |bytes| (bytes / (768 << 20)) as usize);
    (cpus / 2).min(by_memory).clamp(1, 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_judged_by_how_late_sleepers_wake() {
        let ms = Duration::from_millis;
        let window = |lates: &[u64], memory: u64| {
            let mut window = Window { available: Some(memory), ..Window::default() };
            lates.iter().for_each(|late| window.add(ms(*late), None));
            window.overload()
        };
        let calm = [vec![1; 90], vec![60; 4]].concat();
        assert_eq!(window(&calm, 1 << 30), None);
        let slow = [vec![1; 90], vec![60; 10]].concat();
        assert_eq!(
            window(&slow, 1 << 30).unwrap(),
            "processes had to wait for a CPU: 10% of wake-ups were 50 ms late"
        );
        assert_eq!(window(&[0, 1_200, 0], 1 << 30).unwrap(), "the machine stood still for 1200 ms");
        assert_eq!(window(&[0], 32 << 20).unwrap(), "the machine had only 32 MiB of memory left");
        assert_eq!(window(&[], 1 << 30), None);
    }

    #[test]
    fn the_kernel_s_counters_are_read() {
        let at = |busy: u64, idle: u64| {
            Cpu::parse(&format!("cpu  {busy} 0 100 {idle} 50 0 0 0 9 9\ncpu0 1"), 100.0)
        };
        let spent = at(500, 1_000).unwrap().since(at(200, 900).unwrap());
        assert_eq!((spent.busy, spent.total), (3.0, 4.0));
        assert!(Cpu::parse("", 100.0).is_none());
    }

    #[test]
    fn jobs_are_what_the_machine_bears() {
        let gib = |count: u64| Some(count << 30);
        assert_eq!(jobs_for(2, gib(8)), 1);
        assert_eq!(jobs_for(1, None), 1);
        assert_eq!(jobs_for(16, gib(64)), 8);
        assert_eq!(jobs_for(16, gib(3)), 4);
        assert_eq!(jobs_for(256, gib(999)), 32);
    }

    #[test]
    fn a_stretch_is_measured() {
        let watch = HostWatch::start();
        let stretch = watch.begin();
        let naps = || watch.shared.lock().open.values().next().unwrap().naps;
        let deadline = Instant::now() + Duration::from_secs(60);
        while naps() < 3 && Instant::now() < deadline {
            std::thread::sleep(NAP);
        }
        assert!(naps() >= 3);
        let weather = stretch.end();
        if cfg!(target_os = "linux") {
            assert!(weather.load.available > 0 && weather.cpu_s.is_some(), "{weather:?}");
        }
        assert!((0.0..=1.0).contains(&weather.load.busy));
        assert!(watch.shared.lock().open.is_empty());
    }
}
