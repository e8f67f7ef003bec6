//! Copies of submissions: made without following a link, and within limits.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::document::units::show_size;

/// The most files and folders a submission may hold.
pub const MOST_FILES: u64 = 100_000;

/// Why a submission could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// It holds more than it may.
    #[error("it holds more than {} (the rubric's `max-size`)", show_size(*.0))]
    TooLarge(u64),
    /// It holds more files than it may.
    #[error("it holds more than {MOST_FILES} files")]
    TooMany,
    /// The file system says no.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
}

fn failed(path: &Path) -> impl Fn(io::Error) -> TreeError + '_ {
    |error| TreeError::Io { path: path.display().to_string(), error }
}

/// Copies what is in `from` into the new folder `to`. Links are copied as links, wherever they lead; what is neither file,
/// folder nor link (a socket, a device) is left out.
///
/// # Errors
/// It is larger than `most_bytes` or has too many files; something cannot be read or written.
pub fn copy(from: &Path, to: &Path, most_bytes: u64) -> Result<(), TreeError> {
    let (mut bytes, mut files) = (0_u64, 0_u64);
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        fs::create_dir_all(&to).map_err(failed(&to))?;
        let entries = fs::read_dir(&from).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in entries.map_err(failed(&from))? {
            let (path, copy) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().map_err(failed(&path))?;
            files += 1;
            if files > MOST_FILES {
                return Err(TreeError::TooMany);
            }
            if kind.is_dir() {
                folders.push((path, copy));
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(failed(&path))?;
                std::os::unix::fs::symlink(target, &copy).map_err(failed(&copy))?;
            } else if kind.is_file() {
                bytes += copy_file(&path, &copy, most_bytes - bytes).map_err(|error| match error.kind() {
                    io::ErrorKind::FileTooLarge => TreeError::TooLarge(most_bytes),
                    _ => failed(&path)(error),
                })?;
            }
        }
    }
    Ok(())
}

/// Copies a file of at most `most` bytes; how many it had. The copy may be read and written by its owner, and executed
/// where the original may; no other bit is kept.
fn copy_file(from: &Path, to: &Path, most: u64) -> io::Result<u64> {
    // A link or a pipe that took the file's place meanwhile is neither followed nor waited for.
    let source =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(from)?;
    let about = source.metadata()?;
    if !about.is_file() {
        return Ok(0);
    }
    if about.len() > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut target = File::create_new(to)?;
    let bytes = io::copy(&mut io::Read::take(source, most + 1), &mut target)?;
    if bytes > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let runs = about.permissions().mode() & 0o111;
    target.set_permissions(fs::Permissions::from_mode(0o644 | runs))?;
    Ok(bytes)
}

/// Removes the files that call a folder a cache (CACHEDIR.TAG, <https://bford.info/cachedir/>), which copies would leave out.
///
/// # Errors
/// The file system says no.
pub fn forget_cache_tags(root: &Path) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let (entry, kind) = entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind)))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == "CACHEDIR.TAG" {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Removes a folder with everything in it; folders that their owner made unreadable included.
///
/// # Errors
/// It cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_accessible(path)?;
            fs::remove_dir_all(path)
        }
        result => result,
    }
}

fn make_accessible(folder: &Path) -> io::Result<()> {
    if !folder.symlink_metadata()?.is_dir() {
        return Ok(());
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_accessible(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_no_link_and_keeps_to_its_limit() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(from.join("lib")).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        fs::write(from.join("lib/run"), "0123456789").unwrap();
        fs::set_permissions(from.join("lib/run"), fs::Permissions::from_mode(0o4755)).unwrap();
        std::os::unix::fs::symlink(root.path().join("secret"), from.join("link")).unwrap();
        nix::unistd::mkfifo(&from.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        copy(&from, &to, 10).unwrap();
        assert_eq!(fs::read_to_string(to.join("lib/run")).unwrap(), "0123456789");
        assert_eq!(to.join("lib/run").metadata().unwrap().permissions().mode() & 0o7777, 0o755);
        assert!(to.join("link").symlink_metadata().unwrap().is_symlink());
        assert!(!to.join("pipe").exists());
        let error = copy(&from, &root.path().join("small"), 9).unwrap_err();
        assert_eq!(error.to_string(), "it holds more than 9B (the rubric's `max-size`)");
    }

    #[test]
    fn what_cannot_be_entered_is_removed_too() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("out/deep");
        fs::create_dir_all(folder.join("er")).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).unwrap();
        remove(&root.path().join("out")).unwrap();
        remove(&root.path().join("out")).unwrap();
        assert!(!root.path().join("out").exists());
    }
}
