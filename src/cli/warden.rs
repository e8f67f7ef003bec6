//! `harness warden`: the process that outlives the harness just long enough. Not for people.

use std::process::ExitCode;

use crate::cluster::warden;

/// Serves the harness on stdin.
pub(super) fn main() -> ExitCode {
    match warden::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = match error.kind() {
                std::io::ErrorKind::InvalidInput => super::EXIT_USAGE,
                _ => super::EXIT_BROKEN,
            };
            eprintln!("harness warden: {error}");
            ExitCode::from(code)
        }
    }
}
