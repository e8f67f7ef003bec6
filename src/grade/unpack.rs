//! Unpacking what strangers packed.
//!
//! Nothing is written but below the new folder: names that lead out of it are refused, folders are walked as what they
//! are and never through a link, and links are made last, when nothing can be written through them any more. How much comes out
//! is counted while it does, since an archive may lie about it (a *bomb*). An archive that breaks a rule is refused as a
//! whole: what is left of one that was made to deceive is nothing to grade.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::EntryType;
use zip::ZipArchive;
use zip::result::ZipError;

use super::tree::MOST_FILES;
use crate::document::units::show_size;
use crate::report::style::{clean, one_line};

/// How many times its own size an archive may unpack to, once that is more than [`SMALL`]. Sources shrink to a fifth; a
/// thousandth is all that the format can do.
const MOST_RATIO: u64 = 200;
/// Up to so much comes out of an archive of any size, bytes.
const SMALL: u64 = 16 << 20;
/// The deepest folder.
const DEEPEST: usize = 64;
/// The longest part of a path that file systems take, bytes.
const LONGEST_PART: usize = 255;
/// What a tar may hold beside its files' contents: headers, long names, padding; bytes.
const HEADERS: u64 = 64 << 20;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is to blame.
    #[error("{0}")]
    Bad(String),
    /// The file system says no.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
}

fn bad(what: impl Into<String>) -> UnpackError {
    UnpackError::Bad(what.into())
}

/// An archive that cannot be read as one is the submission's fault, whatever the error is called.
fn unreadable(error: impl std::fmt::Display) -> UnpackError {
    bad(format!("it is damaged, or no archive: {}", shown(&error.to_string())))
}

fn shown(text: &str) -> String {
    one_line(&clean(text), 100)
}

/// Unpacks `archive`, told by its ending, into `folder`, which is there and empty.
///
/// # Errors
/// It breaks a rule or cannot be read ([`UnpackError::Bad`]); the file system says no. What had come out by then is left.
pub fn unpack(archive: &Path, folder: &Path, most_bytes: u64) -> Result<(), UnpackError> {
    let failed = |error| UnpackError::Io { path: archive.display().to_string(), error };
    let size = fs::metadata(archive).map_err(failed)?.len();
    let file = File::open(archive).map_err(failed)?;
    let mut target = Target::new(folder, most_bytes, size);
    match super::discover::ending(archive) {
        Some(".zip") => of_zip(file, &mut target)?,
        Some(".tar") => of_tar(BufReader::new(file), most_bytes, &mut target)?,
        _ => of_tar(MultiGzDecoder::new(BufReader::new(file)), most_bytes, &mut target)?,
    }
    target.finish()?;
    no_link_leads_out(folder)
}

/// A link may pass through another, so where it leads is known only when all are there.
fn no_link_leads_out(root: &Path) -> Result<(), UnpackError> {
    let failed = |error| UnpackError::Io { path: root.display().to_string(), error };
    let real = root.canonicalize().map_err(failed)?;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_symlink() {
                let leads = entry.path().canonicalize();
                if leads.is_ok_and(|leads| !leads.starts_with(&real)) {
                    let name = entry.file_name();
                    return Err(bad(format!(
                        "the link {:?} leads out of it",
                        shown(&name.to_string_lossy())
                    )));
                }
            }
        }
    }
    Ok(())
}

fn of_zip(file: File, target: &mut Target<'_>) -> Result<(), UnpackError> {
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(unreadable)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| match error {
            ZipError::UnsupportedArchive(what) => bad(format!("it cannot be unpacked here: {what}")),
            error => unreadable(error),
        })?;
        // Some programs on Windows write its own separators.
        let name = entry.name().map_err(unreadable)?.replace('\\', "/");
        let Some(path) = target.place(&name)? else { continue };
        let mode = entry.unix_mode().unwrap_or(0);
        if entry.is_dir() {
            target.folder(&path)?;
        } else if entry.is_symlink() {
            let mut to = Vec::new();
            entry.by_ref().take(4_097).read_to_end(&mut to).map_err(unreadable)?;
            target.link(path, &to)?;
        } else if matches!(mode & 0o170_000, 0 | 0o100_000) {
            target.file(&path, mode, &mut entry)?;
        } else {
            return Err(bad(format!("{:?} is neither file, folder nor link", shown(&name))));
        }
    }
    Ok(())
}

fn of_tar(source: impl Read, most_bytes: u64, target: &mut Target<'_>) -> Result<(), UnpackError> {
    // Contents are counted where they are written; this bounds what is read to be skipped, or kept in memory as a name.
    let mut archive = tar::Archive::new(source.take(most_bytes.saturating_add(HEADERS)));
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let Some(path) = target.place(&name)? else { continue };
        let mode = entry.header().mode().unwrap_or(0o644);
        let leads = entry.link_name_bytes().map(|to| to.into_owned()).unwrap_or_default();
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                target.file(&path, mode, &mut entry)?;
            }
            EntryType::Directory => target.folder(&path)?,
            EntryType::Symlink => target.link(path, &leads)?,
            EntryType::Link => target.again(&path, &String::from_utf8_lossy(&leads))?,
            _ => return Err(bad(format!("{:?} is neither file, folder nor link", shown(&name)))),
        }
    }
    Ok(())
}

/// Where an archive goes, and what has come out so far.
struct Target<'a> {
    root: &'a Path,
    most_bytes: u64,
    most_by_ratio: u64,
    bytes: u64,
    entries: u64,
    links: Vec<(PathBuf, String)>,
}

