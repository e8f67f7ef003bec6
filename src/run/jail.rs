//! From the workload and what the system can do to what each node may not do.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::engine::Options;
use super::folder::Folder;
use crate::sandbox::{self, Jail, Room};
use crate::workload::Workload;

/// A node that is about to be kept.
pub struct Inmate<'a> {
    /// Which of the cluster's nodes, from 0 on.
    pub place: usize,
    /// Its own directory, which exists.
    pub dir: &'a Path,
    /// Where it starts.
    pub cwd: &'a Path,
    /// Its command line.
    pub argv: &'a [String],
}

impl Inmate<'_> {
    /// What it may not do. Its temporary files lie below its own directory; `env` gets to know where.
    ///
    /// # Errors
    /// When its directory cannot be made ready.
    pub fn jail(
        &self,
        workload: &Workload,
        options: &Options,
        folder: &Folder,
        env: &mut BTreeMap<String, String>,
    ) -> io::Result<Jail> {
        let limits = workload.cluster.limits;
        let Some(isolation) =
            options.isolation.as_ref().filter(|isolation| isolation.landlock || isolation.rooms)
        else {
            return Ok(Jail { limits, ..Jail::default() });
        };
        let dir = self.dir.canonicalize()?;
        let (temporary, shared) = (dir.join(".tmp"), dir.join(".shm"));
        std::fs::create_dir_all(&temporary)?;
        env.entry("TMPDIR".to_owned()).or_insert_with(|| temporary.display().to_string());
        let mut writable = vec![dir.clone()];
        if !isolation.rooms {
            return Ok(Jail { writable: Some(writable), room: None, limits });
        }
        let named = self.named(&dir, env);
        let needed = self.needed(workload, &dir, &named);
        let free =
            |place: &str| Path::new(place).is_dir() && !needed.iter().any(|path| path.starts_with(place));
        let mut room = Room { own: dir.clone(), ..Room::default() };
        if free("/tmp") {
            room.temporary = Some(temporary);
            writable.push("/tmp".into());
        }
        if free("/dev/shm") {
            std::fs::create_dir_all(&shared)?;
            room.shared = Some(shared);
            writable.push("/dev/shm".into());
        }
        room.hidden = hidden(workload, folder, &dir)?;
        let asked = options.hidden.iter().filter_map(|path| path.canonicalize().ok());
        let used = named.iter().map(PathBuf::as_path).chain([self.cwd]);
        let is_used =
            |hidden: &PathBuf| used.clone().any(|path| path.starts_with(hidden) && !path.starts_with(&dir));
        room.hidden.extend(asked.filter(|hidden| !is_used(hidden)));
        // Sockets of the system's services; a distribution may keep its programs there as well.
        if free("/run") && !Path::new("/run/current-system").exists() {
            room.hidden.push("/run".into());
        }
        if isolation.user && needed.iter().all(|path| sandbox::closed_to_others(path).is_none()) {
            let user = sandbox::spare_user(self.place);
            give(&dir, user)?;
            room.user = Some(user);
            // The harness's own is closed to it.
            env.entry("HOME".to_owned()).or_insert_with(|| dir.display().to_string());
        }
        Ok(Jail { writable: isolation.landlock.then_some(writable), room: Some(room), limits })
    }

    /// Paths outside its own directory that it is told of, and its program.
    fn named(&self, dir: &Path, env: &BTreeMap<String, String>) -> Vec<PathBuf> {
        let program = self.argv.first().map(String::as_str).unwrap_or_default();
        let found =
            std::env::var_os("PATH").into_iter().filter(|_| !program.contains('/')).flat_map(|path| {
                std::env::split_paths(&path).map(|folder| folder.join(program)).collect::<Vec<_>>()
            });
        let words = self.argv.iter().chain(env.values()).flat_map(|word| word.split(['=', ',', ':', ' ']));
        let told = words.filter(|word| word.starts_with('/')).map(PathBuf::from);
        outside(found.filter(|path| path.is_file()).take(1).chain(told), dir)
    }

    /// Paths outside its own directory where it has to find what everybody finds.
    fn needed(&self, workload: &Workload, dir: &Path, named: &[PathBuf]) -> Vec<PathBuf> {
        let base = workload.file.parent().map(Path::to_owned);
        let here = [dir.parent().map(Path::to_owned), Some(self.cwd.to_owned()), base];
        outside(here.into_iter().flatten().chain(named.iter().cloned()), dir)
    }
}

/// The way there and where it leads. A node's own directory is made open to it; what does not exist is needed by nobody.
fn outside(paths: impl Iterator<Item = PathBuf>, dir: &Path) -> Vec<PathBuf> {
    let both = paths.filter_map(|path| Some([path.canonicalize().ok()?, path])).flatten();
    both.filter(|path| !path.starts_with(dir)).collect()
}

/// The run's own files, and the directories of other nodes.
fn hidden(workload: &Workload, folder: &Folder, dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut hidden = vec![folder.root().canonicalize()?];
    if let Some(parent) = &workload.cluster.dir {
        for other in workload.cluster.nodes.iter().map(|id| parent.join(id)) {
            // What is not there yet cannot be hidden.
            std::fs::create_dir_all(&other)?;
            hidden.extend(Some(other.canonicalize()?).filter(|other| other != dir));
        }
    }
    Ok(hidden)
}

/// Makes everything below a directory a user's own. Links are not followed.
fn give(path: &Path, user: u32) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(user), Some(user))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}
