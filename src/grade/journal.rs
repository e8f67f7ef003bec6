//! What is known so far, on disk before anything is made of it: one JSON object a line.
//!
//! A torn last line (the machine went down) is read as absent. The last record of a unit counts, and a submission that was
//! made ready anew from other files takes back what was known of it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::record::{Part, Prepared, Record, UnitId, UnitRecord};

/// The journal's name in the output folder.
pub const JOURNAL: &str = "grading.jsonl";

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Somebody else is grading into the same folder.
    #[error("{}: another grading is writing there; wait for it, or choose another --out", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A line that is no record.
    #[error("{}:{line}: not a record of this program: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

/// All that is known of a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// Which part of which class it is.
    pub part: Option<Part>,
    /// How each submission was made ready.
    pub prepared: BTreeMap<String, Prepared>,
    /// The units that were run.
    pub units: BTreeMap<UnitId, UnitRecord>,
}

impl Known {
    /// Adds a record.
    pub fn learn(&mut self, record: Record) {
        match record {
            Record::Part(part) => self.part = Some(part),
            Record::Prepared(prepared) => {
                let name = prepared.submission.clone();
                let before = self.prepared.insert(name.clone(), prepared);
                if before.is_some_and(|before| before.fingerprint != self.prepared[&name].fingerprint) {
                    self.units.retain(|unit, _| unit.submission != name);
                }
            }
            Record::Unit(unit) => {
                self.units.insert(unit.unit.clone(), unit);
            }
        }
    }

    /// Reads a journal; an absent one tells nothing.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn read(path: &Path) -> Result<Self, JournalError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::default()),
            Err(source) => return Err(JournalError::Io { path: path.to_owned(), source }),
        };
        let mut known = Known::default();
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for (at, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            known.learn(serde_json::from_slice(line).map_err(|error| JournalError::Content {
                path: path.to_owned(),
                line: at + 1,
                what: error.to_string(),
            })?);
        }
        Ok(known)
    }
}

/// A journal being written, by one process at a time.
#[derive(Debug)]
pub struct Journal {
    file: Flock<File>,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal of an output folder and reads what it knows.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(folder: &Path) -> Result<(Self, Known), JournalError> {
        let path = folder.join(JOURNAL);
        let io = |source| JournalError::Io { path: path.clone(), source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(io)?;
        let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Err(JournalError::Busy { path }),
            Err((_, errno)) => return Err(io(errno.into())),
        };
        let known = Known::read(&path)?;
        // What was torn must not run into what comes next.
        let mut text = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut text)).map_err(io)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64).map_err(io)?;
        Ok((Journal { file, path }, known))
    }

    /// Begins a journal in `folder`, where none may be, with all that is known.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn begin(folder: &Path, known: &Known) -> Result<(), JournalError> {
        let path = folder.join(JOURNAL);
        let io = |source| JournalError::Io { path: path.clone(), source };
        let file = OpenOptions::new().append(true).create_new(true).open(&path).map_err(io)?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, errno)) => return Err(io(errno.into())),
        };
        let mut journal = Journal { file, path };
        let prepared = known.prepared.values().cloned().map(Record::Prepared);
        let units = known.units.values().cloned().map(Record::Unit);
        let part = known.part.iter().cloned().map(Record::Part);
        part.chain(prepared).chain(units).try_for_each(|record| journal.write(&record))
    }

    /// Writes a record down; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn write(&mut self, record: &Record) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(record).unwrap_or_default();
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        written.map_err(|source| JournalError::Io { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(name: &str, fingerprint: &str) -> Record {
        let (submission, fingerprint) = (name.to_owned(), fingerprint.to_owned());
        Record::Prepared(Prepared { submission, fingerprint, refused: None, log: Vec::new() })
    }

    #[test]
    fn a_journal_begun_with_what_is_known_tells_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut known = Known::default();
        let class = Part { which: 1, of: 2, submissions: vec!["ann".into(), "bob".into()] };
        for record in [Record::Part(class), prepared("ann", "1"), unit("ann", 1, 1), unit("ann", 2, 2)] {
            known.learn(record);
        }
        Journal::begin(dir.path(), &known).unwrap();
        assert_eq!(Known::read(&dir.path().join(JOURNAL)).unwrap(), known);
        assert!(Journal::begin(dir.path(), &known).is_err());
    }

    fn unit(name: &str, repeat: u32, attempts: u32) -> Record {
        let unit = UnitId { submission: name.to_owned(), item: "outage".to_owned(), repeat };
        Record::Unit(UnitRecord { unit, attempts, ..UnitRecord::default() })
    }

    #[test]
    fn what_was_written_is_read_again_and_a_torn_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let records = [prepared("ann", "1"), unit("ann", 1, 1), unit("ann", 2, 1), unit("ann", 1, 3)];
        {
            let (mut journal, known) = Journal::open(dir.path()).unwrap();
            assert_eq!(known, Known::default());
            records.iter().for_each(|record| journal.write(record).unwrap());
            let busy = Journal::open(dir.path()).unwrap_err().to_string();
            assert!(busy.contains("another grading"), "{busy}");
        }
        let path = dir.path().join(JOURNAL);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"record\":\"unit\",\"subm").unwrap();
        let (mut journal, known) = Journal::open(dir.path()).unwrap();
        assert_eq!(known.units.values().map(|unit| unit.attempts).collect::<Vec<_>>(), [3, 1]);
        journal.write(&unit("bob", 1, 1)).unwrap();
        assert_eq!(Known::read(&path).unwrap().units.len(), 3);
        // Made ready from other files: what was known is void.
        journal.write(&prepared("ann", "2")).unwrap();
        assert_eq!(Known::read(&path).unwrap().units.len(), 1);
        std::fs::write(&path, "{\"record\":\"unit\"}\n").unwrap();
        let wrong = Known::read(&path).unwrap_err().to_string();
        assert!(wrong.contains("grading.jsonl:1:"), "{wrong}");
    }
}
