//! What this project promises itself, held to by a test: import directions, file sizes, no hidden panics, nothing
//! unfinished, no path of one machine, no waiting by sleeping, and a README that names what is shipped.
//!
//! It reads the source as text. A small lexer keeps code, comments and strings apart, so that words in the one are not
//! taken for the other.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Longest source file, in lines.
const MAX_LINES: usize = 600;

/// What each module may import besides itself. Data flows one way, and so do imports; `run` brings the parts together
/// and `cli` is on top. A module that is not listed may import anything but those two.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("seed", &[]),
    ("document", &[]),
    ("sandbox", &[]),
    ("history", &[]),
    ("node", &[]),
    ("check", &["history", "seed"]),
    ("report", &["check", "history"]),
    ("fault", &["document", "history", "seed"]),
    ("client", &["document", "history"]),
    ("workload", &["check", "client", "document", "fault", "history", "sandbox", "seed"]),
    ("cluster", &["document", "history", "sandbox", "seed", "workload"]),
    ("network", &["fault", "history", "seed", "workload"]),
    ("load", &["client", "history", "seed", "workload"]),
    ("grade", &["check", "document", "history", "report", "sandbox", "seed", "workload"]),
];
/// Modules that only those above them may import.
const ON_TOP: [&str; 2] = ["run", "cli"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder` with one of `extensions`, sorted; none where there is no such folder.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "results", ".git", "node_modules", "__pycache__"].contains(&name.as_str()) {
                found.extend(files(&path, extensions));
            }
        } else if path.extension().is_some_and(|end| extensions.contains(&&*end.to_string_lossy())) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A source file with code and comments apart, both with the lines of the original.
struct Source {
    /// Relative to the package.
    path: String,
    /// Code; strings are empty, comments are gone.
    code: Vec<String>,
    /// Comments.
    comments: Vec<String>,
    /// Lines that are tests: files of tests and whatever is behind `#[cfg(test)]`.
    test: Vec<bool>,
}

impl Source {
    fn parse(path: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        let code: Vec<String> = code.lines().map(str::to_owned).collect();
        let comments: Vec<String> = comments.lines().map(str::to_owned).collect();
        let whole = path.starts_with("tests/")
            || path.starts_with("benches/")
            || path.ends_with("/tests.rs")
            || path.contains("/tests/");
        let test = if whole { vec![true; code.len()] } else { behind_cfg_test(&code) };
        Source { path: path.to_owned(), code, comments, test }
    }

    /// (line number, code) of the lines that are tests, or that are not.
    fn lines(&self, test: bool) -> impl Iterator<Item = (usize, &str)> {
        let wanted = move |at: &usize| self.test.get(*at).copied().unwrap_or(false) == test;
        (0..self.code.len()).filter(wanted).map(|at| (at + 1, self.code[at].as_str()))
    }

    /// The comment beside a line and those directly above its statement.
    fn reason(&self, line: usize) -> String {
        let at = line - 1;
        let mut reason = self.comments.get(at).cloned().unwrap_or_default();
        // A statement may go over several lines; six are enough for rustfmt's chains.
        for above in (at.saturating_sub(6)..at).rev() {
            let code = self.code[above].trim();
            reason.push_str(self.comments.get(above).map_or("", |comment| comment.trim()));
            if code.ends_with([';', '{', '}']) {
                break;
            }
        }
        reason
    }
}

