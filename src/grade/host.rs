//! How busy the machine is while it grades: a run on a machine that has no time for it proves little.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::record::HostLoad;

const EVERY: Duration = Duration::from_millis(100);
/// A thread that is ready and does not run for so long, ms, is one that others keep from running.
const LATE_MS: u64 = 750;
/// Less memory than that, bytes, and everything is swapped or killed.
const LITTLE: u64 = 64 << 20;

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    late_ms: u64,
    /// CPU time, in the kernel's ticks: busy and all.
    busy: u64,
    all: u64,
    available: u64,
}

/// Watches the machine until it is dropped.
#[derive(Debug)]
pub struct HostWatch {
    samples: Arc<Mutex<Vec<Sample>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HostWatch {
    /// Begins to watch.
    pub fn start() -> Self {
        let samples = Arc::new(Mutex::new(vec![sample(Instant::now(), Duration::ZERO)]));
        let over = Arc::new(AtomicBool::new(false));
        let (theirs, done) = (Arc::clone(&samples), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let due = Instant::now() + EVERY;
                std::thread::sleep(EVERY);
                let now = Instant::now();
                theirs.lock().unwrap_or_else(PoisonError::into_inner).push(sample(now, now - due));
            }
        });
        HostWatch { samples, over, thread: Some(thread) }
    }

    /// What it saw since a moment.
    pub fn since(&self, began: Instant) -> HostLoad {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let from = samples.partition_point(|sample| sample.at < began).saturating_sub(1);
        let seen = &samples[from..];
        let (Some(first), Some(last)) = (seen.first(), seen.last()) else { return HostLoad::default() };
        let all = last.all.saturating_sub(first.all);
        let share = last.busy.saturating_sub(first.busy) as f64 / all.max(1) as f64;
        HostLoad {
            busy: (share * 1000.0).round() / 1000.0,
            late_ms: seen.iter().skip(1).map(|sample| sample.late_ms).max().unwrap_or_default(),
            available: seen.iter().map(|sample| sample.available).min().unwrap_or_default(),
        }
    }
}

impl Drop for HostWatch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say when it is over.
            let _ = thread.join();
        }
    }
}

impl HostLoad {
    /// Whether the machine had too little of anything for a run to count against somebody.
    pub fn is_overload(&self) -> bool {
        self.late_ms > LATE_MS || (self.available > 0 && self.available < LITTLE)
    }
}

fn sample(at: Instant, late: Duration) -> Sample {
    let (busy, all) = cpu_ticks().unwrap_or_default();
    let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
    Sample { at, late_ms, busy, all, available: available().unwrap_or_default() }
}

/// (busy, all) ticks of all CPUs since the start of the machine; `None` where there is no /proc.
fn cpu_ticks() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<u64> =
        text.lines().next()?.split_ascii_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
    let all: u64 = ticks.iter().take(8).sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((all - idle, all))
}

fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? << 10)
}
