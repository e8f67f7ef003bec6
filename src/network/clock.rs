//! Wakes tasks on time. tokio's own timers have a resolution of a millisecond and overshoot by about that much, so
//! on Linux one timerfd serves the earliest of all deadlines.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::lock;

/// Deadlines of what is delayed and throttled.
pub(super) struct Clock {
    deadlines: Mutex<BinaryHeap<Deadline>>,
    alarm: Alarm,
}

struct Deadline {
    at: Instant,
    waker: Waker,
}

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Deadline {}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Deadline {
    /// Reversed: the heap's greatest is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl Clock {
    /// To be called within a tokio runtime. Errors: no timer could be made.
    pub fn new() -> io::Result<Self> {
        Ok(Self { deadlines: Mutex::default(), alarm: Alarm::new()? })
    }

    /// Wakes `waker` at `at`, once.
    pub fn wake_at(&self, at: Instant, waker: &Waker) {
        let mut deadlines = lock(&self.deadlines);
        let earliest = deadlines.peek().is_none_or(|first| at < first.at);
        deadlines.push(Deadline { at, waker: waker.clone() });
        if earliest {
            self.alarm.set(at);
        }
    }

    /// Waits so long. Where tokio has timers it pays for them each time it waits for a socket; so nothing here uses them.
    pub async fn sleep(&self, duration: Duration) {
        let at = Instant::now() + duration;
        let mut asked = false;
        poll_fn(|cx| {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            if !asked {
                asked = true;
                self.wake_at(at, cx.waker());
            }
            Poll::Pending
        })
        .await;
    }

    /// Serves deadlines for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.alarm.rings().await;
            for waker in self.due() {
                waker.wake();
            }
        }
    }

    fn due(&self) -> Vec<Waker> {
        let mut deadlines = lock(&self.deadlines);
        let now = Instant::now();
        let mut due = Vec::new();
        while deadlines.peek().is_some_and(|first| first.at <= now) {
            due.extend(deadlines.pop().map(|deadline| deadline.waker));
        }
        if let Some(first) = deadlines.peek() {
            self.alarm.set(first.at);
        }
        due
    }
}

#[cfg(target_os = "linux")]
struct Alarm(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Alarm {
    fn new() -> io::Result<Self> {
        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let fd = std::os::fd::OwnedFd::from(timer);
        // SAFETY: an OwnedFd is the same open descriptor until it is dropped, and AsyncFd drops it.
        let registered =
            unsafe { tokio::io::unix::AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE) };
        Ok(Self(registered?))
    }

    fn set(&self, at: Instant) {
        use std::os::fd::AsRawFd;
        // Zero would disarm it.
        let wait = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        // SAFETY: the descriptor is an open timerfd, `spec` outlives the call, and the old value is not asked for.
        // It fails only for a bad descriptor or a time out of range, and neither can be.
        unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const spec, std::ptr::null_mut()) };
    }

    async fn rings(&self) {
        while let Ok(mut guard) = self.0.readable().await {
            let mut count = [0; 8];
            match guard.try_io(|fd| nix::unistd::read(fd.get_ref(), &mut count).map_err(io::Error::from)) {
                Ok(_) => return,
                Err(_would_block) => {}
            }
        }
        // The runtime is going away.
        std::future::pending().await
    }
}

#[cfg(not(target_os = "linux"))]
#[derive(Default)]
struct Alarm {
    at: Mutex<Option<Instant>>,
    changed: tokio::sync::Notify,
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    fn set(&self, at: Instant) {
        *lock(&self.at) = Some(at);
        self.changed.notify_one();
    }

    async fn rings(&self) {
        loop {
            let at = *lock(&self.at);
            let Some(at) = at else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {
                    *lock(&self.at) = None;
                    return;
                }
                () = self.changed.notified() => {}
            }
        }
    }
}
