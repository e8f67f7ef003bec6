//! A run while it lasts, on standard error: a live bar on a terminal, a plain line now and then without one, nothing
//! when asked to be quiet. Without a terminal no control code is ever written.
//!
//! The run emits [`RunEvent`]s and counts operations in [`Counters`]; nothing of what is shown feeds back into it.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::style::Style;
use crate::history::Phase;

mod state;

use state::State;

/// Something worth telling that happened in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// A phase began.
    Phase(Phase),
    /// A node's process was started.
    NodeStarted {
        /// Which node.
        node: String,
        /// Its process id.
        pid: u64,
    },
    /// A node answered its readiness request.
    NodeReady {
        /// Which node.
        node: String,
        /// How long after its start.
        after: Duration,
    },
    /// A node's process ended.
    NodeExited {
        /// Which node.
        node: String,
        /// Whether the harness ended it.
        expected: bool,
        /// How: "signal 9", "exit code 1".
        how: String,
    },
    /// A fault began.
    FaultBegan {
        /// Its number within the run.
        id: u64,
        /// "kill B"
        label: String,
    },
    /// A fault was lifted.
    FaultEnded {
        /// Its number within the run.
        id: u64,
        /// Whether evidence shows that it took effect.
        took_effect: bool,
    },
    /// Something the user should know now rather than at the end.
    Warning(String),
}

/// How many operations ended how, so far: ok, fail, info. Asked several times a second.
#[derive(Clone)]
pub struct Counters(Arc<dyn Fn() -> [u64; 3] + Send + Sync>);

impl Counters {
    /// Counts that `read` looks up.
    pub fn new(read: impl Fn() -> [u64; 3] + Send + Sync + 'static) -> Self {
        Counters(Arc::new(read))
    }

    fn read(&self) -> [u64; 3] {
        (self.0)()
    }
}

/// Where and how progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressMode {
    /// A bar that is redrawn: for terminals.
    Live,
    /// A line every 5 s and at every change.
    Lines,
    /// Nothing.
    Quiet,
}

impl ProgressMode {
    /// What suits this process's standard error.
    pub fn choose(quiet: bool) -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        match (quiet, io::stderr().is_terminal() && !dumb) {
            (true, _) => ProgressMode::Quiet,
            (false, true) => ProgressMode::Live,
            (false, false) => ProgressMode::Lines,
        }
    }
}

/// Shows a run while it lasts. Cleared away by [`Progress::finish`] or when dropped.
pub struct Progress {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    started: Instant,
    counters: Counters,
    sink: Mutex<Sink>,
    stop: Condvar,
}

struct Sink {
    state: State,
    show: Show,
    stopped: bool,
}

enum Show {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
    Nothing,
}

/// How often the bar is redrawn.
const REDRAW: Duration = Duration::from_millis(125);
/// The rate shown is that of about so long.
const RATE_OVER: Duration = Duration::from_secs(1);

impl Progress {
    /// Begins to show a run whose main phase lasts for `main`.
    pub fn new(mode: ProgressMode, counters: Counters, main: Duration, epoch: Instant) -> Self {
        let show = match mode {
            ProgressMode::Live => Show::Bar(bar(main)),
            ProgressMode::Lines => Show::Lines(Box::new(io::stderr())),
            ProgressMode::Quiet => Show::Nothing,
        };
        Self::start(show, counters, main, epoch)
    }

    /// The same as lines on `writer`.
    pub fn lines_to(writer: impl Write + Send + 'static, counters: Counters, main: Duration) -> Self {
        Self::start(Show::Lines(Box::new(writer)), counters, main, Instant::now())
    }

    fn start(show: Show, counters: Counters, main: Duration, epoch: Instant) -> Self {
        let tick = match show {
            Show::Bar(_) => Some(REDRAW),
            Show::Lines(_) => Some(RATE_OVER),
            Show::Nothing => None,
        };
        let shared = Arc::new(Shared {
            started: epoch,
            counters,
            sink: Mutex::new(Sink { state: State::new(main), show, stopped: false }),
            stop: Condvar::new(),
        });
        // Without the thread nothing is shown between events; that is no reason to fail a run.
        let ticker = tick.and_then(|every| {
            let shared = shared.clone();
            std::thread::Builder::new().name("progress".into()).spawn(move || shared.tick(every)).ok()
        });
        Progress { shared, ticker }
    }

