//! What a run left beside its results, as far as the page shows it: the history, the nodes' logs, the workload.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::messages::Messages;
use crate::history::History;
use crate::report::Results;

/// How much of a log's end is shown, in bytes.
const LOG_BYTES: u64 = 192 << 10;
/// How much of all logs together.
const ALL_LOG_BYTES: u64 = 4 << 20;
/// How much of the workload is shown, in bytes.
const WORKLOAD_BYTES: u64 = 256 << 10;
/// How much of the messages is read, in bytes: more than a run writes.
const MESSAGE_BYTES: u64 = 64 << 20;

/// All of it. What is not there is not shown, and the page says so.
#[derive(Clone, Debug, Default)]
pub struct Beside<'a> {
    /// Every operation.
    pub history: Option<&'a History>,
    /// The nodes' logs, in the workload's order.
    pub logs: Vec<NodeLog>,
    /// The workload as it was run, in TOML.
    pub workload: Option<String>,
    /// What passed over the links, where a proof is drawn.
    pub messages: Messages,
}

/// The end of one node's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeLog {
    /// The node.
    pub node: String,
    /// Its last lines, each with its time in seconds first.
    pub text: String,
    /// Bytes before those, which are left out.
    pub left_out: u64,
}

impl<'a> Beside<'a> {
    /// What is in a run's `folder` that its page shows. A file that cannot be read is taken as absent: the page is the
    /// better for whatever there is.
    pub fn read(folder: &Path, results: &Results, history: Option<&'a History>) -> Self {
        let nodes: Vec<&str> = results.nodes.iter().map(|node| node.id.as_str()).collect();
        let mut beside = Self::logs(folder, &nodes);
        beside.history = history;
        // Only proofs are drawn with messages.
        if results.checks.iter().any(|check| !check.violations.is_empty()) {
            beside.messages = messages(&folder.join("messages.csv"), &nodes).unwrap_or_default();
        }
        beside
    }

    fn logs(folder: &Path, nodes: &[&str]) -> Self {
        let limit = LOG_BYTES.min(ALL_LOG_BYTES / nodes.len().max(1) as u64);
        let log = |node: &&str| {
            let (text, left_out) = tail(&folder.join("nodes").join(format!("{node}.log")), limit).ok()?;
            Some(NodeLog { node: (*node).to_owned(), text, left_out })
        };
        Beside {
            logs: nodes.iter().filter(|node| is_name(node)).filter_map(log).collect(),
            workload: head(&folder.join("workload.toml")).ok(),
            ..Beside::default()
        }
    }
}

fn messages(path: &Path, nodes: &[&str]) -> io::Result<Messages> {
    Messages::read(BufReader::new(regular(path)?).take(MESSAGE_BYTES), nodes)
}

/// Whether a node's id may be part of a file's name: a `results.json` from elsewhere must not name other files.
fn is_name(node: &str) -> bool {
    !node.is_empty() && !node.contains(['/', '\\', '\0']) && !node.starts_with('.')
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The last whole lines that fit `limit` bytes, and how many bytes come before them.
fn tail(path: &Path, limit: u64) -> io::Result<(String, u64)> {
    let mut file = regular(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(limit);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    let broken = match (from, memchr::memchr(b'\n', &bytes)) {
        (0, _) | (_, None) => 0,
        (_, Some(end)) => end + 1,
    };
    Ok((lossy(&bytes[broken..]), from + broken as u64))
}

fn head(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    regular(path)?.take(WORKLOAD_BYTES).read_to_end(&mut bytes)?;
    Ok(lossy(&bytes))
}

/// Opens a plain file. Not a pipe, on which reading would wait for ever, and no link: what a node could put in the place of a
/// file of ours must not bring another file into the page.
fn regular(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_whole_lines_at_its_end_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let nodes = folder.path().join("nodes");
        std::fs::create_dir(&nodes).unwrap();
        let lines: String = (0..20_000).map(|number| format!("{number:>10}.000 out  line\n")).collect();
        std::fs::write(nodes.join("A.log"), &lines).unwrap();
        std::fs::write(nodes.join("B.log"), "     0.001 out  \u{fffd} short").unwrap();
        std::fs::write(folder.path().join("secret.log"), "no").unwrap();
        std::os::unix::fs::symlink("../secret.log", nodes.join("D.log")).unwrap();
        nix::unistd::mkfifo(&nodes.join("E.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let beside = Beside::logs(folder.path(), &["A", "B", "C", "D", "E", "../secret"]);
        let names: Vec<&str> = beside.logs.iter().map(|log| log.node.as_str()).collect();
        assert_eq!(names, ["A", "B"]);
        let long = &beside.logs[0];
        assert!(
            long.text.ends_with("19999.000 out  line\n") && long.text.starts_with("   "),
            "{}",
            &long.text[..40]
        );
        assert_eq!(long.left_out as usize + long.text.len(), lines.len());
        assert!(long.text.len() as u64 <= LOG_BYTES);
        assert_eq!(beside.logs[1].left_out, 0);
        assert_eq!(beside.workload, None);
    }
}
