//! A node's durable log: what was acknowledged survives a crash.
//!
//! A text file, one record a line: eight hex digits of CRC-32, a space, and the record as JSON. A record holds all that
//! waited for the disk at the time, so that writers at the same moment share one fsync. A record is begun only when the
//! one before is on disk: so only the last one can be torn, and it was not acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A log shorter than this is never compacted, bytes.
const COMPACT_ABOVE_BYTES: u64 = 1 << 20;

/// What can be wrong with a node's log when it starts.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file or its directory cannot be used.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// Another process writes it.
    #[error("{} is in use by another node; give each a --data-dir or an --id of its own", .0.display())]
    InUse(PathBuf),
    /// A record in the middle is damaged: no crash does that.
    #[error(
        "{}: the record at byte {offset} is damaged though intact ones follow it, so acknowledged writes are lost; \
         restore the file, or delete it to start over from the peers", path.display()
    )]
    Damaged {
        /// The log.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
    },
}

/// What a log held.
#[derive(Debug, PartialEq)]
pub struct Recovered<R> {
    /// The records, in the order they were appended.
    pub records: Vec<R>,
    /// Bytes of a torn record cut off at the end.
    pub torn_bytes: u64,
}

impl<R> Default for Recovered<R> {
    fn default() -> Self {
        Recovered { records: Vec::new(), torn_bytes: 0 }
    }
}

/// An open log of records `R`.
#[derive(Debug)]
pub struct Log<R> {
    path: PathBuf,
    file: Flock<File>,
    length: u64,
    compact_above: u64,
    record: PhantomData<fn(R) -> R>,
}

impl<R: Serialize + DeserializeOwned> Log<R> {
    /// Opens `path`, made with its directory where absent, cuts off a torn tail, and reads what is there.
    ///
    /// # Errors
    /// [`LogError`]
    pub fn open(path: &Path) -> Result<(Self, Recovered<R>), LogError> {
        let io = |action| move |error| LogError::Io { action, path: path.to_owned(), error };
        let directory = directory_of(path);
        fs::create_dir_all(directory).map_err(io("make the directory of"))?;
        let file = open_file(path).map_err(io("open"))?;
        let file = lock(file, path)?;
        let text = fs::read(path).map_err(io("read"))?;
        let (recovered, intact) = read_records(&text)
            .map_err(|offset| LogError::Damaged { path: path.to_owned(), offset: offset as u64 })?;
        let mut log = Log {
            path: path.to_owned(),
            file,
            length: intact as u64,
            compact_above: COMPACT_ABOVE_BYTES,
            record: PhantomData,
        };
        log.file.set_len(log.length).map_err(io("cut the torn tail off"))?;
        log.file.seek(SeekFrom::End(0)).map_err(io("read"))?;
        log.file.sync_all().map_err(io("sync"))?;
        sync_directory(directory).map_err(io("sync the directory of"))?;
        Ok((log, recovered))
    }

    /// Appends one record and returns when it is on disk.
    ///
    /// # Errors
    /// The file system's; the record may then be half written, so nothing may be appended any more.
    pub fn append(&mut self, record: &R) -> Result<(), LogError> {
        let path = self.path.clone();
        let io = |error| LogError::Io { action: "append to", path, error };
        let line = encode(record);
        let written = line.and_then(|line| {
            self.file.write_all(&line)?;
            self.file.sync_data()?;
            Ok(line.len())
        });
        self.length += written.map_err(io)? as u64;
        Ok(())
    }

    /// Whether the log has grown so long that [`Log::compact`] pays.
    pub fn is_long(&self) -> bool {
        self.length > self.compact_above
    }

    /// Replaces the log by one `record` of all there is; returns when that is on disk. A crash leaves the old log or
    /// the new one.
    ///
    /// # Errors
    /// The file system's, or that a process has locked the new file.
    pub fn compact(&mut self, record: &R) -> Result<(), LogError> {
        let mut path = self.path.clone().into_os_string();
        path.push(".new");
        let path = PathBuf::from(path);
        let io = |action| {
            let path = path.clone();
            move |error| LogError::Io { action, path, error }
        };
        let mut file = lock(open_file(&path).map_err(io("open"))?, &path)?;
        let line = encode(record).map_err(io("write"))?;
        file.set_len(0).map_err(io("empty"))?;
        file.write_all(&line).map_err(io("write"))?;
        file.sync_all().map_err(io("sync"))?;
        fs::rename(&path, &self.path).map_err(io("rename"))?;
        sync_directory(directory_of(&self.path)).map_err(io("sync the directory of"))?;
        self.file = file;
        self.length = line.len() as u64;
        self.compact_above = COMPACT_ABOVE_BYTES.max(self.length * 3);
        Ok(())
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn lock(file: File, path: &Path) -> Result<Flock<File>, LogError> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => LogError::InUse(path.to_owned()),
        other => LogError::Io { action: "lock", path: path.to_owned(), error: other.into() },
    })
}

