//! Reading a document from disk.

use std::fs;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

use super::{Origin, Problem, Problems, Source, Table, nearest};

/// The largest document that is read, bytes. A workload is a page or two.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads and parses the file at `path`; its mistakes are I/O, size, encoding and TOML syntax.
pub fn read(path: &Path) -> Result<(Source, Table), Problems> {
    read_as(path, "workload")
}

/// As [`read`], where the file is to be a `what`: the word for it in messages.
///
/// # Errors
/// I/O, size, encoding and TOML syntax.
pub fn read_as(path: &Path, what: &str) -> Result<(Source, Table), Problems> {
    let name = path.display().to_string();
    let whole = |title: String, help: Option<String>| Problems::whole(&name, title, help);
    let bytes = match read_bytes(path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(unreadable(path, &name, what, &error)),
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let limit = MAX_FILE_BYTES >> 20;
        return Err(whole(
            format!("the file is larger than {limit} MiB: this is no {what}"),
            Some(format!("a {what} is TOML text of a page or two")),
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = error.as_bytes().get(valid).copied().unwrap_or_default();
        whole(
            format!("the file is not UTF-8 text: byte 0x{byte:02x} in line {line}"),
            Some("save it as UTF-8".to_owned()),
        )
    })?;
    parse(&name, text)
}

/// Parses `text`, of a file called `name`; its mistakes are those of TOML syntax.
pub fn parse(name: &str, text: String) -> Result<(Source, Table), Problems> {
    let source = Source { name: name.to_owned(), text };
    let (table, errors) = {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        (Table::from_toml(table.get_ref(), &Origin::file), errors)
    };
    if errors.is_empty() {
        return Ok((source, table));
    }
    // One slip makes several syntax errors; the first on each line is the one that helps.
    let mut list: Vec<Problem> = Vec::new();
    let mut last_line = None;
    for error in errors {
        let at = error.span().unwrap_or_default();
        let line = source.text.get(..at.start).map(|before| before.matches('\n').count());
        if last_line == Some(line) && !list.is_empty() {
            continue;
        }
        last_line = Some(line);
        list.push(Problem {
            title: "this is not TOML".to_owned(),
            at: Some(Origin::file(at)),
            label: error.message().replace('\n', ", "),
            help: None,
        });
    }
    Err(Problems { source, list })
}

fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &Path, name: &str, what: &str, error: &std::io::Error) -> Problems {
    let files_of = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| name.ends_with(".toml"));
        names.sort();
        names
    };
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let wrong = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let names = files_of(dir);
            let with_ending = format!("{wrong}.toml");
            let near = nearest(&with_ending, names.iter().map(String::as_str))
                .or_else(|| nearest(wrong, names.iter().map(String::as_str)));
            let help = near.map(|near| format!("did you mean `{}`?", path.with_file_name(near).display()));
            Problems::whole(name, "there is no such file".to_owned(), help)
        }
        std::io::ErrorKind::IsADirectory => {
            let names = files_of(path);
            let some = names.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
            let help = (!names.is_empty()).then(|| format!("it holds {some}"));
            Problems::whole(name, format!("this is a directory, not a {what} file"), help)
        }
        _ => Problems::whole(name, format!("the file cannot be read: {error}"), None),
    }
}
