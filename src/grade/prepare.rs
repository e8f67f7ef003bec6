//! Making a submission ready: a copy of its own, looked over, and built.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::discover::Submission;
use super::record::Prepared;
use super::rubric::SubmissionRules;
use super::unpack;

/// The last lines of a build that are shown.
const LOG_LINES: usize = 20;
/// The most of a build's output that is kept, bytes.
const LOG_BYTES: u64 = 1 << 20;
const POLL: Duration = Duration::from_millis(20);

/// A submission that was made ready, or refused.
#[derive(Clone, Debug)]
pub struct Ready {
    /// What the journal says.
    pub prepared: Prepared,
    /// Its own folder.
    pub dir: PathBuf,
}

/// Copies or unpacks `submission` into `work` (made anew), looks for what the rules require, and builds it. `stop` tells
/// whether somebody wants the build to end.
///
/// # Errors
/// When our own disk does not take it; what is wrong with the submission is in [`Prepared::refused`].
pub fn prepare(
    submission: &Submission,
    rules: &SubmissionRules,
    work: &Path,
    stop: &(dyn Fn() -> bool + Sync),
) -> io::Result<Ready> {
    if work.exists() {
        fs::remove_dir_all(work)?;
    }
    let code = work.join("code");
    fs::create_dir_all(&code)?;
    let code = code.canonicalize()?;
    let mut prepared = Prepared {
        submission: submission.name.clone(),
        fingerprint: fingerprint(&submission.path)?,
        refused: None,
        log: Vec::new(),
    };
    let taken = if submission.path.is_dir() {
        copy(&submission.path, &code, &mut rules.max_size.clone()).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => format!("it has more than {} bytes", rules.max_size),
            _ => format!("it cannot be copied: {error}"),
        })
    } else {
        unpack::unpack(&submission.path, &code, rules.max_size).map_err(|error| error.to_string())
    };
    let dir = unpack::root(&code);
    let refused = taken.err().or_else(|| missing(&dir, &rules.requires));
    prepared.refused = refused;
    if let (None, Some(command)) = (&prepared.refused, &rules.build) {
        let log = work.join("build.log");
        let built = build(command, &dir, rules, &log, stop);
        if let Err(why) = built {
            prepared.refused = Some(why);
            prepared.log = tail(&log);
        }
    }
    Ok(Ready { prepared, dir })
}

fn missing(dir: &Path, requires: &[String]) -> Option<String> {
    let missing: Vec<&str> =
        requires.iter().map(String::as_str).filter(|file| !dir.join(file).is_file()).collect();
    (!missing.is_empty()).then(|| format!("it has no {}", missing.join(", no ")))
}

/// Copies files and folders; links are left out, as they may lead anywhere. `left` is how many bytes may still come.
fn copy(from: &Path, to: &Path, left: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target, left)?;
        } else if kind.is_file() {
            let size = entry.metadata()?.len();
            *left = left.checked_sub(size).ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A number that changes with the names and contents of a submission's files.
fn fingerprint(path: &Path) -> io::Result<String> {
    let mut files = BTreeMap::new();
    list(path, path, &mut files)?;
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    let mut buffer = vec![0; 64 * 1024];
    for (name, path) in files {
        hash.write(name.as_bytes());
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => hash.write(&buffer[..count]),
            }
        }
        hash.write(&[0]);
    }
    Ok(format!("{:016x}", hash.finish()))
}

fn list(root: &Path, path: &Path, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    if path.is_file() {
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        files.insert(name, path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_type()?.is_symlink() {
            list(root, &entry.path(), files)?;
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits: the same on every machine and in every release, which the standard library's is not.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Builds in the submission's folder; nothing of it is left running.
fn build(
    command: &str,
    dir: &Path,
    rules: &SubmissionRules,
    log: &Path,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<(), String> {
    use std::os::unix::process::CommandExt as _;
    let words = shell_words::split(command).map_err(|error| error.to_string())?;
    let (program, arguments) = words.split_first().ok_or("the build is empty")?;
    let told = |error: io::Error| format!("the build `{command}` cannot be started: {error}");
    let output = File::create(log).map_err(told)?;
    let mut build = Command::new(program);
    build.args(arguments).current_dir(dir).envs(&rules.env).stdin(Stdio::null());
    build.stdout(output.try_clone().map_err(told)?).stderr(output).process_group(0);
    let mut child = build.spawn().map_err(told)?;
    let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let deadline = Instant::now() + rules.build_timeout;
    let ended = loop {
        let size = fs::metadata(log).map_or(0, |log| log.len());
        match child.try_wait().map_err(told)? {
            Some(status) if status.success() => break Ok(()),
            Some(status) => break Err(format!("the build `{command}` failed ({status})")),
            None if size > LOG_BYTES => {
                break Err(format!("the build `{command}` wrote more than {LOG_BYTES} bytes"));
            }
            None if Instant::now() > deadline => {
                let seconds = rules.build_timeout.as_secs_f64();
                break Err(format!("the build `{command}` took longer than {seconds} s"));
            }
            None if stop() => break Err("the grading was interrupted".to_owned()),
            None => std::thread::sleep(POLL),
        }
    };
    // Its children too, and when it has ended by itself: a build that goes on is none. That it is gone already is no error.
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    let _ = child.wait();
    ended
}

/// The last lines of a file.
fn tail(path: &Path) -> Vec<String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(16 * 1024)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..]
        .iter()
        .map(|line| line.chars().take(300).collect())
        .collect()
}

/// How a node of the submission starts: in a copy of the submission's folder that is its own.
pub fn node_command(rules: &SubmissionRules) -> String {
    rules.node.replace(super::rubric::DIR, ".")
}
