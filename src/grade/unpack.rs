//! Archives from people nobody knows: unpacked without leaving the folder they are unpacked to, and without filling the
//! disk.
//!
//! Files and folders are taken, and nothing else: links may point anywhere, and devices are not homework. Sizes are counted
//! as bytes come out, whatever the archive says they are.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Component, Path, PathBuf};

/// The most files and folders an archive may have.
const MAX_ENTRIES: u64 = 20_000;
/// The longest path within one, in components.
const MAX_DEPTH: usize = 40;

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is none, or damaged.
    #[error("the archive cannot be read: {0}")]
    Damaged(io::Error),
    /// An entry would leave the folder.
    #[error("the archive has an entry outside of its folder: {0:?}")]
    Outside(String),
    /// Too much comes out of it.
    #[error("the archive unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// Too many files.
    #[error("the archive has more than {MAX_ENTRIES} entries")]
    TooMany,
    /// Our own disk.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Unpacks `archive`, told by its ending, into `folder`; at most `max_size` bytes.
///
/// # Errors
/// [`UnpackError`]; what had come out by then is left.
pub fn unpack(archive: &Path, folder: &Path, max_size: u64) -> Result<(), UnpackError> {
    let file = File::open(archive).map_err(UnpackError::Damaged)?;
    let mut target = Target { folder, left: max_size, max_size, entries: 0 };
    match super::discover::ending(archive) {
        Some(".zip") => unzip(file, &mut target),
        Some(".tar") => untar(file, &mut target),
        _ => {
            // What a stream decompresses to is bounded too, or a bomb in skipped entries would take for ever.
            let most = max_size.saturating_mul(2).saturating_add(64 << 20);
            untar(flate2::read::MultiGzDecoder::new(file).take(most), &mut target)
        }
    }
}

fn unzip(file: File, target: &mut Target<'_>) -> Result<(), UnpackError> {
    let damaged = |error: zip::result::ZipError| UnpackError::Damaged(io::Error::other(error));
    let mut archive = zip::ZipArchive::new(file).map_err(damaged)?;
    if archive.len() as u64 > MAX_ENTRIES {
        return Err(UnpackError::TooMany);
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let (name, mode) = (entry.name().map_err(damaged)?.into_owned(), entry.unix_mode());
        if entry.is_dir() {
            target.directory(&name)?;
        } else if !entry.is_symlink() {
            target.file(&name, mode, &mut entry)?;
        }
    }
    Ok(())
}

fn untar(input: impl Read, target: &mut Target<'_>) -> Result<(), UnpackError> {
    let mut archive = tar::Archive::new(input);
    for entry in archive.entries().map_err(UnpackError::Damaged)? {
        let mut entry = entry.map_err(UnpackError::Damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mode = entry.header().mode().ok();
        match entry.header().entry_type() {
            tar::EntryType::Directory => target.directory(&name)?,
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                target.file(&name, mode, &mut entry)?;
            }
            _ => {}
        }
    }
    Ok(())
}

struct Target<'a> {
    folder: &'a Path,
    left: u64,
    max_size: u64,
    entries: u64,
}

impl Target<'_> {
    /// Where an entry goes, if it stays inside; `None`: the folder itself.
    fn place(&mut self, name: &str) -> Result<Option<PathBuf>, UnpackError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(UnpackError::TooMany);
        }
        let outside = || UnpackError::Outside(name.chars().take(200).collect());
        if name.contains(['\\', '\0']) {
            return Err(outside());
        }
        let mut place = PathBuf::new();
        for component in Path::new(name).components() {
            match component {
                Component::Normal(part) => place.push(part),
                Component::CurDir => {}
                _ => return Err(outside()),
            }
        }
        if place.components().count() > MAX_DEPTH {
            return Err(outside());
        }
        Ok((place != PathBuf::new()).then(|| self.folder.join(place)))
    }

    fn directory(&mut self, name: &str) -> Result<(), UnpackError> {
        let Some(path) = self.place(name)? else { return Ok(()) };
        fs::create_dir_all(&path).map_err(|source| UnpackError::Write { path, source })
    }

    fn file(&mut self, name: &str, mode: Option<u32>, input: &mut impl Read) -> Result<(), UnpackError> {
        let Some(path) = self.place(name)? else { return Ok(()) };
        let write = |source| UnpackError::Write { path: path.clone(), source };
        fs::create_dir_all(path.parent().unwrap_or(self.folder)).map_err(write)?;
        let mut file = File::create(&path).map_err(write)?;
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(UnpackError::Damaged(error)),
            };
            self.left = self.left.checked_sub(count as u64).ok_or(UnpackError::TooLarge(self.max_size))?;
            file.write_all(&buffer[..count]).map_err(write)?;
        }
        set_mode(&file, mode).map_err(write)
    }
}

