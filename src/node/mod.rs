//! The bundled systems under test. They share nothing with the rest of the crate: the harness must not know its
//! subject from inside, and what is bundled must be no easier to test than a program nobody here has seen.

/// Prints a line on stderr. That nobody reads it any more must not stop a node, so unlike `eprintln!` it never panics.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let mut line = format!($($part)*);
        line.push('\n');
        // In one piece, beside those of other threads. Where it fails, nobody is left to tell.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }};
}

pub mod answer;
pub mod broadcast;
pub mod http;
pub mod kept;
pub mod log;
pub mod lww;
pub mod pool;
pub mod pubsub;
pub mod quorum;
pub mod random;
pub mod serve;
