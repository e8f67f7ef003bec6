//! From what a student types to what can be executed from another directory.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::error::CommandError;

/// Makes a command line independent of the directory it is executed in, and finds out now whether it can be.
///
/// The program is looked up in `PATH`, or relative to `cwd` when it has a slash. Nodes start in directories of their
/// own, so other words that name an existing file or directory relative to `cwd` become absolute too
/// (`python3 src/node.py`), also behind `=` in an option (`--config=etc/a.yaml`). Only words that look like paths (with
/// a slash or a dot) are considered: a directory that happens to be called `A` does not change `--id A`. `.` and `..` are
/// left alone.
///
/// # Errors
/// [`CommandError`], with the nearest program in `PATH` when there is one.
pub fn resolve(argv: &[String], cwd: &Path) -> Result<Vec<String>, CommandError> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let search: Vec<PathBuf> = std::env::split_paths(&search).map(|dir| cwd.join(dir)).collect();
    resolve_in(argv, cwd, &search)
}

fn resolve_in(argv: &[String], cwd: &Path, search: &[PathBuf]) -> Result<Vec<String>, CommandError> {
    let (program, arguments) = argv.split_first().ok_or(CommandError::Empty)?;
    if program.is_empty() {
        return Err(CommandError::Empty);
    }
    let program = find_program(program, cwd, search)?;
    let arguments = arguments.iter().map(|word| absolute_argument(word, cwd));
    Ok(std::iter::once(program).chain(arguments).collect())
}

fn find_program(program: &str, cwd: &Path, search: &[PathBuf]) -> Result<String, CommandError> {
    // Not canonicalised: a virtual environment's python is known by the link it was called through.
    let text = |path: &Path| path.to_string_lossy().into_owned();
    if program.contains('/') {
        let path = cwd.join(program);
        return match is_executable(&path) {
            Ok(()) => Ok(text(&path)),
            Err(Some(reason)) => Err(CommandError::NotExecutable { program: program.into(), reason }),
            Err(None) => {
                let hint = Some(format!("there is no file {}", path.display()));
                Err(CommandError::NotFound { program: program.into(), hint })
            }
        };
    }
    if let Some(path) = search.iter().map(|dir| dir.join(program)).find(|path| is_executable(path).is_ok()) {
        return Ok(text(&path));
    }
    let hint = if cwd.join(program).is_file() {
        Some(match interpreter(program) {
            Some(interpreter) => format!("did you mean {interpreter} {program}?"),
            None => format!("did you mean ./{program}?"),
        })
    } else {
        nearest(program, search).map(|near| format!("did you mean {near}?"))
    };
    Err(CommandError::NotFound { program: program.into(), hint })
}

/// `Err(None)`: it does not exist.
fn is_executable(path: &Path) -> Result<(), Option<String>> {
    let metadata = path.metadata().map_err(|_| None)?;
    if metadata.is_dir() {
        return Err(Some("it is a directory".into()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let how = match interpreter(&name) {
            Some(interpreter) => format!("start it with {interpreter}, or make it executable with chmod +x"),
            None => "make it executable with chmod +x".into(),
        };
        return Err(Some(how));
    }
    Ok(())
}

fn interpreter(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "py" => Some("python3"),
        "js" | "mjs" => Some("node"),
        "jar" => Some("java -jar"),
        "rb" => Some("ruby"),
        "sh" => Some("sh"),
        _ => None,
    }
}

/// The program with the most similar name, if it is similar enough for a slip of the fingers.
fn nearest(program: &str, search: &[PathBuf]) -> Option<String> {
    let allowed = if program.chars().count() <= 3 { 1 } else { 2 };
    let entries = search.iter().filter_map(|dir| dir.read_dir().ok()).flatten().flatten();
    let similar = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let distance = strsim::osa_distance(program, &name);
        (distance <= allowed && is_executable(&entry.path()).is_ok()).then_some((distance, name))
    });
    // Sorted, so that the same machine always gives the same hint.
    similar.collect::<BTreeSet<_>>().into_iter().next().map(|(_, name)| name)
}

fn absolute_argument(word: &str, cwd: &Path) -> String {
    if let Some(path) = existing(word, cwd) {
        return path;
    }
    let option = word.split_once('=').filter(|(option, _)| option.starts_with('-'));
    let option = option.and_then(|(option, value)| Some(format!("{option}={}", existing(value, cwd)?)));
    option.unwrap_or_else(|| word.to_owned())
}

fn existing(word: &str, cwd: &Path) -> Option<String> {
    let is_path = word.contains(['/', '.']) && !matches!(word, "." | ".." | "./" | "../");
    let path = cwd.join(word);
    // A relative path that is not UTF-8 cannot be written into a workload; `cwd` may be what it likes.
    (is_path && !word.starts_with('-') && path.exists()).then(|| path.to_str().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        shell_words::split(line).unwrap()
    }

    /// A directory with `bin/python3` and `bin/java` (executable), `lab/node.py` and `A` (not).
    fn machine() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["bin", "lab", "A"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["bin/python3", "bin/java", "lab/node.py", "node.py", "run"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        for name in ["bin/python3", "bin/java"] {
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    fn resolved(line: &str) -> Result<String, String> {
        let dir = machine();
        let cwd = dir.path();
        let outcome = resolve_in(&words(line), cwd, &[cwd.join("nowhere"), cwd.join("bin")]);
        let place = cwd.to_str().unwrap().to_owned();
        outcome
            .map(|argv| argv.join(" ").replace(&place, "@"))
            .map_err(|error| error.to_string().replace(&place, "@"))
    }

    #[test]
    fn paths_become_absolute_and_nothing_else_does() {
        let line = "python3 lab/node.py --id A --dir . --port 8000 --conf=lab/node.py --x=1 http://h:1/lab";
        let expected = "@/bin/python3 @/lab/node.py --id A --dir . --port 8000 --conf=@/lab/node.py --x=1 http://h:1/lab";
        assert_eq!(resolved(line).unwrap(), expected);
        assert_eq!(resolved("./bin/java").unwrap(), "@/./bin/java");
        assert_eq!(resolved("/bin/sh -c x").unwrap(), "/bin/sh -c x");
    }

    #[test]
    fn mistakes_are_named() {
        let error = |line: &str| resolved(line).unwrap_err();
        assert_eq!(error("pyhton3 x"), "command not found: pyhton3; did you mean python3?");
        assert_eq!(error("quite-unlike"), "command not found: quite-unlike");
        assert_eq!(error("node.py --id A"), "command not found: node.py; did you mean python3 node.py?");
        assert_eq!(error("run"), "command not found: run; did you mean ./run?");
        assert_eq!(error("lab/nod.py"), "command not found: lab/nod.py; there is no file @/lab/nod.py");
        assert_eq!(
            error("lab/node.py"),
            "lab/node.py cannot be executed: start it with python3, or make it executable with chmod +x"
        );
        assert_eq!(error("./lab"), "./lab cannot be executed: it is a directory");
        assert_eq!(resolve_in(&[], Path::new("/"), &[]), Err(CommandError::Empty));
    }
}
