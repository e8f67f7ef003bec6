//! The bundled systems under test. They share nothing with the rest of the crate: the harness must not know its
//! subject from inside, and what is bundled must be no easier to test than a program nobody here has seen.

/// Prints a line on stderr. That nobody reads it any more must not stop a node, so unlike `eprintln!` it never panics.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        // Nobody is left to tell.
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

pub mod answer;
pub mod http;
pub mod kept;
pub mod log;
pub mod lww;
pub mod pool;
pub mod quorum;
pub mod random;
pub mod serve;