impl<'a> Target<'a> {
    fn new(root: &'a Path, most_bytes: u64, archive_bytes: u64) -> Self {
        let most_by_ratio = archive_bytes.saturating_mul(MOST_RATIO).max(SMALL);
        Target { root, most_bytes, most_by_ratio, bytes: 0, entries: 0, links: Vec::new() }
    }

    /// The place of an entry, relative to the root; `None`: it is of no interest.
    fn place(&mut self, name: &str) -> Result<Option<PathBuf>, UnpackError> {
        self.entries += 1;
        if self.entries > MOST_FILES {
            return Err(bad(format!("it holds more than {MOST_FILES} files")));
        }
        let path = inside(name)?;
        let parts = || path.iter().map(|part| part.to_string_lossy());
        // What macOS adds for itself.
        let of_finder = parts().any(|part| part == "__MACOSX" || part == ".DS_Store");
        Ok((!of_finder && !path.as_os_str().is_empty()).then_some(path))
    }

    fn io(path: &Path) -> impl Fn(io::Error) -> UnpackError {
        let path = path.display().to_string();
        move |error| UnpackError::Io { path: path.clone(), error }
    }

    /// Makes a folder and those it is in.
    fn folder(&self, path: &Path) -> Result<(), UnpackError> {
        let mut here = self.root.to_owned();
        for part in path {
            here.push(part);
            match here.symlink_metadata() {
                Ok(about) if about.is_dir() => {}
                Ok(_) => return Err(twice(path)),
                Err(_) => fs::create_dir(&here).map_err(Self::io(&here))?,
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, mode: u32, content: &mut dyn Read) -> Result<(), UnpackError> {
        self.folder(path.parent().unwrap_or(Path::new("")))?;
        let full = self.root.join(path);
        match full.symlink_metadata() {
            // Who adds to an archive has the file twice, and means the last.
            Ok(about) if about.is_file() => fs::remove_file(&full).map_err(Self::io(&full))?,
            Ok(_) => return Err(twice(path)),
            Err(_) => {}
        }
        let mode = 0o644 | (mode & 0o111);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&full);
        let mut file = file.map_err(Self::io(&full))?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = content.read(&mut buffer).map_err(unreadable)?;
            if read == 0 {
                return Ok(());
            }
            self.bytes += read as u64;
            if self.bytes > self.most_bytes {
                let most = show_size(self.most_bytes);
                return Err(bad(format!("it unpacks to more than {most} (the rubric's `max-size`)")));
            }
            if self.bytes > self.most_by_ratio {
                return Err(bad(format!(
                    "it unpacks to more than {MOST_RATIO} times its size, as only a bomb does"
                )));
            }
            file.write_all(&buffer[..read]).map_err(Self::io(&full))?;
        }
    }

    /// A symbolic link, made when all else is there.
    fn link(&mut self, path: PathBuf, to: &[u8]) -> Result<(), UnpackError> {
        let leads_out = || bad(format!("the link {:?} leads out of it", shown(&path.display().to_string())));
        let to = std::str::from_utf8(to).map_err(|_| leads_out())?;
        let mut depth = path.components().count() - 1;
        for part in Path::new(to).components() {
            depth = match part {
                Component::Normal(_) => depth + 1,
                Component::CurDir => depth,
                Component::ParentDir => depth.checked_sub(1).ok_or_else(leads_out)?,
                Component::RootDir | Component::Prefix(_) => return Err(leads_out()),
            };
        }
        if to.is_empty() || to.len() > 4_096 || to.contains('\0') {
            return Err(leads_out());
        }
        self.links.push((path, to.to_owned()));
        Ok(())
    }

    /// A hard link: the same content under another name.
    fn again(&mut self, path: &Path, original: &str) -> Result<(), UnpackError> {
        let from = self.root.join(inside(original)?);
        let real = from.symlink_metadata().is_ok_and(|about| about.is_file());
        let file = if real { File::open(&from).ok() } else { None };
        let Some(mut file) = file else {
            return Err(bad(format!("{:?} is a link to something that is not in it", shown(original))));
        };
        let mode = if runs(&file) { 0o755 } else { 0o644 };
        self.file(path, mode, &mut file)
    }

    fn finish(self) -> Result<(), UnpackError> {
        if self.entries == 0 {
            return Err(bad("it is empty"));
        }
        for (path, to) in &self.links {
            self.folder(path.parent().unwrap_or(Path::new("")))?;
            let full = self.root.join(path);
            std::os::unix::fs::symlink(to, &full).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => twice(path),
                _ => Self::io(&full)(error),
            })?;
        }
        Ok(())
    }
}

fn runs(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|about| about.permissions().mode() & 0o111 != 0)
}

fn twice(path: &Path) -> UnpackError {
    bad(format!("{:?} is in it twice, as different things", shown(&path.display().to_string())))
}

/// `name` as a path that stays inside; empty for the root itself.
fn inside(name: &str) -> Result<PathBuf, UnpackError> {
    let wrong = |why: &str| bad(format!("{:?} {why}", shown(name)));
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) if part.len() > LONGEST_PART => return Err(wrong("is too long a name")),
            Component::Normal(part) => path.push(part),
            Component::ParentDir => return Err(wrong("leads out of it")),
            Component::RootDir | Component::Prefix(_) => return Err(wrong("is an absolute path")),
        }
    }
    let drive = name.as_bytes().get(1) == Some(&b':') && name.starts_with(|c: char| c.is_ascii_alphabetic());
    if drive {
        return Err(wrong("is an absolute path"));
    }
    if name.contains('\0') {
        return Err(wrong("is no name of a file"));
    }
    if path.components().count() > DEEPEST || path.as_os_str().len() > 2_048 {
        return Err(wrong("is too deep"));
    }
    Ok(path)
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
mod tests;
