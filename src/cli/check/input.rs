//! What is to be judged: a file, or what comes through a pipe.

use std::fs::File;
use std::io::{self, Seek as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// A history to read, more than once: what it is tells its beginning, and two kinds of checks read it each for itself.
pub(super) struct Input {
    name: PathBuf,
    /// What came through a pipe; gone from the disk as soon as it is closed.
    kept: Option<File>,
}

impl Input {
    /// A file, a run's folder (the history in it), or `-`: standard input. A pipe is read to its end first.
    ///
    /// # Errors
    /// For people: the pipe cannot be read, or its content not be kept.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error| unreadable(path, &error);
        if path.as_os_str() == "-" {
            let kept = Some(keep(io::stdin().lock()).map_err(failed)?);
            return Ok(Self { name: "standard input".into(), kept });
        }
        if path.is_dir() {
            return Ok(Self { name: path.join("history.jsonl"), kept: None });
        }
        let is_pipe = path.metadata().is_ok_and(|file| {
            let kind = file.file_type();
            kind.is_fifo() || kind.is_char_device() || kind.is_socket()
        });
        let kept = is_pipe.then(|| keep(File::open(path)?)).transpose().map_err(failed)?;
        Ok(Self { name: path.to_owned(), kept })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// Its content, from the beginning.
    ///
    /// # Errors
    /// For people: it cannot be opened.
    pub(super) fn read(&self) -> Result<File, String> {
        let file = match &self.kept {
            None => File::open(&self.name),
            Some(kept) => kept.try_clone().and_then(|mut file| file.rewind().map(|()| file)),
        };
        file.map_err(|error| unreadable(&self.name, &error))
    }
}

fn unreadable(name: &Path, error: &io::Error) -> String {
    format!("{}: cannot be read: {error}", name.display())
}

fn keep(mut source: impl io::Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut source, &mut file)?;
    Ok(file)
}
