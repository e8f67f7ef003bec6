//! What a node finds in its own directory when it starts: a copy of its sources, and files made for it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::document::units::show_size;

/// The most that is copied for a node. Sources are small; what is larger is a build's output or somebody's whole home.
const MOST_BYTES: u64 = 256 << 20;
const MOST_FILES: u64 = 20_000;
/// Never copied: histories and what Python makes of sources by itself. Folders that say they are caches (CACHEDIR.TAG,
/// <https://bford.info/cachedir/>: Cargo's `target` does) are left out too.
const LEFT_OUT: &[&str] = &[".git", ".hg", ".svn", "__pycache__"];

/// Why a node's directory could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// More than a node's sources can be.
    #[error(
        "`cluster.copy`: {folder} holds more than {} or {MOST_FILES} files, and each node would get a copy; copy a smaller \
         folder",
        show_size(MOST_BYTES)
    )]
    TooLarge {
        /// What was to be copied.
        folder: String,
    },
    /// The file system says no.
    #[error("cannot make {path} for a node: {error}")]
    Io {
        /// What was to be made.
        path: String,
        /// What the system said.
        error: io::Error,
    },
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ProvisionError + '_ {
    |error| ProvisionError::Io { path: path.display().to_string(), error }
}

/// Copies what is in `source` to `target`, which exists; folders of `not` and what is in them aside.
///
/// # Errors
/// It is too large, or cannot be read or written.
pub fn copy(source: &Path, target: &Path, not: &[&PathBuf]) -> Result<(), ProvisionError> {
    let absolute = |path: &Path| path.canonicalize().map_err(failed(path));
    let not: Vec<PathBuf> = not.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let root = absolute(source)?;
    let (mut bytes, mut files) = (0, 0);
    let mut folders = vec![(root.clone(), target.to_owned())];
    while let Some((from, to)) = folders.pop() {
        fs::create_dir_all(&to).map_err(failed(&to))?;
        let entries = fs::read_dir(&from).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in entries.map_err(failed(&from))? {
            let (path, copy) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().map_err(failed(&path))?;
            files += 1;
            if kind.is_file() {
                bytes += entry.metadata().map_err(failed(&path))?.len();
            }
            if bytes > MOST_BYTES || files > MOST_FILES {
                return Err(ProvisionError::TooLarge { folder: source.display().to_string() });
            }
            if LEFT_OUT.iter().any(|name| entry.file_name() == *name) || not.contains(&path) {
                continue;
            }
            if kind.is_dir() {
                if !path.join("CACHEDIR.TAG").is_file() {
                    folders.push((path, copy));
                }
            } else if kind.is_symlink() {
                link(&root, &path, &copy).map_err(failed(&copy))?;
            } else if kind.is_file() {
                fs::copy(&path, &copy).map_err(failed(&copy))?;
            }
        }
    }
    Ok(())
}

/// A symbolic link that stays within `root` points to the copy of what it pointed to, any other to the original.
fn link(root: &Path, path: &Path, copy: &Path) -> io::Result<()> {
    let named = fs::read_link(path)?;
    let leads = path.canonicalize();
    let inside = named.is_relative() && leads.as_ref().is_ok_and(|leads| leads.starts_with(root));
    let to = if inside { named } else { leads.unwrap_or(named) };
    if copy.symlink_metadata().is_ok() {
        // A directory that is used again.
        fs::remove_file(copy)?;
    }
    std::os::unix::fs::symlink(to, copy)
}

/// Makes `files` in `dir`.
///
/// # Errors
/// They cannot be written.
pub fn write(dir: &Path, files: &BTreeMap<String, String>) -> Result<(), ProvisionError> {
    for (name, text) in files {
        let path = dir.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_copied_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) =
            (folder.path().join("source"), folder.path().join("source/results/run/nodes/A"));
        let file = |name: &str, text: &str| {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for name in [
            "node.py",
            "lib/deep/util.py",
            ".git/config",
            "lib/__pycache__/x.pyc",
            "target/big",
            "results/old",
        ] {
            file(name, name);
        }
        file("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
        file("../shared.txt", "outside");
        std::os::unix::fs::symlink("lib/deep", source.join("inside")).unwrap();
        std::os::unix::fs::symlink("../shared.txt", source.join("outside")).unwrap();
        std::os::unix::fs::symlink("nowhere", source.join("broken")).unwrap();
        fs::create_dir_all(&target).unwrap();
        let results = source.join("results");
        for _again in 0..2 {
            copy(&source, &target, &[&results]).unwrap();
            let mut names: Vec<_> = fs::read_dir(&target)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            assert_eq!(names, ["broken", "inside", "lib", "node.py", "outside"]);
        }
        assert_eq!(fs::read_to_string(target.join("inside/util.py")).unwrap(), "lib/deep/util.py");
        assert!(target.join("inside").canonicalize().unwrap().starts_with(target.canonicalize().unwrap()));
        assert_eq!(fs::read_to_string(target.join("outside")).unwrap(), "outside");
        assert!(!target.join("lib/__pycache__").exists());
    }

    #[test]
    fn what_is_no_source_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("A"));
        fs::create_dir_all(&source).unwrap();
        // Sparse: takes no space.
        fs::File::create(source.join("image")).unwrap().set_len(MOST_BYTES + 1).unwrap();
        let error = copy(&source, &target, &[]).unwrap_err().to_string();
        assert!(
            error.starts_with("`cluster.copy`: ") && error.contains("more than 256MiB or 20000 files"),
            "{error}"
        );
        assert!(!target.join("image").exists());
    }
}
