//! Ctrl-C, SIGTERM and SIGHUP: asked once, a run ends early and cleans up; asked twice, it is killed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody asked the process to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// Listens from now on, on a thread of its own. The second request ends the process at once with code 130: the
    /// warden then cleans up what is left.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn install() -> io::Result<Self> {
        let interrupt = Self::default();
        let asked = Arc::clone(&interrupt.0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut int, mut term, mut hup) = {
            let _context = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            )
        };
        let listen = move || {
            runtime.block_on(async {
                loop {
                    tokio::select! { _ = int.recv() => {}, _ = term.recv() => {}, _ = hup.recv() => {} }
                    if asked.fetch_add(1, Ordering::SeqCst) >= 1 {
                        std::process::exit(130);
                    }
                }
            });
        };
        std::thread::Builder::new().name("signals".into()).spawn(listen)?;
        Ok(interrupt)
    }

    /// Whether it was asked for.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}