fn sources() -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for folder in ["src", "tests", "benches"] {
        paths.extend(files(&root.join(folder), &["rs"]));
    }
    paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
            Source::parse(&name, &fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// Code and comments of Rust source, each with the other replaced by nothing; line feeds stay in both.
fn split(text: &str) -> (String, String) {
    let letters: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut at = 0;
    let peek = |at: usize| letters.get(at).copied().unwrap_or('\0');
    while at < letters.len() {
        let letter = letters[at];
        let before = at.checked_sub(1).map_or(' ', peek);
        let in_word = before.is_alphanumeric() || before == '_';
        if letter == '\n' {
            code.push('\n');
            comments.push('\n');
            at += 1;
        } else if letter == '/' && peek(at + 1) == '/' {
            while at < letters.len() && letters[at] != '\n' {
                comments.push(letters[at]);
                at += 1;
            }
        } else if letter == '/' && peek(at + 1) == '*' {
            let mut depth = 0;
            loop {
                match (peek(at), peek(at + 1)) {
                    ('/', '*') => depth += 1,
                    ('*', '/') => depth -= 1,
                    _ => {}
                }
                if peek(at) == '\n' {
                    code.push('\n');
                }
                comments.push(peek(at));
                at += 1;
                if depth == 0 || at >= letters.len() {
                    at += 1;
                    break;
                }
            }
        } else if matches!(letter, 'r' | 'b') && !in_word && raw_string(&letters, at).is_some() {
            let (start, hashes) = raw_string(&letters, at).unwrap();
            code.push_str("\"\"");
            at = start;
            let closes = |at: usize| peek(at) == '"' && (1..=hashes).all(|hash| peek(at + hash) == '#');
            while at < letters.len() && !closes(at) {
                keep_line(peek(at), &mut code, &mut comments);
                at += 1;
            }
            at += 1 + hashes;
        } else if letter == '"' {
            code.push_str("\"\"");
            at += 1;
            while at < letters.len() && letters[at] != '"' {
                if letters[at] == '\\' {
                    at += 1;
                }
                keep_line(peek(at), &mut code, &mut comments);
                at += 1;
            }
            at += 1;
        } else if letter == '\'' && (peek(at + 1) == '\\' || peek(at + 2) == '\'') {
            // A character; a lifetime has neither a backslash nor a quote there.
            code.push_str("' '");
            at += 2;
            while at < letters.len() && letters[at] != '\'' {
                at += 1;
            }
            if peek(at - 1) == '\\' && peek(at + 1) == '\'' {
                at += 1;
            }
            at += 1;
        } else {
            code.push(letter);
            at += 1;
        }
    }
    (code, comments)
}

fn keep_line(letter: char, code: &mut String, comments: &mut String) {
    if letter == '\n' {
        code.push('\n');
        comments.push('\n');
    }
}

/// Where the content of a raw string begins that begins at `at`, and how many hashes it has.
fn raw_string(letters: &[char], at: usize) -> Option<(usize, usize)> {
    let peek = |at: usize| letters.get(at).copied().unwrap_or('\0');
    let from = match (peek(at), peek(at + 1)) {
        ('r', _) => at + 1,
        ('b', 'r') => at + 2,
        _ => return None,
    };
    let hashes = letters[from.min(letters.len())..].iter().take_while(|letter| **letter == '#').count();
    (peek(from + hashes) == '"').then_some((from + hashes + 1, hashes))
}

/// For each line whether it belongs to an item behind `#[cfg(test)]`.
fn behind_cfg_test(code: &[String]) -> Vec<bool> {
    let mut test = vec![false; code.len()];
    let mut at = 0;
    while at < code.len() {
        if !code[at].contains("#[cfg(test)]") && !code[at].contains("#[cfg(all(test") {
            at += 1;
            continue;
        }
        let (mut depth, mut opened) = (0_i64, false);
        while at < code.len() {
            test[at] = true;
            let line = &code[at];
            at += 1;
            depth += line.matches('{').count() as i64 - line.matches('}').count() as i64;
            opened |= line.contains('{');
            if (opened && depth <= 0) || (!opened && line.trim_end().ends_with(';')) {
                break;
            }
        }
    }
    test
}

fn report(rule: &str, problems: Vec<String>) {
    assert!(problems.is_empty(), "{rule}\n  {}\n", problems.join("\n  "));
}

/// The module a source file belongs to; `None` for the roots.
fn module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let name = inside.split_once('/').map_or_else(|| inside.trim_end_matches(".rs"), |(folder, _)| folder);
    (!["lib", "main"].contains(&name)).then_some(name)
}

/// Top-level modules that one line of code names: `crate::a::b`, `crate::{a, b::c}`, and `super` as far as the root.
fn imports(path: &str, code: &str) -> Vec<(usize, String)> {
    let one = Regex::new(r"\bcrate::([a-z_][a-z0-9_]*)").unwrap();
    let group = Regex::new(r"\bcrate::\{([^;]*)\}").unwrap();
    let supers = Regex::new(r"((?:super::)+)([a-z_][a-z0-9_]*)").unwrap();
    let line = |at: usize| code[..at].matches('\n').count() + 1;
    let mut found = Vec::new();
    for hit in one.captures_iter(code) {
        found.push((line(hit.get(0).unwrap().start()), hit[1].to_owned()));
    }
    for hit in group.captures_iter(code) {
        let mut depth = 0;
        for part in hit[1].split_inclusive([',', '{', '}']) {
            if depth == 0 && part.contains(|letter: char| letter.is_alphanumeric()) {
                let name = part.trim().split("::").next().unwrap_or("").trim_matches([',', '{', '}', ' ']);
                found.push((line(hit.get(0).unwrap().start()), name.to_owned()));
            }
            depth += part.matches('{').count() as i64 - part.matches('}').count() as i64;
        }
    }
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = inside.split('/').count();
    for hit in supers.captures_iter(code) {
        if hit[1].matches("super").count() >= depth {
            found.push((line(hit.get(0).unwrap().start()), hit[2].to_owned()));
        }
    }
    found
}