/// Programs stay programs; nothing becomes set-user-id.
#[cfg(unix)]
fn set_mode(file: &File, mode: Option<u32>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let execute = mode.is_some_and(|mode| mode & 0o111 != 0);
    file.set_permissions(fs::Permissions::from_mode(if execute { 0o755 } else { 0o644 }))
}

#[cfg(not(unix))]
fn set_mode(_file: &File, _mode: Option<u32>) -> io::Result<()> {
    Ok(())
}

/// Where a submission's files are: inside the only folder an archive has, where it has one and nothing beside it.
pub fn root(folder: &Path) -> PathBuf {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let listed = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        listed.filter(|path| !path.ends_with("__MACOSX")).collect()
    };
    match entries(folder).as_slice() {
        [only] if only.is_dir() => only.clone(),
        _ => folder.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in entries {
            let options = zip::write::SimpleFileOptions::default().unix_permissions(0o4755);
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn tarred(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // Set by hand: the crate refuses to write what this one must refuse to read.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            if kind.is_symlink() {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Unpacks it beside a file that nobody may touch.
    fn try_it(name: &str, bytes: &[u8], max_size: u64) -> (tempfile::TempDir, Result<(), String>) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), bytes).unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        let done = unpack(&dir.path().join(name), &dir.path().join("in"), max_size);
        let mut outside: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        outside.sort();
        assert_eq!(outside.len(), 2, "something left the folder: {outside:?}");
        (dir, done.map_err(|error| error.to_string()))
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let regular = tar::EntryType::Regular;
        let entries: [(&str, tar::EntryType, &[u8]); 2] =
            [("lab/node.py", regular, b"print()"), ("lab/a/b", regular, b"x")];
        let tar = tarred(&entries);
        let zip = zipped(&[("lab/node.py", b"print()"), ("lab/a/b", b"x")]);
        for (name, bytes) in
            [("x.zip", zip), ("x.tgz", gzipped(&tar)), ("x.tar.gz", gzipped(&tar)), ("x.tar", tar)]
        {
            let (dir, done) = try_it(name, &bytes, 1000);
            done.unwrap();
            let root = root(&dir.path().join("in"));
            assert!(root.ends_with("in/lab"), "{}", root.display());
            assert_eq!(fs::read(root.join("node.py")).unwrap(), b"print()");
            assert_eq!(fs::read(root.join("a/b")).unwrap(), b"x");
        }
    }

    #[test]
    fn nothing_leaves_the_folder() {
        let regular = tar::EntryType::Regular;
        for name in ["../evil", "/tmp/../evil", "a/../../evil", "a\\..\\evil"] {
            for (file, bytes) in
                [("x.zip", zipped(&[(name, b"x")])), ("x.tar", tarred(&[(name, regular, b"x")]))]
            {
                let (_dir, done) = try_it(file, &bytes, 1000);
                assert!(done.clone().is_err_and(|why| why.contains("outside")), "{file} {name}: {done:?}");
            }
        }
        // A link is not made, so nothing can be written through it.
        let link = tarred(&[("up", tar::EntryType::Symlink, b""), ("up", regular, b"x")]);
        let (dir, done) = try_it("x.tar", &link, 1000);
        done.unwrap();
        assert!(!dir.path().join("in/up").is_symlink());
    }

    #[test]
    fn a_bomb_is_stopped_as_it_goes_off() {
        let zeros = vec![0; 5 << 20];
        let tar = tarred(&[("zeros", tar::EntryType::Regular, &zeros)]);
        for (file, bytes) in [("x.zip", zipped(&[("zeros", &zeros)])), ("x.tgz", gzipped(&tar))] {
            let (dir, done) = try_it(file, &bytes, 1 << 20);
            assert!(done.is_err_and(|why| why.contains("more than 1048576 bytes")));
            let out = fs::metadata(dir.path().join("in/zeros")).unwrap().len();
            assert!(out <= 1 << 20, "{out}");
        }
    }

    #[test]
    fn what_is_no_archive_is_told() {
        for file in ["x.zip", "x.tar", "x.tgz"] {
            let (_dir, done) = try_it(file, b"hello, this is no archive at all", 1000);
            assert!(done.clone().is_err_and(|why| why.contains("cannot be read")), "{file}: {done:?}");
        }
    }
}
