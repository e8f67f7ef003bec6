//! The run's folder: `results/<name>/<time>-seed<seed>/`, and `latest` beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where a run leaves what it leaves (design §7).
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Makes a new folder under `results/<name>/`, and points `latest` at it. `cell`: which of a matrix it is. Two runs never share one: a number is
    /// added when the name is taken.
    ///
    /// # Errors
    /// When it cannot be made; the path is in the message.
    pub fn create(
        results: &Path,
        name: &str,
        seed: u64,
        cell: &[(String, String)],
        started: SystemTime,
    ) -> io::Result<Self> {
        let parent = results.join(name);
        let told = |error: io::Error, path: &Path| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        fs::create_dir_all(&parent).map_err(|error| told(error, &parent))?;
        let parent = parent.canonicalize().map_err(|error| told(error, &parent))?;
        let stamp = stamp(started);
        for attempt in 1..=1000 {
            let suffix = if attempt == 1 { String::new() } else { format!("-{attempt}") };
            let leaf = format!("{stamp}-seed{seed}{}{suffix}", cell_name(cell));
            let root = parent.join(&leaf);
            match fs::create_dir(&root) {
                Ok(()) => {
                    fs::create_dir(root.join("nodes")).map_err(|error| told(error, &root))?;
                    point_latest(&parent, &leaf);
                    return Ok(Self { root });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(told(error, &root)),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{}: too many runs in one second", parent.display()),
        ))
    }

    /// The folder itself, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `workload.toml`
    pub fn workload(&self) -> PathBuf {
        self.root.join("workload.toml")
    }

    /// `history.jsonl`
    pub fn history(&self) -> PathBuf {
        self.root.join("history.jsonl")
    }

    /// `results.json`
    pub fn results(&self) -> PathBuf {
        self.root.join("results.json")
    }

    /// `messages.csv`
    pub fn messages(&self) -> PathBuf {
        self.root.join("messages.csv")
    }

    /// `junit.xml`
    pub fn junit(&self) -> PathBuf {
        self.root.join("junit.xml")
    }

    /// `report.html`
    pub fn page(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// `nodes/`: logs, and the nodes' own directories.
    pub fn nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }
}

/// `2026-01-31T10-15-00Z`: sorts by time, and is a file name everywhere.
fn stamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace(':', "-")
}

/// `-W2-R3`; what a file name cannot have is left out, and `results.json` has it whole.
fn cell_name(cell: &[(String, String)]) -> String {
    const LONGEST: usize = 16;
    let plain = |text: &str| -> String {
        let letters =
            text.chars().filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.'));
        letters.take(LONGEST).collect()
    };
    let all: String = cell.iter().map(|(name, value)| format!("-{}{}", plain(name), plain(value))).collect();
    all.chars().take(100).collect()
}

/// A convenience: where links cannot be made, or another run is quicker, there is none.
fn point_latest(parent: &Path, leaf: &str) {
    let latest = parent.join("latest");
    let fresh = parent.join(format!(".latest-{}", std::process::id()));
    // Renaming over the old link leaves no moment without one.
    let made = std::os::unix::fs::symlink(leaf, &fresh).and_then(|()| fs::rename(&fresh, &latest));
    if made.is_err() {
        let _ = fs::remove_file(&fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_in_one_second_get_folders_of_their_own() {
        let results = tempfile::tempdir().unwrap();
        let time = SystemTime::UNIX_EPOCH;
        let first = Folder::create(results.path(), "outage", 42, &[], time).unwrap();
        let second = Folder::create(results.path(), "outage", 42, &[], time).unwrap();
        assert!(first.root().ends_with("outage/1970-01-01T00-00-00Z-seed42"), "{first:?}");
        assert!(second.root().ends_with("1970-01-01T00-00-00Z-seed42-2"), "{second:?}");
        let latest = fs::canonicalize(results.path().join("outage/latest")).unwrap();
        assert_eq!(latest, second.root());
    }

    #[test]
    fn a_cell_of_a_matrix_is_in_the_name() {
        let cell = |pairs: &[(&str, &str)]| -> String {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            cell_name(&pairs.iter().map(owned).collect::<Vec<_>>())
        };
        assert_eq!(cell(&[]), "");
        assert_eq!(cell(&[("W", "2"), ("R", "3")]), "-W2-R3");
        assert_eq!(cell(&[("node", "python3 ../my nodes/node.py --fast")]), "-nodepython3..mynodes");
    }
}