#[test]
fn imports_flow_one_way() {
    let sources = sources();
    let modules: Vec<&str> = sources.iter().filter_map(|source| module(&source.path)).collect();
    let mut problems = Vec::new();
    for source in &sources {
        let Some(from) = module(&source.path) else { continue };
        let product: Vec<&str> = (0..source.code.len())
            .map(|at| if source.test[at] { "" } else { source.code[at].as_str() })
            .collect();
        for (line, to) in imports(&source.path, &product.join("\n")) {
            if to == from || !modules.contains(&to.as_str()) {
                continue;
            }
            let allowed = match MAY_IMPORT.iter().find(|(name, _)| *name == from) {
                Some((_, allowed)) => allowed.contains(&to.as_str()),
                None => match ON_TOP.iter().position(|top| *top == from) {
                    Some(height) => ON_TOP.iter().position(|top| *top == to).is_none_or(|at| at < height),
                    None => !ON_TOP.contains(&to.as_str()),
                },
            };
            if !allowed {
                problems.push(format!("{}:{line}: {from} imports {to}", source.path));
            }
        }
    }
    report("imports flow one way (MAY_IMPORT in tests/tidy.rs):", problems);
}

#[test]
fn main_sees_the_command_line_alone() {
    let main = sources().into_iter().find(|source| source.path == "src/main.rs").unwrap();
    let used = Regex::new(r"\bharness::([a-z_]+)").unwrap();
    for (line, code) in main.lines(false) {
        for hit in used.captures_iter(code) {
            assert_eq!(&hit[1], "cli", "src/main.rs:{line}");
        }
    }
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().filter(|source| source.code.len() > MAX_LINES);
    let problems = long.map(|source| format!("{}: {} lines", source.path, source.code.len())).collect();
    report(&format!("no source file has more than {MAX_LINES} lines:"), problems);
}

#[test]
fn a_panic_in_the_product_has_a_reason() {
    let panics = Regex::new(r"\.(unwrap|unwrap_err)\(\)|\.(expect|expect_err)\(").unwrap();
    let mut problems = Vec::new();
    for source in sources() {
        for (line, code) in source.lines(false) {
            if panics.is_match(code) && source.reason(line).is_empty() {
                problems.push(format!("{}:{line}: {}", source.path, code.trim()));
            }
        }
    }
    report("outside tests, unwrap and expect need a comment that says why they cannot fail:", problems);
}

#[test]
fn nothing_is_unfinished_or_switched_off() {
    let unfinished = Regex::new(r"\b(todo|unimplemented)!|#\[ignore|#\[allow\(").unwrap();
    let mut problems = Vec::new();
    for source in sources() {
        for (at, code) in source.code.iter().enumerate() {
            if unfinished.is_match(code) {
                problems.push(format!("{}:{}: {}", source.path, at + 1, code.trim()));
            }
        }
    }
    report("no todo!, unimplemented!, #[ignore], and #[expect] instead of #[allow]:", problems);
}

#[test]
fn tests_wait_for_conditions() {
    let sleep = Regex::new(r"\bsleep(_ms|_until)?\(").unwrap();
    let mut problems = Vec::new();
    for source in sources() {
        for (line, code) in source.lines(true) {
            let excused = source.reason(line).contains("time itself is tested");
            if source.path.starts_with("benches/") || excused || !sleep.is_match(code) {
                continue;
            }
            // Between two looks at a condition a poll may sleep; the loop must be there to see.
            let polls = source.code[..line].iter().rev().take(12);
            if !polls.into_iter().any(|code| code.contains("while ") || code.contains("loop {")) {
                problems.push(format!("{}:{line}: {}", source.path, code.trim()));
            }
        }
    }
    report("tests poll for a condition; a sleep needs the comment \"time itself is tested\":", problems);
}

