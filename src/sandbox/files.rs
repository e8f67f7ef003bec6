//! Files and signals, by Landlock.

use std::io;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope,
};

/// Devices every program expects to write to.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Keeps this process and all it starts from writing anywhere but below `writable`, and from signalling anybody outside.
/// What this kernel does not know is left out: [`probe`] tells.
pub(super) fn restrict(writable: &[PathBuf]) -> io::Result<()> {
    let status = ruleset(writable).map_err(io::Error::other)?;
    match status {
        RulesetStatus::NotEnforced => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel has no Landlock"))
        }
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

fn ruleset(writable: &[PathBuf]) -> Result<RulesetStatus, landlock::RulesetError> {
    let abi = ABI::V6;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(abi))?
        .scope(Scope::Signal)?
        .create()?;
    for path in writable.iter().map(PathBuf::as_path).chain(DEVICES.iter().map(std::path::Path::new)) {
        // What does not exist cannot be written to either.
        let Ok(folder) = PathFd::new(path) else { continue };
        let access = if path.is_dir() { AccessFs::from_all(abi) } else { AccessFs::from_file(abi) };
        rules = rules.add_rule(PathBeneath::new(folder, access & AccessFs::from_write(abi)))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Whether writing and signalling are really refused, (files, signals): a thread of its own tries.
pub(super) fn probe() -> (bool, bool) {
    let trial = std::env::temp_dir().join(format!("harness-probe-{}", std::process::id()));
    let parent = nix::unistd::getppid();
    let tried = std::thread::spawn(move || {
        if restrict(&[]).is_err() {
            return (false, false);
        }
        let files =
            std::fs::write(&trial, "").is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        if !files {
            let _ = std::fs::remove_file(&trial);
        }
        // Signal 0 asks whether one may.
        let signals = nix::sys::signal::kill(parent, None) == Err(nix::errno::Errno::EPERM);
        (files, signals)
    });
    tried.join().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let (own, other) = (dir.path().join("own"), dir.path().join("other"));
        std::fs::create_dir(&own).unwrap();
        std::fs::write(&other, "mine").unwrap();
        let (inside, theirs) = (own.clone(), other.clone());
        let tried = std::thread::spawn(move || {
            if restrict(std::slice::from_ref(&inside)).is_err() {
                return None;
            }
            let wrote = std::fs::write(inside.join("a"), "a")
                .and_then(|()| std::fs::rename(inside.join("a"), inside.join("b")));
            let kept = std::fs::write(&theirs, "x").is_err() && std::fs::remove_file(&theirs).is_err();
            Some((
                wrote.is_ok(),
                kept,
                std::fs::read_to_string(&theirs).is_ok(),
                std::fs::write("/dev/null", "x").is_ok(),
            ))
        });
        let Some(tried) = tried.join().unwrap() else {
            eprintln!("skipped: this kernel has no Landlock");
            return;
        };
        assert_eq!(tried, (true, true, true, true));
        assert_eq!(std::fs::read_to_string(other).unwrap(), "mine");
        assert!(probe().0);
    }
}
