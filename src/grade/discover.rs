//! Which submissions there are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Endings of archives, the longest first.
const ARCHIVES: [&str; 4] = [".tar.gz", ".tgz", ".tar", ".zip"];

/// One submission: a folder or an archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Submission {
    /// Its name: that of the folder, or of the archive without its ending.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Why there is no class to grade.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A line of a list names nothing.
    #[error("{}:{line}: {} is neither a folder nor an archive (.zip, .tar, .tar.gz, .tgz)", list.display(), path.display())]
    Listed {
        /// The list.
        list: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What it names.
        path: PathBuf,
    },
    /// Two have one name.
    #[error("two submissions are called `{name}`: {} and {}; rename one", one.display(), other.display())]
    Twice {
        /// The name.
        name: String,
        /// One of them.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// There is none.
    #[error("{}: no submissions: expected a folder or an archive (.zip, .tar, .tar.gz, .tgz) for each", path.display())]
    None {
        /// Where they were looked for.
        path: PathBuf,
    },
}

/// The submissions at `path`, by name: of a folder each sub-folder and archive in it that is not hidden; of a file each line
/// names one, relative to the file, empty lines and those that begin with `#` aside.
///
/// # Errors
/// [`DiscoverError`].
pub fn discover(path: &Path) -> Result<Vec<Submission>, DiscoverError> {
    let io = |source| DiscoverError::Io { path: path.to_owned(), source };
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in if path.is_file() { listed(path)? } else { inside(path).map_err(io)? } {
        let Some(name) = name(&path) else { continue };
        if let Some(other) = found.insert(name.clone(), path.clone()) {
            return Err(DiscoverError::Twice { name, one: other, other: path });
        }
    }
    if found.is_empty() {
        return Err(DiscoverError::None { path: path.to_owned() });
    }
    Ok(found.into_iter().map(|(name, path)| Submission { name, path }).collect())
}

fn inside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && (path.is_dir() || ending(&path).is_some()) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn listed(list: &Path) -> Result<Vec<PathBuf>, DiscoverError> {
    let text =
        fs::read_to_string(list).map_err(|source| DiscoverError::Io { path: list.to_owned(), source })?;
    let beside = list.parent().unwrap_or(Path::new("."));
    let mut paths = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let path = beside.join(line);
        if !(path.is_dir() || path.is_file() && ending(&path).is_some()) {
            return Err(DiscoverError::Listed { list: list.to_owned(), line: at + 1, path });
        }
        paths.push(path);
    }
    Ok(paths)
}

/// The ending of an archive that this program can open.
pub(super) fn ending(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    ARCHIVES.into_iter().find(|ending| name.ends_with(ending) && name.len() > ending.len())
}

/// The name of a submission: what could break out of a path, a table or a page is replaced by `_`.
fn name(path: &Path) -> Option<String> {
    let full = path.file_name()?.to_string_lossy().into_owned();
    let bare = match ending(path).filter(|_| path.is_file()) {
        Some(ending) => &full[..full.len() - ending.len()],
        None => &full,
    };
    let plain = |c: char| if c.is_alphanumeric() || " -_.@+,()".contains(c) { c } else { '_' };
    let name: String = bare.chars().map(plain).collect();
    let name = name.trim().trim_start_matches('.').to_owned();
    Some(if name.is_empty() { "_".to_owned() } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_archives_are_found_by_name() {
        let class = tempfile::tempdir().unwrap();
        for folder in ["bob", ".git", "eve <b>"] {
            fs::create_dir(class.path().join(folder)).unwrap();
        }
        for file in ["ann.tar.gz", "joe.ZIP", "readme.txt", ".hidden.zip"] {
            fs::write(class.path().join(file), "").unwrap();
        }
        let names = |found: Vec<Submission>| found.into_iter().map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names(discover(class.path()).unwrap()), ["ann", "bob", "eve _b_", "joe"]);
        fs::write(class.path().join("bob.zip"), "").unwrap();
        let twice = discover(class.path()).unwrap_err().to_string();
        assert!(twice.contains("two submissions are called `bob`"), "{twice}");
        fs::write(class.path().join("list.txt"), "# mine\n\nann.tar.gz\nbob\n").unwrap();
        assert_eq!(names(discover(&class.path().join("list.txt")).unwrap()), ["ann", "bob"]);
        fs::write(class.path().join("list.txt"), "ann.tar.gz\nreadme.txt\n").unwrap();
        let wrong = discover(&class.path().join("list.txt")).unwrap_err().to_string();
        assert!(wrong.contains("list.txt:2:") && wrong.contains("readme.txt is neither"), "{wrong}");
        let empty = tempfile::tempdir().unwrap();
        assert!(discover(empty.path()).unwrap_err().to_string().contains("no submissions"));
    }
}