/// A new or renamed file is there after a power cut only once its directory is synced.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn encode(record: &impl Serialize) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(record)?;
    let mut line = format!("{:08x} ", crc32(&body)).into_bytes();
    line.extend_from_slice(&body);
    line.push(b'\n');
    Ok(line)
}

fn decode<R: DeserializeOwned>(line: &[u8]) -> Option<R> {
    let (sum, body) = line.split_at_checked(9)?;
    let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
    let intact = u32::from_str_radix(sum, 16).ok()? == crc32(body);
    intact.then(|| serde_json::from_slice(body).ok()).flatten()
}

/// The records of `text` and how many bytes of it are intact, or where a damaged record begins that cannot be a torn
/// tail.
fn read_records<R: DeserializeOwned>(text: &[u8]) -> Result<(Recovered<R>, usize), usize> {
    let mut recovered = Recovered::default();
    let mut intact = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let Some(record) = end.and_then(|end| decode(&rest[..end])) else {
            if rest.split(|byte| *byte == b'\n').skip(1).any(|line| decode::<R>(line).is_some()) {
                return Err(intact);
            }
            break;
        };
        recovered.records.push(record);
        let length = end.map_or(rest.len(), |end| end + 1);
        intact += length;
        rest = &rest[length..];
    }
    recovered.torn_bytes = (text.len() - intact) as u64;
    Ok((recovered, intact))
}

/// CRC-32 as in gzip (ISO 3309).
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> String {
        format!("record {n} that is longer than its frame")
    }

    /// Appends `more` records after those that are there.
    fn filled(path: &Path, more: u64) -> Recovered<String> {
        let (mut log, before) = Log::<String>::open(path).unwrap();
        let count = before.records.len() as u64;
        for n in count + 1..=count + more {
            log.append(&record(n)).unwrap();
        }
        drop(log);
        Log::open(path).unwrap().1
    }

    #[test]
    fn the_checksum_is_crc32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_was_appended_is_read_again_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/on/the/way/A.log");
        let recovered = filled(&path, 3);
        assert_eq!(recovered.records, [record(1), record(2), record(3)]);
        assert_eq!(filled(&path, 1).records.len(), 4);
    }

    #[test]
    fn a_tail_torn_anywhere_is_cut_off_and_the_log_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("A.log");
        filled(&path, 2);
        let whole = fs::read(&path).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in first..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let recovered = Log::<String>::open(&path).unwrap().1;
            assert_eq!(recovered.records, [record(1)], "cut at {cut}");
            assert_eq!(recovered.torn_bytes, (cut - first) as u64);
            let recovered = filled(&path, 1);
            assert_eq!((recovered.records.len(), recovered.torn_bytes), (2, 0));
        }
    }

    #[test]
    fn damage_in_the_middle_is_not_taken_for_a_torn_tail() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("A.log");
        filled(&path, 3);
        let mut bytes = fs::read(&path).unwrap();
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        bytes[second + 15] ^= 4;
        fs::write(&path, &bytes).unwrap();
        let error = Log::<String>::open(&path).unwrap_err();
        assert!(matches!(error, LogError::Damaged { offset, .. } if offset == second as u64), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "left as found");
    }

    #[test]
    fn compaction_keeps_what_is_live_and_appending_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("A.log");
        filled(&path, 50);
        let (mut log, _) = Log::<String>::open(&path).unwrap();
        let before = log.length;
        log.compact(&record(50)).unwrap();
        assert!(log.length < before / 10);
        log.append(&record(51)).unwrap();
        assert!(matches!(Log::<String>::open(&path), Err(LogError::InUse(_))));
        drop(log);
        assert_eq!(Log::<String>::open(&path).unwrap().1.records, [record(50), record(51)]);
    }
}