    /// Takes note of an event and shows it.
    pub fn event(&self, event: &RunEvent) {
        let elapsed = self.shared.started.elapsed();
        let counts = self.shared.counters.read();
        let mut sink = self.shared.lock();
        let line = sink.state.event(elapsed, counts, event);
        sink.show_line(elapsed, line.as_deref());
        sink.draw(elapsed);
    }

    /// Clears the bar away.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.stop.notify_all();
        if let Some(ticker) = self.ticker.take() {
            // A panic there has already been printed; the run goes on without progress.
            let _ = ticker.join();
        }
        if let Show::Bar(bar) = &self.shared.lock().show {
            bar.finish_and_clear();
        }
    }
}

impl Shared {
    /// What is behind the lock is only shown, never decided upon, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self, every: Duration) {
        let mut sink = self.lock();
        while !sink.stopped {
            sink = self.stop.wait_timeout(sink, every).unwrap_or_else(PoisonError::into_inner).0;
            if sink.stopped {
                return;
            }
            let elapsed = self.started.elapsed();
            let due = sink.state.tick(elapsed, self.counters.read());
            match sink.show {
                Show::Lines(_) => sink.show_line(elapsed, due.as_deref()),
                _ => sink.draw(elapsed),
            }
        }
    }
}

impl Sink {
    fn show_line(&mut self, elapsed: Duration, line: Option<&str>) {
        let Some(line) = line else { return };
        match &mut self.show {
            Show::Lines(writer) => {
                // Standard error may be closed; nobody reads it then.
                let _ = writeln!(writer, "[{:6.1} s] {line}", elapsed.as_secs_f64());
                let _ = writer.flush();
            }
            // On a terminal only what the bar cannot say is kept.
            Show::Bar(bar) if self.state.lasting => bar.println(line),
            Show::Bar(_) | Show::Nothing => {}
        }
    }

    fn draw(&self, elapsed: Duration) {
        if let Show::Bar(bar) = &self.show {
            bar.set_position(self.state.position_ms(elapsed));
            bar.set_message(self.state.status(elapsed));
        }
    }
}

fn bar(main: Duration) -> ProgressBar {
    let ascii = Style::stdout().ascii;
    // No colours here: NO_COLOR needs no second thought, and the text is what matters.
    let style = ProgressStyle::with_template("{bar:10} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars(if ascii { "=> " } else { "━╸ " });
    let target = ProgressDrawTarget::stderr_with_hz(10);
    ProgressBar::with_draw_target(Some(main.as_millis() as u64), target).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn without_a_terminal_there_are_no_control_codes() {
        let buffer = Buffer::default();
        let progress = Progress::lines_to(buffer.clone(), Counters::new(|| [0; 3]), s(1.0));
        progress.event(&RunEvent::Phase(Phase::Main));
        progress.event(&RunEvent::Warning("\x1b[2J\rgotcha\nsecond line".into()));
        progress.event(&RunEvent::NodeExited { node: "B".into(), expected: false, how: "signal 11".into() });
        progress.finish();
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text:?}");
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("warning: \\x1b[2J\\x0dgotcha\\nsecond line"), "{text}");
        assert!(text.ends_with("B ended by itself: signal 11\n"), "{text}");
    }

    #[test]
    fn quiet_is_quiet_and_has_no_thread() {
        let progress = Progress::new(ProgressMode::Quiet, Counters::new(|| [0; 3]), s(1.0), Instant::now());
        progress.event(&RunEvent::Phase(Phase::Main));
        assert!(progress.ticker.is_none());
    }

    #[test]
    fn a_live_bar_takes_events_and_goes_away() {
        let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::hidden());
        let progress =
            Progress::start(Show::Bar(bar.clone()), Counters::new(|| [3, 0, 0]), s(1.0), Instant::now());
        progress.event(&RunEvent::Phase(Phase::Main));
        assert!(bar.message().starts_with("main 0.0 of 1 s: 3 ok, 0 fail, 0 info"), "{}", bar.message());
        progress.finish();
        assert!(bar.is_finished());
    }
}