#[test]
fn no_path_of_one_machine() {
    // Put together here, so that this file does not find itself.
    let machine = Regex::new(&format!(r"(^|[^\w.\-/}}])/({}|{})/", "work", "root")).unwrap();
    let root = root();
    let mut problems = Vec::new();
    let mut paths = files(&root, &["rs", "toml", "md", "py", "sh", "json", "yml", "yaml"]);
    paths.push(root.join(".ci/run"));
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (at, line) in text.lines().enumerate() {
            if machine.is_match(line) {
                let name = path.strip_prefix(&root).unwrap().display();
                problems.push(format!("{name}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    report("no absolute path of one machine:", problems);
}

#[test]
fn the_readme_names_what_is_shipped() {
    let root = root();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let mut problems = Vec::new();
    for path in files(&root.join("workloads"), &["toml"]) {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        if !readme.contains(&name) {
            problems.push(name);
        }
    }
    let names = harness::check::CHECKS.iter().map(|check| check.name());
    problems.extend(names.filter(|name| !readme.contains(&format!("`{name}`"))).map(str::to_owned));
    let name = Regex::new(r#"FaultKind \{\s*name: "([a-z-]+)""#).unwrap();
    for path in files(&root.join("src/fault/kinds"), &["rs"]) {
        let text = fs::read_to_string(path).unwrap();
        let names = name.captures_iter(&text).map(|hit| hit[1].to_owned());
        problems.extend(names.filter(|name| !readme.contains(&format!("`{name}`"))));
    }
    report("the README names every workload, check and fault:", problems);
}

/// Every bug of the bundled nodes is looked for, and the README's table has a row for every case, in their order.
#[test]
fn every_bug_is_looked_for_and_the_readme_says_where() {
    use clap::ValueEnum;
    use harness::cli::selftest::CASES;
    use harness::node::{lww, quorum};

    let lww = lww::bug::Bug::value_variants().iter().map(|bug| ("lww", bug.name()));
    let quorum = quorum::bug::Bug::value_variants().iter().map(|bug| ("quorum", bug.name()));
    let missing: Vec<String> = lww
        .chain(quorum)
        .filter(|(system, name)| !CASES.iter().any(|case| case.system == *system && case.bug == Some(name)))
        .map(|(system, name)| format!("{system}: {name}"))
        .collect();
    report("every bug has a case in src/cli/selftest/cases.rs:", missing);

    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table = readme.split("<!-- selftest:begin -->").nth(1).unwrap();
    let table = table.split("<!-- selftest:end -->").next().unwrap();
    let row = Regex::new(r"^\| (\S+) \| (?:`([a-z-]+)`|none [^|]*) \| (\S+) \| (\d+)/(\d+) \|").unwrap();
    let mut shown = Vec::new();
    let mut wrong = Vec::new();
    for line in table.lines() {
        let Some(hit) = row.captures(line) else { continue };
        let bug = hit.get(2).map(|bug| bug.as_str().to_owned());
        let expected = if bug.is_some() { &hit[5] } else { "0" };
        if &hit[4] != expected {
            wrong.push(line.to_owned());
        }
        shown.push((hit[1].to_owned(), bug, format!("{}.toml", &hit[3])));
    }
    // Those that take long are in the table only when they were asked for.
    let long = |row: &(String, Option<String>, String)| {
        CASES.iter().any(|case| case.long && case.bug.is_none() == row.1.is_none() && case.workload == row.2)
    };
    shown.retain(|row| !long(row));
    let cases: Vec<_> = CASES
        .iter()
        .filter(|case| !case.long)
        .map(|case| (case.system.to_owned(), case.bug.map(str::to_owned), case.workload.to_owned()))
        .collect();
    assert_eq!(
        shown, cases,
        "run `harness selftest --markdown` and put its table between the markers in README.md"
    );
    report("every bug is found in every run, and no correct node is blamed:", wrong);
}

/// A rule that finds nothing proves little unless it finds what it is there for.
#[test]
fn the_rules_have_teeth() {
    let text = r####"
use crate::{cli::Cli, history::{Op, Value}, run};
// .unwrap() in a comment
fn f<'a>(x: &'a str) -> char { let s = "todo!() \" // {"; let r = r#"sleep(" {"#; '\'' }
/* block { .unwrap() */ fn g() { x.unwrap(); }
fn h() {
    // it was looked at above
    y.unwrap();
    let z = '"'; super::super::cli::main();
}
#[cfg(test)]
mod tests {
    fn t() { z.unwrap(); sleep(1); }
}
fn after() {}
"####;
    let source = Source::parse("src/a/b.rs", text);
    let code = source.code.join("\n");
    assert!(!code.contains("todo!") && !code.contains("comment") && !code.contains("sleep(\""), "{code}");
    assert_eq!(code.matches(".unwrap()").count(), 3, "{code}");
    assert!(source.reason(5).contains("block") && source.reason(8).contains("looked at"));
    let tests: Vec<usize> = source.lines(true).map(|(line, _)| line).collect();
    assert_eq!(tests, [11, 12, 13, 14]);
    let named: Vec<String> = imports("src/a/b.rs", &code).into_iter().map(|(_, name)| name).collect();
    assert_eq!(named, ["cli", "history", "run", "cli"]);
    assert_eq!(module("src/a/b.rs"), Some("a"));
    assert_eq!(module("src/seed.rs"), Some("seed"));
    assert_eq!(module("src/main.rs"), None);
}
