//! Whether a command is to be found, before anything is started.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::document::nearest;

/// Why a command cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// The word of the command line it is about.
    pub word: String,
    /// What is wrong.
    pub message: String,
    /// A suggestion.
    pub hint: Option<String>,
}

/// The program that `word` names: a path (looked up in `bases`, in order, when relative), or a name to be found in
/// the folders of `path` (the variable PATH).
///
/// # Errors
/// There is none, or it may not be executed.
pub fn find_command(word: &str, bases: &[&Path], path: Option<&OsStr>) -> Result<PathBuf, CommandError> {
    let fail = |message: String, hint: Option<String>| CommandError { word: word.to_owned(), message, hint };
    if word.contains('/') {
        let candidates: Vec<PathBuf> = bases.iter().map(|base| base.join(word)).collect();
        let Some(found) = candidates.iter().find(|candidate| candidate.exists()) else {
            return Err(fail(format!("there is no file {word}"), near_file(&candidates)));
        };
        return if found.is_dir() {
            Err(fail(format!("{word} is a directory"), None))
        } else if is_executable(found) {
            Ok(found.clone())
        } else {
            Err(fail(format!("{word} is not executable"), Some(format!("chmod +x {word}"))))
        };
    }
    let path = path.unwrap_or_default();
    let mut candidates = std::env::split_paths(path).map(|folder| folder.join(word));
    if let Some(found) = candidates.find(|candidate| is_executable(candidate)) {
        return Ok(found);
    }
    let beside = bases.iter().map(|base| base.join(word)).any(|candidate| candidate.is_file());
    let hint = if beside {
        Some(format!("did you mean `./{word}`?"))
    } else {
        let names = std::env::split_paths(path).flat_map(|folder| names_in(&folder)).collect::<Vec<_>>();
        nearest(word, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
    };
    Err(fail(format!("there is no program {word} in PATH"), hint))
}

/// For a known interpreter, the script it is given must exist: the commonest slip of all.
///
/// # Errors
/// The script is not to be found in any of `bases`, nor among what a node `finds` of its own where it starts.
pub fn check_script(
    argv: &[String],
    bases: &[&Path],
    finds: impl Fn(&str) -> bool,
) -> Result<(), CommandError> {
    const INTERPRETERS: &[&str] =
        &["python", "python3", "pypy3", "node", "ruby", "perl", "bash", "sh", "php", "lua"];
    let [program, script, ..] = argv else { return Ok(()) };
    let name = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default();
    if !INTERPRETERS.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'))
        && !INTERPRETERS.contains(&name)
    {
        return Ok(());
    }
    // An option may swallow what follows it; then it cannot be said which word is the script.
    if script.starts_with('-') || finds(script) {
        return Ok(());
    }
    let candidates: Vec<PathBuf> = bases.iter().map(|base| base.join(script)).collect();
    if candidates.iter().any(|candidate| candidate.exists()) {
        return Ok(());
    }
    Err(CommandError {
        word: script.clone(),
        message: format!("there is no file {script}"),
        hint: near_file(&candidates),
    })
}

/// Makes the words that name files or folders absolute, because nodes start in a directory of their own; also behind
/// `=` in an option (`--config=etc/a.yaml`). A word counts when it has a `/` or a `.` in it and there is something of
/// that name in one of `bases`: a folder that happens to be called `A` does not change `--id A`. `.` and `..` are left
/// alone, and so is what a node `finds` of its own where it starts: that is meant.
pub fn absolute_words(argv: &mut [String], bases: &[&Path], finds: impl Fn(&str) -> bool) {
    for (index, word) in argv.iter_mut().enumerate() {
        let at = if word.starts_with('-') { word.find('=').map_or(word.len(), |at| at + 1) } else { 0 };
        let (option, name) = word.split_at(at);
        let is_path = name.contains('/') || (index > 0 && name.contains('.'));
        if name.starts_with('/') || !is_path || name == "." || name == ".." {
            continue;
        }
        if finds(name) {
            continue;
        }
        let found = bases.iter().map(|base| base.join(name)).find(|candidate| candidate.exists());
        if let Some(absolute) = found.and_then(|found| std::path::absolute(found).ok())
            && let Some(text) = absolute.to_str()
        {
            *word = format!("{option}{text}");
        }
    }
}

fn near_file(candidates: &[PathBuf]) -> Option<String> {
    candidates.iter().find_map(|candidate| {
        let wrong = candidate.file_name()?.to_str()?;
        let names = names_in(candidate.parent()?);
        let near = nearest(wrong, names.iter().map(String::as_str))?;
        Some(format!("did you mean `{near}`?"))
    })
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("pythong", 0o755), ("notes.txt", 0o644), ("node.py", 0o644)] {
            let file = folder.path().join(name);
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        folder
    }

    #[test]
    fn programs_are_found_or_the_nearest_is_named() {
        let folder = folder();
        let path = Some(folder.path().as_os_str());
        let here = [folder.path()];
        assert!(find_command("pythong", &[], path).is_ok());
        assert!(find_command("./pythong", &here, path).is_ok());
        let error = find_command("pyhtong", &[], path).unwrap_err();
        assert_eq!(error.message, "there is no program pyhtong in PATH");
        assert_eq!(error.hint.as_deref(), Some("did you mean `pythong`?"));
        assert_eq!(
            find_command("./notes.txt", &here, path).unwrap_err().message,
            "./notes.txt is not executable"
        );
        assert_eq!(
            find_command("node.py", &here, path).unwrap_err().hint.as_deref(),
            Some("did you mean `./node.py`?")
        );
        assert!(find_command("pythong", &[], None).is_err());
    }

    #[test]
    fn scripts_must_exist() {
        let folder = folder();
        let argv = |script: &str| vec!["/usr/bin/python3.12".to_owned(), script.to_owned()];
        let none = |_: &str| false;
        assert!(check_script(&argv("node.py"), &[folder.path()], none).is_ok());
        assert!(check_script(&argv("nod.py"), &[folder.path()], |name| name == "nod.py").is_ok());
        let error = check_script(&argv("nod.py"), &[folder.path()], none).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `node.py`?"));
        assert!(check_script(&argv("-m"), &[folder.path()], none).is_ok());
    }

    #[test]
    fn only_words_that_name_files_become_absolute() {
        let folder = folder();
        let mut argv =
            ["pythong", "node.py", "--port", "8000", "missing.py", "./notes.txt"].map(String::from);
        let mut own = argv.clone();
        absolute_words(&mut own, &[folder.path()], |name| folder.path().join(name).exists());
        assert_eq!(own, argv, "what is copied is found in the copy");
        absolute_words(&mut argv, &[folder.path()], |_| false);
        assert_eq!(argv[0], "pythong");
        assert!(Path::new(&argv[1]).is_absolute());
        assert_eq!(argv[4], "missing.py");
        assert!(Path::new(&argv[5]).is_absolute());
    }
}
